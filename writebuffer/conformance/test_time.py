"""Seeking by time: to the first record appended at or after it, in order of offsets."""

import pytest

from common.values.ids import Offset
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import START_NS, record
from writebuffer.contract import Cursor, SeekableByTime, Writer
from writebuffer.record import Record

pytestmark = needs(SeekableByTime)

MS = 1_000_000


def test_seeking_before_between_at_and_after(buffer: Buffer) -> None:
    """Before the first: the first. Between two: the later. Exactly at one: that one. After the last: next."""
    sent = _append_at(buffer, [0, 10, 20, 30])
    cursor = buffer.cursor()
    for offset_ms, expected in {-1000: 0, -1: 0, 0: 0, 5: 1, 10: 1, 20: 2, 25: 3, 30: 3}.items():
        assert _from(buffer, cursor, START_NS + offset_ms * MS, 4 - expected) == sent[expected:], f"at {offset_ms} ms"
    assert _from(buffer, cursor, 0, 4) == sent


def test_seeking_after_the_last_waits_for_what_comes(buffer: Buffer) -> None:
    """A time after every record moves to next: what is appended then is read, also with an earlier time."""
    writer = buffer.writer()
    _append_at(buffer, [0, 10], writer)
    cursor = buffer.cursor()
    buffer.by_time(cursor).seek_to_time(START_NS + 11 * MS)
    batch = buffer.poll(cursor)
    assert (list(batch.records), batch.next_offset) == ([], buffer.reader().offsets(ONE).next_offset)
    sent = _append_at(buffer, [5], writer)
    assert buffer.read(cursor, 1) == sent


def test_times_differ_by_the_nanosecond(buffer: Buffer) -> None:
    """Times within one millisecond and one microsecond are different times."""
    writer = buffer.writer()
    sent = [_append(buffer, writer, START_NS + ns) for ns in (0, 1, 999, 1000, 2000)]
    cursor = buffer.cursor()
    for ns, expected in {-1: 0, 0: 0, 1: 1, 2: 2, 999: 2, 1000: 3, 1001: 4, 2000: 4}.items():
        assert _from(buffer, cursor, START_NS + ns, 5 - expected) == sent[expected:], f"{ns} ns after the first"


def test_of_equal_times_the_first_is_found(buffer: Buffer) -> None:
    """Several records of one time are all read, from the first of them on."""
    sent = _append_at(buffer, [0, 10, 10, 10, 20])
    cursor = buffer.cursor()
    assert _from(buffer, cursor, START_NS + 10 * MS, 4) == sent[1:]
    assert _from(buffer, cursor, START_NS + 11 * MS, 1) == sent[4:]


def test_with_a_clock_that_stepped_back_the_first_in_order_is_found(buffer: Buffer) -> None:
    """The order of offsets counts: no record before the one that was found is at or after the time."""
    sent = _append_at(buffer, [10, 20, 40, 15, 50, 5])
    cursor = buffer.cursor()
    for offset_ms, expected in {5: 0, 10: 0, 12: 1, 20: 1, 21: 2, 40: 2, 41: 4, 50: 4}.items():
        assert _from(buffer, cursor, START_NS + offset_ms * MS, 6 - expected) == sent[expected:], f"at {offset_ms} ms"
    buffer.by_time(cursor).seek_to_time(START_NS + 51 * MS)
    assert buffer.poll(cursor).next_offset == buffer.reader().offsets(ONE).next_offset


def test_an_empty_sequencer_is_sought_by_any_time(buffer: Buffer) -> None:
    """Without records every time is after the last: the cursor waits at next."""
    writer, cursor = buffer.writer(), buffer.cursor()
    buffer.by_time(cursor).seek_to_time(START_NS)
    sent = _append_at(buffer, [-5], writer)
    assert buffer.read(cursor, 1) == sent


@pytest.mark.parametrize("time_ns", [-(2**63), 0, 2**63 - 1])
def test_the_ends_of_time_are_legal(buffer: Buffer, time_ns: int) -> None:
    """The least time moves to the first offset, the greatest to next where no record has it."""
    sent = _append_at(buffer, [0, 10])
    cursor = buffer.cursor()
    expected = sent if time_ns <= 0 else []
    assert _from(buffer, cursor, time_ns, len(expected)) == expected
    assert buffer.poll(cursor).next_offset == buffer.reader().offsets(ONE).next_offset


def _append_at(buffer: Buffer, offsets_ms: list[int], writer: Writer | None = None) -> list[tuple[Offset, Record]]:
    writer = writer or buffer.writer()
    return [_append(buffer, writer, START_NS + offset_ms * MS) for offset_ms in offsets_ms]


def _append(buffer: Buffer, writer: Writer, time_ns: int) -> tuple[Offset, Record]:
    one = record(buffer.next_numbers(1)[0], time_ns=time_ns)
    return buffer.result(writer.append(ONE, one)).offset, one


def _from(buffer: Buffer, cursor: Cursor, time_ns: int, count: int) -> list[tuple[Offset, Record]]:
    """The `count` records from `time_ns` on."""
    buffer.by_time(cursor).seek_to_time(time_ns)
    return buffer.read(cursor, count)
