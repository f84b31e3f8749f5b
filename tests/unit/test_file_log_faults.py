"""The file log when writing, syncing or its thread fails: what callers get, and how it goes on."""

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from common.store.disk import LocalDisk
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_all, record, records
from tests.support.file_log import OneLog
from tests.support.wait import wait_until
from writebuffer.errors import HeldByAnother, WriterDied
from writebuffer.file import FileBackend
from writebuffer.file.log import LogWriter
from writebuffer.file.writer import FileWriter

ONE = SequencerId(0)


@pytest.fixture
def log() -> OneLog:
    return OneLog()


@pytest.fixture
def writer(log: OneLog) -> Iterator[FileWriter]:
    writer = log.backend.open_writer()
    yield writer
    writer.close()


def failure(future: "Future[object]") -> Unavailable:
    error = future.exception(10)
    assert isinstance(error, Unavailable)
    return error


def numbers_read(log: OneLog) -> list[int]:
    return numbers(one for _, one in read_all(log.backend))


@pytest.mark.parametrize("kept_bytes", [0, 1, 63, 64, 100, 10_000])
def test_a_failed_write_goes_on_in_a_new_segment_and_tailers_jump(
    log: OneLog, writer: FileWriter, kept_bytes: int
) -> None:
    """Any part of a batch got written: it is written again elsewhere; a cursor that was there reads on."""
    cursor = log.backend.open_reader().cursor(ONE)
    assert writer.append(ONE, record(0)).result(10).offset == 0
    assert len(cursor.poll(10, 2**20, 1).records) == 1
    log.disk.fail("write", errno.EIO, kept_bytes=kept_bytes)
    assert writer.append_many(ONE, records([1, 2, 3])).result(10).first.offset == 1
    assert writer.append(ONE, record(4)).result(10).offset == 4
    assert numbers(one.record for one in cursor.poll(10, 2**20, 1).records) == [1, 2, 3, 4]
    assert [name[:20] for name in log.segments()] == [f"{0:020}", f"{1:020}"]
    assert numbers_read(log) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("second", [2, 3], ids=["the new segment's header", "the batch again"])
def test_a_write_that_fails_twice_fails_its_appends_and_no_others(log: OneLog, writer: FileWriter, second: int) -> None:
    """Its records may be on the disk, so nothing is promised about them; the next append takes their offset."""
    writer.append(ONE, record(0)).result(10)
    log.disk.fail("write", errno.EIO, number=1, kept_bytes=10_000)
    log.disk.fail("write", errno.EIO, number=second)
    error = failure(writer.append(ONE, record(1)))
    assert error.written == "unknown"
    assert writer.append(ONE, record(2)).result(10).offset == 1
    assert numbers_read(log) == [0, 2]
    writer.close()
    log.open().close()
    assert numbers_read(log) == [0, 2]


def test_a_failed_sync_poisons_the_log_until_it_is_opened_again(log: OneLog, writer: FileWriter) -> None:
    """Nothing is acknowledged in between, though later syncs would succeed; then the unproven tail is written again."""
    writer.append(ONE, record(0)).result(10)
    log.disk.fail("sync", errno.EIO)
    assert failure(writer.append(ONE, record(1))).written == "unknown"
    later = failure(writer.append(ONE, record(2)))
    assert later.written == "no"
    assert "sync failed" in str(later)
    assert log.offsets() == (0, 1)
    log.clock.advance(60)
    assert writer.append(ONE, record(3)).result(10).offset == 2
    assert numbers_read(log) == [0, 1, 3]
    tail = log.segments()[1]
    log.disk.remove(f"/data/log/000/{log.segments()[0]}")
    assert b"1:...." in log.content(tail)


def test_reopening_that_fails_is_tried_again_with_a_longer_pause(log: OneLog, writer: FileWriter) -> None:
    """The back-off doubles while the disk stays bad, and ends with the first success."""
    log.disk.fail("sync", errno.EIO)
    failure(writer.append(ONE, record(0)))
    for pause_s in (0.25, 0.5, 1.0):
        log.clock.advance(pause_s - 0.01)
        assert "in a moment" in str(failure(writer.append(ONE, record(9))))
        log.clock.advance(0.01)
        log.disk.fail("sync", errno.EIO)
        assert "cannot be opened again" in str(failure(writer.append(ONE, record(9))))
    log.clock.advance(2)
    assert writer.append(ONE, record(1)).result(10).offset == 1
    assert numbers_read(log) == [0, 1]


