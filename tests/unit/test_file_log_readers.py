"""Readers of a file log while its segments are rolled, sealed and trimmed under them."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.store.disk import DiskFile
from common.values.clock import SystemClock
from common.values.errors import DataCorrupt
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_from, record, records
from tests.support.file_log import OneLog
from writebuffer.contract import Batch
from writebuffer.errors import OffsetTrimmed
from writebuffer.file import FileBackend
from writebuffer.file.batch import LoadedBatch
from writebuffer.file.format import BatchHeader, Body, ChainEnd, SegmentHeader, batch_header
from writebuffer.file.log import LogWriter
from writebuffer.file.walk import Stored
from writebuffer.record import Record

ONE = SequencerId(0)


def written(groups: list[int]) -> tuple[OneLog, LogWriter]:
    """Groups of records of 1000 bytes payload; three such records fit a segment. The writer is open."""
    log = OneLog()
    writer = log.open()
    for size in groups:
        writer.commit(records(range(writer.next_offset, writer.next_offset + size), 1000))
    return log, writer


EACH_BYTES = len(record(0, 1000))


@settings(max_examples=100)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.integers(1, 7),
    st.integers(1, 9000) | st.integers(1, 8).map(lambda fitting: fitting * EACH_BYTES),
    st.integers(0, 48),
    st.integers(0, 48),
)
@example([1, 1], 2, 2 * EACH_BYTES, 0, 2)
@example([3, 3], 7, 3 * EACH_BYTES, 1, 5)
def test_a_fold_of_any_range_by_any_limits_is_exact(
    groups: list[int], max_records: int, max_bytes: int, start: int, end: int
) -> None:
    """From every offset to every other: each record once, in order, as many as both limits allow, but always one."""
    log, writer = written(groups)
    writer.close()
    start, end = sorted((min(start, sum(groups)), min(end, sum(groups))))
    cursor = log.backend.open_reader().cursor(ONE)
    cursor.seek(Offset(start))
    at = start
    while at < end:
        batch = cursor.poll(min(max_records, end - at), max_bytes, 0)
        expected = max(1, min(max_records, end - at, max_bytes // EACH_BYTES))
        assert numbers(one.record for one in batch.records) == list(range(at, at + expected))
        assert [one.offset for one in batch.records] == list(range(at, at + expected))
        at += expected
        assert batch.next_offset == at


def test_a_trim_in_the_middle_of_a_batch_that_is_read_is_reported_at_the_next_poll() -> None:
    """The batch is at hand, but its segment is gone: OffsetTrimmed, not the records that nobody promises any more."""
    log, writer = written([3, 3, 3])
    cursor = log.backend.open_reader().cursor(ONE)
    assert cursor.poll(2, 2**20, 0).next_offset == 2
    writer.trim(Offset(6))
    with pytest.raises(OffsetTrimmed) as raised:
        cursor.poll(1, 2**20, 0)
    assert (raised.value.asked, raised.value.first_offset) == (2, 6)


def test_a_reader_that_waits_at_the_end_survives_the_trim_of_all_before_it(tmp_path: Path) -> None:
    """Blocked while the segment it is in is sealed and removed, it wakes with the next record."""
    backend = FileBackend(str(tmp_path / "log"), segment_bytes=4096)
    backend.create(1)
    writer = backend.open_writer()
    for number in range(5):
        writer.append(ONE, record(number, 1000)).result(10)
    cursor = backend.open_reader().cursor(ONE)
    assert len(read_from(cursor, 5)) == 5
    got: list[Batch] = []
    waiting = threading.Thread(target=lambda: got.append(cursor.poll(10, 2**20, 20)))
    waiting.start()
    assert writer.trim(ONE, Offset(5)) > 0
    begun_s = SystemClock().monotonic_s()
    writer.append(ONE, record(5, 4096)).result(10)
    waiting.join(10)
    assert numbers(one.record for one in got[0].records) == [5]
    assert SystemClock().monotonic_s() - begun_s < 5
    writer.close()


def between_listing_and_opening(log: OneLog, act: Callable[[], object]) -> None:
    """`act` happens once, when the next segment is about to be opened."""
    opened = log.disk.open

    def opening(path: str, *, write: bool = False) -> DiskFile:
        if path.endswith(".log"):
            log.disk.open = opened  # type: ignore[method-assign]
            act()
        return opened(path, write=write)

    log.disk.open = opening  # type: ignore[method-assign,assignment]


def test_a_trim_between_listing_and_opening_is_a_trim_and_no_damage() -> None:
    """The segment was in the list and is gone when it is opened."""
    log, writer = written([3, 3, 3])
    cursor = log.backend.open_reader().cursor(ONE)
    between_listing_and_opening(log, lambda: writer.trim(Offset(6)))
    with pytest.raises(OffsetTrimmed) as raised:
        cursor.poll(1, 2**20, 0)
    assert raised.value.first_offset == 6


def test_a_seek_by_time_under_a_trim_finds_what_is_left() -> None:
    """It looks through the rest again rather than to complain about an offset that nobody asked for."""
    log, writer = written([3, 3, 3])
    cursor = log.backend.open_reader().cursor(ONE)
    between_listing_and_opening(log, lambda: writer.trim(Offset(6)))
    cursor.seek_to_time(1)  # type: ignore[attr-defined]
    assert cursor.poll(1, 2**20, 0).next_offset == 7


def test_records_before_a_malformed_one_are_returned_and_it_is_named() -> None:
    """A record whose block does not fit: those before it come first, then the error names it at each poll."""
    log = OneLog()
    writer = log.open()
    bad = Record(record(1).header_block[:-1], b"")
    writer.commit([record(0), bad, record(2)])
    cursor = log.backend.open_reader().cursor(ONE)
    assert cursor.poll(10, 2**20, 0).next_offset == 1
    for _ in range(2):
        with pytest.raises(DataCorrupt, match="offset 1: record header block") as raised:
            cursor.poll(10, 2**20, 0)
        assert raised.value.offset == 1
    cursor.seek(Offset(2))
    assert cursor.poll(10, 2**20, 0).next_offset == 3


@pytest.mark.parametrize("more", [0, 20])
@pytest.mark.parametrize("bad_at", [0, 1, 2])
def test_a_seek_by_time_does_not_pass_over_a_malformed_record(bad_at: int, more: int) -> None:
    """Its time is not known, so it may be the first: the cursor stays at it, and the next poll names it."""
    log = OneLog()
    writer = log.open()
    group = records(range(3 + more))
    group[bad_at] = Record(group[bad_at].header_block[:-1], b"")
    writer.commit(group)
    writer.commit(records(range(3 + more, 5 + more)))
    cursor = log.backend.open_reader().cursor(ONE)
    for time_ns in range(bad_at + 1):
        cursor.seek_to_time(time_ns)
        if time_ns < bad_at:
            assert cursor.poll(1, 2**20, 0).next_offset == time_ns + 1
    with pytest.raises(DataCorrupt, match=f"offset {bad_at}: record header block"):
        cursor.poll(1, 2**20, 0)
    cursor.seek_to_time(3 + more)
    assert cursor.poll(1, 2**20, 0).next_offset == 4 + more


@given(st.lists(st.binary(max_size=90), min_size=1, max_size=16), st.binary(max_size=9))
def test_many_records_are_cut_as_one_by_one(parts: list[bytes], before: bytes) -> None:
    """Whether blocks fit is said for a whole batch as `Record.from_bytes` says it for each."""
    good = [record(len(part), len(part)).to_bytes() if len(part) % 3 else part for part in parts]
    stored = [Record(part, b"") for part in good]
    body = b"".join([len(part).to_bytes(4, "little") for part in good] + good)
    segment = SegmentHeader.make(bytes(16), ChainEnd(Offset(0), 0), 1, 0)  # type: ignore[arg-type]
    made = Body(body, len(stored), 0, 0)
    header = BatchHeader.parse(batch_header(segment, ChainEnd(Offset(7), segment.link), made, 0), segment)
    assert header
    loaded = LoadedBatch.of(header, Stored(before + body, len(before), len(body)))
    assert loaded
    bad = {offset for offset, _ in loaded.damaged()}
    for at, part in enumerate(good):
        try:
            expected: Record | None = Record.from_bytes(part)
        except DataCorrupt:
            expected = None
        assert (expected is None) == (at + 7 in bad)
        if expected:
            [one] = loaded.records(Offset(at + 7), 1)
            assert (one.offset, one.record.header_block, one.record.payload) == (
                at + 7,
                expected.header_block,
                expected.payload,
            )


def test_lengths_that_do_not_fill_the_body_are_damage() -> None:
    """Also where a length is as large as it can be: nothing is read by it."""
    log, writer = written([1])
    segment = SegmentHeader.parse(log.content(log.segments()[0])[:64], log.place().log_id)
    assert segment
    writer.close()
    body = b"\xff\xff\xff\xff" + bytes(20)
    header = BatchHeader.parse(
        batch_header(segment, ChainEnd(Offset(0), segment.link), Body(body, 1, 0, 0), 0), segment
    )
    assert header
    assert LoadedBatch.of(header, Stored(body, 0, len(body))) is None
