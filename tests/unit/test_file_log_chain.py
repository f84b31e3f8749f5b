"""The chain of links through batches and segments: readers follow one history, and refuse any other."""

import errno

import pytest

from common.store.disk import DiskFile
from common.values.errors import DataCorrupt, Forked, PenstockError
from common.values.ids import Epoch, Offset, SequencerId
from tests.support.buffer_records import numbers, read_all, record, records
from tests.support.crash_disk import CrashDisk
from tests.support.file_log import FOLDER, OneLog
from writebuffer.contract import Cursor
from writebuffer.file.format import HEADER_BYTES, BatchHeader, Body, ChainEnd, Place, SegmentHeader, batch_header
from writebuffer.file.recovery import recover
from writebuffer.file.segment import OpenSegment
from writebuffer.file.survey import survey
from writebuffer.file.verify import Verification


def commit_each(log: OneLog, sent: range) -> None:
    """One group for each number, of which three fit a segment."""
    writer = log.open()
    for number in sent:
        writer.commit([record(number, 1000)])
    writer.close()


def copied(log: OneLog) -> OneLog:
    """The folder as it is, on another disk: the same buffer, which goes on by itself."""
    return OneLog(disk=CrashDisk(log.disk.image().still_running()))


def put(log: OneLog, name: str, content: bytes) -> None:
    if log.disk.stat(f"{FOLDER}/{name}"):
        log.disk.remove(f"{FOLDER}/{name}")
    log.disk.create(f"{FOLDER}/{name}").write_at(0, [content])


def put_back(log: OneLog, older: OneLog) -> None:
    """All of the log's files as they are in `older`, as an operator restores a copy."""
    for name in log.disk.names(FOLDER):
        log.disk.remove(f"{FOLDER}/{name}")
    for name in older.disk.names(FOLDER):
        put(log, name, older.content(name))


def forked(segment: int, *, indexed: bool = True) -> OneLog:
    """Segments 0..2, 3..5, 6..8, 9..11, 12..14, of which one from 3 on is of another history, with its index or none.

    Both went on from the same copy after offset 2; offsets, epochs and sizes are the same.
    """
    log = OneLog()
    commit_each(log, range(3))
    other = copied(log)
    commit_each(log, range(3, 15))
    commit_each(other, range(103, 115))
    name = log.segments()[segment]
    assert name == other.segments()[segment]
    put(log, name, other.content(name))
    index = name.replace(".log", ".idx")
    put(log, index, other.content(index))
    if not indexed:
        for one in log.disk.names(FOLDER):
            if one.endswith(".idx"):
                log.disk.remove(f"{FOLDER}/{one}")
    return log


def cursor_of(log: OneLog) -> Cursor:
    return log.backend.open_reader().cursor(SequencerId(0))


def read_until_error(cursor: Cursor, max_records: int) -> tuple[list[int], PenstockError | None]:
    found: list[int] = []
    try:
        while batch := cursor.poll(max_records, 2**30, 0).records:
            found += numbers(one.record for one in batch)
    except PenstockError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("max_records", [1, 2, 1000])
@pytest.mark.parametrize("segment", [2, 3, 4])
def test_a_segment_of_another_history_is_refused_by_readers(segment: int, max_records: int, indexed: bool) -> None:
    """In bulk or one by one: what is before it is returned, then Forked, again and again; it is no damage."""
    log = forked(segment, indexed=indexed)
    cursor = cursor_of(log)
    for expected in (list(range(3 * segment)), []):
        found, error = read_until_error(cursor, max_records)
        assert found == expected
        assert type(error) is Forked
        assert f"{log.segments()[segment]} follows on" in str(error)


def test_going_from_segment_to_segment_opens_the_next_one_and_nothing_else() -> None:
    """A reader in order compares the links as it passes; it needs no index, and reads no batch again."""
    log = OneLog()
    commit_each(log, range(15))
    cursor = cursor_of(log)
    cursor.poll(1, 2**20, 0)
    opened: list[str] = []
    open_file = log.disk.open

    def watched(path: str, *, write: bool = False) -> DiskFile:
        opened.append(path.rpartition("/")[2])
        return open_file(path, write=write)

    log.disk.open = watched  # type: ignore[method-assign,assignment]
    assert read_until_error(cursor, 1) == (list(range(1, 15)), None)
    assert [name for name in opened if name != "horizon"] == log.segments()[1:]


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("by_time", [True, False])
@pytest.mark.parametrize("within", [0, 2])
def test_a_seek_into_a_segment_of_another_history_is_refused(within: int, by_time: bool, indexed: bool) -> None:
    """Its link is compared with the end of the segment before, also where nothing before it was read."""
    for offset in (6 + within, 9 + within):  # 9..11 are ours again, but follow on another 6..8
        cursor = cursor_of(forked(2, indexed=indexed))
        with pytest.raises(Forked, match="follows on"):
            by_time_or_offset(cursor, offset, by_time=by_time)


