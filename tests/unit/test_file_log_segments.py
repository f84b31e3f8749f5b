"""Segments of the file log: rolling, reopening, trimming, and what a damaged one means."""

import errno
import random
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from common.values.errors import DataCorrupt, Forked
from common.values.ids import Offset
from tests.support.buffer_records import numbers, read_all, record, records
from tests.support.crash_disk import PowerCut
from tests.support.file_log import FOLDER, ROOT, OneLog
from writebuffer.errors import OffsetTrimmed
from writebuffer.file import log as log_module
from writebuffer.file.format import HEADER_BYTES, HORIZON_BYTES
from writebuffer.file.log import LogWriter


def base_offsets(log: OneLog) -> list[int]:
    return [int(name[:20]) for name in log.segments()]


def numbers_read(log: OneLog) -> list[int]:
    return numbers(one for _, one in read_all(log.backend))


def written(groups: list[int], log: OneLog | None = None) -> OneLog:
    """A log of those groups of records of 1000 bytes payload, closed; three such records fit a segment."""
    log = log or OneLog()
    writer = log.open()
    for size in groups:
        writer.commit(records(range(writer.next_offset, writer.next_offset + size), 1000))
    writer.close()
    return log


def test_rolls_before_the_batch_that_would_not_fit() -> None:
    """A segment is named after its first offset and ends before segment_bytes; a huge batch gets one of its own."""
    log = written([1, 1, 1, 1, 1, 9, 1])
    assert base_offsets(log) == [0, 3, 5, 14]
    assert numbers_read(log) == list(range(15))
    sizes = [len(log.content(name)) for name in log.segments()]
    assert max(sizes[:2]) <= log.segment_bytes < sizes[2]


def test_a_sealed_segment_has_no_reserved_space_left() -> None:
    """Segments are truncated to what was written when they are sealed, the last one at the close."""
    log = written([1, 1, 1, 1])
    assert [log.content(name)[-1:] for name in log.segments()] == [b".", b"."]


def test_the_reserved_space_of_a_dead_writer_is_given_back_at_the_next_open() -> None:
    """Only trailing zeros go, and nothing that was written."""
    log = OneLog()
    log.open().commit([record(0, 500)])  # never closed
    name = log.segments()[0]
    before = log.content(name)
    assert len(before) == log.segment_bytes
    log.open().close()
    assert before.startswith(log.content(name))
    assert len(log.content(name)) < 1000
    assert numbers_read(log) == [0]


def test_reopening_continues_in_a_new_segment_at_the_exact_next_offset() -> None:
    """An existing file is never appended to, however often the log is opened."""
    log = written([2])
    first = log.content(log.segments()[0])
    written([], written([], log))
    written([1], log)
    assert base_offsets(log) == [0, 2]
    assert log.content(log.segments()[0]) == first
    assert numbers_read(log) == [0, 1, 2]


def test_an_empty_segment_of_the_same_base_does_not_collide() -> None:
    """Writers that die between making a segment and its first batch leave files that are skipped."""
    log = written([1])
    writer = log.open()
    log.disk.fail("write", errno.EIO, number=2)  # the header is written, the batch is not
    writer.commit([record(1)])
    writer.close()
    assert base_offsets(log) == [0, 1, 1]
    assert numbers_read(log) == [0, 1]


def test_a_torn_tail_is_passed_over_kept_and_reported() -> None:
    """Above the durable end a bad batch is what a crash leaves: the log goes on, and says how many bytes it passed."""
    log = written([1, 1])
    name = log.segments()[0]
    whole = log.content(name)
    log.disk.remove(f"{FOLDER}/horizon")  # as after a power cut before it reached the disk
    log.disk.corrupt(f"{FOLDER}/{name}", len(whole) - 10, b"torn")
    written([1], log)
    assert log.logged.calls[0].kwargs["bytes"] == len(whole) - len(whole) // 2 - HEADER_BYTES // 2
    assert len(log.content(name)) == len(whole)
    assert numbers_read(log) == [0, 1]


def test_damage_below_the_durable_end_is_an_error_and_nothing_is_cut() -> None:
    """Opening refuses and names the place; the bytes stay as they are."""
    log = written([1, 1])
    name = log.segments()[0]
    log.disk.corrupt(f"{FOLDER}/{name}", len(log.content(name)) - 10, b"rot")
    rotten = log.content(name)
    with pytest.raises(DataCorrupt, match=r"offsets below 2 were durable.*only up to 1.*does not match its checksum"):
        log.open()
    assert log.content(name) == rotten