def test_a_full_disk_refuses_and_writing_resumes_when_there_is_room(log: OneLog, writer: FileWriter) -> None:
    """Refused before it has an offset: written is "no", the message says what to do, and nothing is poisoned."""
    writer.append(ONE, record(0)).result(10)
    log.disk.space_bytes = log.disk.used_bytes() - 1000  # less than is given back when the segment is sealed
    big = record(1, log.segment_bytes)
    for _ in range(3):
        error = failure(writer.append(ONE, big))
        assert error.written == "no"
        assert "disk is full; free some space" in str(error)
    assert log.disk.used_bytes() < log.disk.space_bytes
    log.disk.space_bytes = None
    assert writer.append(ONE, record(2)).result(10).offset == 1
    assert numbers_read(log) == [0, 2]


def test_an_append_many_of_which_a_group_is_stored_fails_as_unknown(log: OneLog, writer: FileWriter) -> None:
    """The group that met the full disk was not written, the one before it was; the message says how much is stored."""
    log.disk.space_bytes = log.disk.used_bytes() + 4500 * (len(record(0)) + 4)
    error = failure(writer.append_many(ONE, records(range(5000))))
    assert error.written == "unknown"
    assert "disk is full" in str(error)
    assert "4096 of its 5000 records are durable" in str(error)
    assert numbers_read(log) == list(range(4096))