def by_time_or_offset(cursor: Cursor, offset: int, *, by_time: bool) -> None:
    if by_time:
        cursor.seek_to_time(offset if offset >= 9 else offset + 100)  # type: ignore[attr-defined]
    else:
        cursor.seek(Offset(offset))
        cursor.poll(1, 2**20, 0)


def test_after_a_segment_of_another_history_a_seek_reads_on() -> None:
    """Where a segment follows on the one before it is read: who seeks past a fork has counted what is missing."""
    cursor = cursor_of(forked(2))
    cursor.seek(Offset(12))
    assert read_until_error(cursor, 10) == ([12, 13, 14], None)


def test_a_segment_after_a_damaged_one_can_be_sought() -> None:
    """What cannot be compared is no fork: only a reader of the damage gets an error."""
    log = OneLog()
    commit_each(log, range(9))
    log.disk.corrupt(f"{FOLDER}/{log.segments()[1]}", HEADER_BYTES, bytes(3000))
    cursor = cursor_of(log)
    assert type(read_until_error(cursor, 10)[1]) is DataCorrupt
    cursor.seek(Offset(6))
    assert read_until_error(cursor, 10) == ([6, 7, 8], None)


@pytest.mark.parametrize("segment", [3, 4])
def test_opening_for_writing_refuses_another_history_in_the_last_two_segments(segment: int) -> None:
    """As Forked, and nothing is changed."""
    log = forked(segment)
    before = {name: log.content(name) for name in log.disk.names(FOLDER)}
    with pytest.raises(Forked, match="follows on"):
        recover(log.place(), log.clock, log._logger)
    assert {name: log.content(name) for name in log.disk.names(FOLDER)} == before


def test_a_fork_does_not_end_a_verification_or_a_survey() -> None:
    """Both say where it is, and go on after it."""
    log = forked(2)
    problems = list(Verification(log.place()).problems())
    assert [(one.first_offset, one.next_offset) for one in problems] == [(6, 6), (9, 9)]
    assert all("follows on" in one.what for one in problems)
    found = survey(log.place())
    assert [one.next_offset for one in found.segments] == [3, 6, 9, 12, 15]


@pytest.mark.parametrize("appended", [3, 5, 6, 12])
@pytest.mark.parametrize("looks", [True, False], ids=["polled in between", "asleep"])
def test_a_folder_put_back_to_an_older_state_is_another_history_to_a_live_reader(appended: int, looks: bool) -> None:
    """It read further than the copy goes: it gets nothing of what is appended to that, but Forked."""
    log = OneLog()
    commit_each(log, range(2))
    older = copied(log)
    commit_each(log, range(2, 7))
    cursor = cursor_of(log)
    assert read_until_error(cursor, 10)[0] == list(range(7))
    put_back(log, older)
    if looks:
        assert type(read_until_error(cursor, 10)[1]) is Forked
    commit_each(log, range(102, 102 + appended))
    if appended == 5:  # the log ends where the reader is
        assert read_until_error(cursor, 10) == ([], None)
        commit_each(log, range(107, 108))
    for _ in range(2):
        found, error = read_until_error(cursor, 10)
        assert (found, type(error)) == ([], Forked)


def test_a_folder_put_back_and_written_as_before_is_the_same_history() -> None:
    """The same records at the same offsets: nothing that a reader was given is untrue."""
    log = OneLog()
    commit_each(log, range(2))
    older = copied(log)
    commit_each(log, range(2, 7))
    cursor = cursor_of(log)
    assert read_until_error(cursor, 10)[0] == list(range(7))
    put_back(log, older)
    commit_each(log, range(2, 9))
    assert read_until_error(cursor, 10) == ([7, 8], None)


def test_an_unproven_tail_that_is_written_again_is_the_same_history_to_a_live_reader() -> None:
    """The horizon rotted, so that the newest batch is in a new segment now; the reader had it already."""
    log = OneLog()
    commit_each(log, range(4))
    cursor = cursor_of(log)
    assert read_until_error(cursor, 10)[0] == [0, 1, 2, 3]
    log.disk.corrupt(f"{FOLDER}/horizon", 0, bytes(8))
    assert log.offsets() == (0, 3)
    assert read_until_error(cursor, 10) == ([], None)  # beyond what is proven for now, not beyond what is there
    before = log.segments()
    commit_each(log, range(4, 6))
    assert len(log.segments()) == len(before) + 2
    assert read_until_error(cursor, 10) == ([4, 5], None)