def test_a_reader_returns_what_is_before_the_damage_and_then_raises() -> None:
    """Nothing is skipped: the cursor is before the bad batch, and still is after the error."""
    log = written([2, 1])
    name = log.segments()[0]
    log.disk.corrupt(f"{FOLDER}/{name}", len(log.content(name)) - 10, b"rot")
    cursor = log.backend.open_reader().cursor(0)
    assert cursor.poll(10, 2**20, 0).next_offset == 2
    for _ in range(2):
        with pytest.raises(DataCorrupt, match="does not match its checksum") as raised:
            cursor.poll(10, 2**20, 0)
        assert raised.value.offset == 2


@pytest.mark.parametrize("segment", [0, 1, 2])
def test_a_segment_whose_header_rotted_is_never_mistaken_for_trimmed(segment: int) -> None:
    """Wherever the segment is, its records are missing with an error, not silently."""
    log = written([3, 3, 2])
    log.disk.corrupt(f"{FOLDER}/{log.segments()[segment]}", 20, b"rot")
    with pytest.raises(DataCorrupt):
        read_all(log.backend)


def test_a_missing_segment_in_the_middle_is_corruption() -> None:
    """The next segment's link names a batch that is not there."""
    log = written([3, 3, 3])
    log.disk.remove(f"{FOLDER}/{log.segments()[1]}")
    with pytest.raises(DataCorrupt, match="only up to 3"):
        read_all(log.backend)


def test_the_first_batch_of_the_last_segment_zeroed() -> None:
    """Acknowledged records that turned to zeros are an error at open, not an empty segment."""
    log = written([3, 1, 1])
    name = log.segments()[1]
    log.disk.corrupt(f"{FOLDER}/{name}", HEADER_BYTES, bytes(HEADER_BYTES))
    with pytest.raises(DataCorrupt, match="no valid batch header"):
        log.open()


def test_all_segments_gone_is_an_error() -> None:
    """A horizon without the records it names is not mistaken for a new log."""
    log = written([1])
    log.disk.remove(f"{FOLDER}/{log.segments()[0]}")
    with pytest.raises(DataCorrupt, match="there is no segment"):
        log.open()
    with pytest.raises(DataCorrupt, match="nor any other"):
        read_all(log.backend)


@pytest.mark.parametrize("damage", ["missing", "garbage", "empty"])
def test_without_a_horizon_readers_go_by_the_segments_own_proof(damage: str) -> None:
    """All but the newest batch is proven by the headers; opening for writing proves that one too."""
    log = written([3, 3, 1, 1])
    path = f"{FOLDER}/horizon"
    log.disk.remove(path)
    if damage != "missing":
        file = log.disk.create(path)
        file.write_at(0, [b"\x5a" * HORIZON_BYTES if damage == "garbage" else b""])
    assert log.offsets() == (0, 7)
    assert numbers_read(log) == list(range(7))
    log.open().close()
    assert log.offsets() == (0, 8)
    assert numbers_read(log) == list(range(8))


def test_a_live_reader_follows_a_log_whose_horizon_is_damaged() -> None:
    """A cursor in the middle goes on by the proof, and sees what is written meanwhile."""
    log = OneLog()
    writer = log.open()
    writer.commit([record(0)])
    cursor = log.backend.open_reader().cursor(0)
    log.disk.corrupt(f"{FOLDER}/horizon", 0, bytes(8))
    assert cursor.poll(10, 2**20, 0).next_offset == 0
    writer.commit([record(1)])
    log.disk.corrupt(f"{FOLDER}/horizon", 0, bytes(8))
    assert cursor.poll(10, 2**20, 0).next_offset == 1
    writer.commit([record(2)])
    assert cursor.poll(10, 2**20, 0).next_offset == 3


def test_trim_removes_whole_sealed_segments_and_never_the_newest() -> None:
    """At most what is below `before` is removed; offsets continue after all was trimmed, and after a reopen."""
    log = written([3, 3, 3, 2])
    writer = log.open()
    assert [writer.trim(Offset(before)) for before in (2, 3, 8, 5, 99)] == [0, 3, 6, 6, 9]
    writer.close()
    assert log.offsets() == (9, 11)
    assert log.open().commit([record(11)]) == 11
    assert numbers_read(log) == [9, 10, 11]


def test_a_crash_in_the_middle_of_a_trim_leaves_no_hole() -> None:
    """The power fails in any of the removals: what is left is the newer end of the log."""
    for cut_after in range(1, 9):
        log = written([3, 3, 3, 3, 2])
        writer = log.open()
        log.disk.crash_at(cut_after)
        with suppress(PowerCut):
            writer.trim(Offset(12))
        log.disk.crash(random.Random(cut_after))
        log.open().close()
        found = numbers_read(log)
        assert found in [list(range(first, 14)) for first in (0, 3, 6, 9, 12)]