def test_a_thread_that_dies_fails_every_pending_and_later_append_with_its_cause(
    log: OneLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No future hangs, each names why, and its kind says that another try is in vain."""
    writer = log.backend.open_writer()
    in_commit, go = threading.Event(), threading.Event()

    def broken(self: LogWriter, records: object) -> None:
        in_commit.set()
        go.wait(10)
        raise RuntimeError("a defect")

    monkeypatch.setattr(LogWriter, "commit", broken)
    futures = [writer.append(ONE, record(0))]
    assert in_commit.wait(10)
    futures.append(writer.append(ONE, record(1)))
    go.set()
    errors = [failure(future) for future in futures]
    wait_until(lambda: writer.append(ONE, record(2)).done(), what="a later append fails at once")
    errors.append(failure(writer.append(ONE, record(3))))
    assert [error.written for error in errors] == ["unknown", "unknown", "no"]
    assert all(isinstance(error, WriterDied) and str(error.__cause__) == "a defect" for error in errors)
    with pytest.raises(WriterDied):
        writer.trim(ONE, Offset(0))
    writer.flush(1)
    writer.close()


def test_a_thread_that_dies_of_damage_says_so(log: OneLog, writer: FileWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause itself is what callers get: a person has to look at the bytes."""

    def damaged(self: LogWriter, records: object) -> None:
        raise DataCorrupt("bad bytes")

    monkeypatch.setattr(LogWriter, "commit", damaged)
    for _ in range(2):
        assert isinstance(writer.append(ONE, record(0)).exception(10), DataCorrupt)


def test_an_end_is_reported_though_the_thread_cannot_log_it(
    log: OneLog, writer: FileWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A logger that fails too leaves no future hanging."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(LogWriter, "commit", broken)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(log.logged, "error", broken, raising=False)
    assert isinstance(writer.append(ONE, record(0)).exception(10), WriterDied)
    writer.close()  # waits for the thread, whose own end must not outlive the hook above


def test_a_poisoned_log_that_cannot_even_be_closed_can_still_be_opened_again(
    log: OneLog, writer: FileWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error of the closing is one more reason to try again later, not the end of the thread."""
    log.disk.fail("sync", errno.EIO)
    failure(writer.append(ONE, record(0)))
    log.clock.advance(60)
    close = LogWriter.close

    def failing(self: LogWriter) -> None:
        close(self)
        raise OSError(errno.EIO, "close")

    with monkeypatch.context() as broken:
        broken.setattr(LogWriter, "close", failing)
        error = failure(writer.append(ONE, record(1)))
    assert (type(error), error.written) == (Unavailable, "no")
    log.clock.advance(60)
    assert writer.append(ONE, record(2)).result(10).offset == 1


def test_a_writer_closed_while_its_disk_hangs_keeps_the_lock(log: OneLog) -> None:
    """The thread may still publish what it wrote: nobody else may write until this process is gone."""
    writer = log.another_backend(close_s=0.05).open_writer()
    release = hold_syncs(log)
    hanging = writer.append(ONE, record(0))
    wait_until(log.segments, what="the segment is made")
    writer.close()
    assert failure(hanging).written == "unknown"
    assert "keeps what it holds" in log.logged.calls[-1].kwargs["event"]
    for _ in range(2):
        with pytest.raises(HeldByAnother):
            log.another_backend().open_writer()
        release.set()
        wait_until(lambda: log.offsets() == (0, 1), what="the late group is published")


def test_a_file_is_given_back_once_though_closing_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel still frees the descriptor; closed again, it would be another file's."""
    file = LocalDisk().create(str(tmp_path / "file"))
    closed: list[int] = []

    def failing(descriptor: int) -> None:
        closed.append(descriptor)
        raise OSError(errno.EIO, "close")

    with monkeypatch.context() as broken:
        broken.setattr("common.store.disk.os.close", failing)
        with pytest.raises(OSError, match="close"):
            file.close()
        file.close()
    assert len(closed) == 1
    os.close(closed[0])


def test_an_opening_that_fails_halfway_gives_everything_back(tmp_path: Path) -> None:
    """The logs that were fine are closed and every lock is free: after a repair the same process can open it."""
    backend = FileBackend(str(tmp_path))
    backend.create(3)
    writer = backend.open_writer()
    writer.append(SequencerId(1), record(0)).result(10)
    writer.close()
    segment = next((tmp_path / "001").glob("*.log"))
    kept = segment.rename(tmp_path / "kept")
    before = threading.active_count()
    with pytest.raises(DataCorrupt):
        backend.open_writer()
    assert threading.active_count() == before
    kept.rename(segment)
    backend.open_writer().close()


def test_cancelling_changes_nothing_about_the_record(log: OneLog, writer: FileWriter) -> None:
    """A cancelled future's record is stored, and those after it resolve."""
    release = hold_syncs(log)
    futures = [writer.append(ONE, record(number)) for number in range(3)]
    assert not futures[1].cancel()
    release.set()
    assert [future.result(10).offset for future in futures] == [0, 1, 2]
    assert numbers_read(log) == [0, 1, 2]


def test_what_is_written_but_not_synced_is_not_read(log: OneLog, writer: FileWriter) -> None:
    """Readers get a record once it is durable, not once it is in the page cache; a seek past it says so."""
    release = hold_syncs(log)
    future = writer.append(ONE, record(0))
    name = wait_until(log.segments, what="the segment is made")[0]
    wait_until(lambda: b"0:...." in log.content(name), what="the batch is written")
    cursor = log.backend.open_reader().cursor(ONE)
    assert cursor.poll(10, 2**20, 0).records == ()
    with pytest.raises(Unavailable, match="not yet proven durable"):
        cursor.seek(1)
    release.set()
    future.result(10)
    assert len(cursor.poll(10, 2**20, 1).records) == 1


def test_appends_of_the_meantime_become_one_group(log: OneLog, writer: FileWriter) -> None:
    """While one group is being synced others queue up, and share the next sync."""
    release = hold_syncs(log)
    syncs: list[str] = []
    first = writer.append(ONE, record(0))
    wait_until(log.segments)
    futures = [writer.append(ONE, record(number)) for number in range(1, 10)]
    held = log.disk.on_sync
    log.disk.on_sync = lambda path: (syncs.append(path), held(path))[0]
    release.set()
    first.result(10)
    assert [future.result(10).offset for future in futures] == list(range(1, 10))
    assert len([path for path in syncs if path.endswith(".log")]) == 1


def test_an_append_many_larger_than_a_group_resolves_with_its_last_record(log: OneLog, writer: FileWriter) -> None:
    """It is split over groups, and its range covers all of it."""
    many = records(range(5000))
    found = writer.append_many(ONE, many).result(20)
    assert (found.first.offset, found.last.offset) == (0, 4999)
    assert numbers_read(log) == list(range(5000))


def hold_syncs(log: OneLog) -> threading.Event:
    """Block syncs of segments until the event is set."""
    release = threading.Event()

    def hold(path: str) -> None:
        if path.endswith(".log"):
            assert release.wait(10)

    log.disk.on_sync = hold
    return release