@pytest.mark.parametrize("max_records", [1, 1000])
def test_a_batch_that_occurs_twice_is_read_once(max_records: int) -> None:
    """Whole in one segment, whose write reported an error, and in the next: all readers skip the first."""
    log = OneLog()
    writer = log.open()
    writer.commit([record(0)])
    log.disk.fail("write", errno.EIO, kept_bytes=10_000)
    writer.commit([record(1)])
    writer.commit([record(2)])
    writer.close()
    assert [log.content(name).count(b"1:....") for name in log.segments()] == [1, 1]
    assert read_until_error(cursor_of(log), max_records) == ([0, 1, 2], None)
    commit_each(log, range(3, 4))
    assert numbers(one for _, one in read_all(log.backend)) == [0, 1, 2, 3]


def append_segment(log: OneLog, epoch: int, sent: range) -> None:
    """Continue the log with one more segment whose link fits, and say that it is durable."""
    place = log.place()
    end = recover(copied(log).place(), log.clock, log._logger).end
    segment = OpenSegment(place, SegmentHeader.make(place.log_id, end, Epoch(epoch), 0), 4096)
    for number in sent:
        end = segment.write(end.offset, Body.of([record(number)]), 0)
    segment.sync()
    segment.seal()
    log.disk.remove(f"{FOLDER}/horizon")


def test_a_segment_of_an_older_writer_after_a_newer_ones_is_refused() -> None:
    """Epochs never go back: its writer was replaced long ago."""
    log = OneLog()
    commit_each(log, range(1))
    commit_each(log, range(1, 2))
    append_segment(log, 1, range(2, 4))
    cursor = cursor_of(log)
    cursor.seek(Offset(2))
    for one in (lambda: cursor.poll(10, 2**20, 0), log.open):
        with pytest.raises(Forked, match=r"epoch 1\b.*epoch 2\b"):
            one()


def test_a_batch_that_does_not_carry_the_link_of_the_one_before_is_refused() -> None:
    """A valid batch in the place of another, as a disk leaves it that lost a write: the next one shows it."""
    log = OneLog()
    writer = log.open()
    for number in range(3):
        writer.commit([record(number)])
    writer.close()
    name = log.segments()[0]
    header = SegmentHeader.parse(log.content(name)[:HEADER_BYTES], log.place().log_id)
    assert header
    body = Body.of([record(7)])
    other = batch_header(header, ChainEnd(Offset(0), header.link), body, 0) + body.data
    log.disk.corrupt(f"{FOLDER}/{name}", HEADER_BYTES, other)
    found, error = read_until_error(cursor_of(log), 10)
    assert found == [7]
    assert type(error) is DataCorrupt
    assert "the batch found there (offset 1) does not follow the one before" in str(error)
    with pytest.raises(DataCorrupt, match="does not follow the one before"):
        log.open()


@pytest.mark.parametrize(("lag", "proven"), [(0, 3), (1, 2), (3, 0)])
def test_a_batch_proves_no_more_than_its_durable_lag_leaves(lag: int, proven: int) -> None:
    """Base offset minus lag: a writer may have several groups under way, and readers go by what each one says."""
    log = OneLog()
    place: Place = log.place()
    place.disk.make_folder(FOLDER)
    segment = OpenSegment(place, SegmentHeader.make(place.log_id, ChainEnd(Offset(0), 0), Epoch(1), 0), 4096)
    for number in range(3):
        segment.write(Offset(number), Body.of([record(number)]), number)
    segment.write(Offset(3), Body.of(records([3])), lag)
    segment.sync()
    segment.seal()
    assert log.offsets() == (0, proven)
    assert read_until_error(cursor_of(log), 10)[0] == list(range(proven))
    log.open().close()
    assert [int(name[:20]) for name in log.segments()] == [0, proven]
    assert numbers(one for _, one in read_all(log.backend)) == [0, 1, 2, 3]
    raw = log.content(log.segments()[-1])
    header = SegmentHeader.parse(raw[:HEADER_BYTES], place.log_id)
    assert header
    assert BatchHeader.parse(raw[HEADER_BYTES : 2 * HEADER_BYTES], header)