def test_a_power_cut_at_a_roll_after_a_trim_of_everything_leaves_a_log() -> None:
    """A trim keeps the last segment that holds a durable record: the one being started may be lost with its name."""
    for seed in range(20):
        log = written([3])
        writer = log.open()

        def trim_and_lose_power(path: str, writer: LogWriter = writer) -> None:
            writer.trim(Offset(99))
            raise PowerCut(path)

        log.disk.on_sync = trim_and_lose_power
        with pytest.raises(PowerCut):
            writer.commit([record(3)])
        log.disk.on_sync = lambda path: None
        log.disk.crash(random.Random(seed))
        log.open().close()
        assert numbers_read(log) in ([0, 1, 2], [0, 1, 2, 3])


def test_a_trim_at_any_moment_of_a_commit_publishes_what_readers_can_follow() -> None:
    """Before each line of a commit another thread trims and a tailer polls: the horizon is never half of a change."""
    log = OneLog()
    writer = log.open()
    cursor = log.backend.open_reader().cursor(0)
    found: list[int] = []
    trims: list[threading.Thread] = []

    def before_each_line(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != log_module.__file__:
            return None
        if event == "line":
            trims.append(threading.Thread(target=writer.trim, args=(Offset(0),)))
            trims[-1].start()
            trims[-1].join(0.05)  # it waits where the commit holds the lock, and then publishes right after it
            found.extend(numbers(one.record for one in cursor.poll(10, 2**20, 0).records))
        return before_each_line

    tracing = sys.gettrace()
    for number in range(3):  # each of them rolls
        sys.settrace(before_each_line)
        try:
            writer.commit([record(number, log.segment_bytes)])
        finally:
            sys.settrace(tracing)
    for trim in trims:
        trim.join(10)
    assert len(trims) > 20
    assert found + numbers(one.record for one in cursor.poll(10, 2**20, 0).records) == [0, 1, 2]


def test_a_reader_under_a_trim_gets_an_error_and_goes_on_after_a_seek() -> None:
    """A cursor in a trimmed segment gets OffsetTrimmed with the first offset left; it has not moved."""
    log = written([3, 3, 3])
    cursor = log.backend.open_reader().cursor(0)
    assert cursor.poll(1, 2**20, 0).next_offset == 1
    writer = log.open()
    writer.trim(Offset(6))
    for _ in range(2):
        with pytest.raises(OffsetTrimmed, match="offset 1 was trimmed") as raised:
            cursor.poll(10, 2**20, 0)
    cursor.seek(raised.value.first_offset)
    assert [one.offset for one in cursor.poll(10, 2**20, 0).records] == [6, 7, 8]


def test_a_tailer_survives_sealing_and_rolling_under_it() -> None:
    """One cursor polls after every commit, over many segments and a reopening."""
    log = OneLog()
    cursor = log.backend.open_reader().cursor(0)
    found: list[int] = []
    for _ in range(2):
        writer = log.open()
        for _ in range(8):
            writer.commit([record(writer.next_offset, 1000)])
            found += numbers(one.record for one in cursor.poll(10, 2**20, 0).records)
        writer.close()
    assert found == list(range(16))
    assert len(log.segments()) > 4


def test_seeking_reaches_every_offset_from_every_offset() -> None:
    """Forwards, backwards and within a batch, the record returned is the one asked for."""
    log = written([2, 1, 3, 1, 1, 4])
    cursor = log.backend.open_reader().cursor(0)
    for start in range(12):
        for target in range(12):
            for offset in (start, target):
                cursor.seek(Offset(offset))
                assert numbers(one.record for one in cursor.poll(1, 2**20, 0).records) == [offset]


def test_a_buffer_made_again_is_another_log_to_its_readers() -> None:
    """A cursor or segment kept from the old one gives Forked or nothing, never the new one's records."""
    log = written([2])
    cursor = log.backend.open_reader().cursor(0)
    identity = log.backend.open_reader().identity(0)
    for name in log.disk.names(FOLDER):
        log.disk.remove(f"{FOLDER}/{name}")
    log.disk.remove(f"{ROOT}/buffer.json")
    log.backend.create(1)
    written([3], log)
    assert log.backend.open_reader().identity(0) != identity
    with pytest.raises(Forked, match="deleted and made again"):
        cursor.poll(10, 2**20, 0)
