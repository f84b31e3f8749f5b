"""Cursors: each is independent, and is exactly at the offset it was moved to."""

import pytest

from common.values.errors import InvalidRequest
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer, numbers, offsets
from writebuffer.conformance.child import line_of
from writebuffer.conformance.needs import needs
from writebuffer.contract import Durable
from writebuffer.errors import Closed


def test_a_new_cursor_starts_at_the_first_offset(buffer: Buffer) -> None:
    """Without a seek a cursor reads from the oldest record on, whenever it was opened."""
    early, writer = buffer.cursor(), buffer.writer()
    sent = buffer.append(writer, 5)
    assert buffer.read(early, 5) == sent
    assert buffer.read(buffer.cursor(), 5) == sent


def test_cursors_of_one_reader_share_nothing(buffer: Buffer) -> None:
    """One is polled, sought and closed without another of the same reader noticing."""
    sent = buffer.append(buffer.writer(), 10)
    reader = buffer.reader()
    one, other, third = (reader.cursor(ONE) for _ in range(3))
    assert buffer.read(one, 10) == sent
    other.seek(sent[4][0])
    one.seek(sent[8][0])
    assert buffer.read(other, 3) == sent[4:7], (
        "moving one cursor moved another cursor of the same reader; each must keep its own offset"
    )
    one.close()
    assert buffer.read(other, 3) == sent[7:]
    assert buffer.read(third, 10) == sent, (
        "moving one cursor moved another cursor of the same reader; each must keep its own offset"
    )


def test_a_blocked_cursor_delays_no_other(buffer: Buffer) -> None:
    """While one cursor waits for records, another of the same reader and one of another reader read on."""
    sent = buffer.append(buffer.writer(), 5)
    reader = buffer.reader()
    waiting, other = reader.cursor(ONE), reader.cursor(ONE)
    waiting.seek_to_next()
    blocked = in_background(lambda: waiting.poll(1, 1, 5 * buffer.patience_s))
    assert buffer.bounded(lambda: buffer.read(other, 5)) == sent
    assert buffer.bounded(lambda: buffer.read_all()) == sent
    assert not blocked.done(), "a poll at the next offset returned before its timeout with nothing appended"
    reader.close()


@pytest.mark.parametrize("max_records", [1, 3, 7, 100])
def test_a_cursor_recreated_anywhere_goes_on_at_the_exact_next_record(buffer: Buffer, max_records: int) -> None:
    """A new cursor sought to the next offset of the last batch loses and repeats nothing."""
    writer = buffer.writer()
    for _ in range(6):
        buffer.append_many(writer, 5)
    reader = buffer.reader()
    found: list[int] = []
    at, end = reader.offsets(ONE).first_offset, reader.offsets(ONE).next_offset
    while at < end:
        cursor = reader.cursor(ONE)
        cursor.seek(at)
        batch = buffer.poll(cursor, max_records, timeout_s=buffer.patience_s)
        assert batch.next_offset > at, (
            f"a poll at offset {at}, below next {end}, returned next_offset {batch.next_offset}; it must be greater"
        )
        found += numbers((one.offset, one.record) for one in batch.records)
        at = batch.next_offset
        cursor.close()
    assert found == list(range(30)), (
        "cursors that each start at the next offset of the one before lost or repeated records"
    )


@pytest.mark.parametrize("max_records", [1, 2, 4, 9, 10, 11])
def test_polls_in_small_steps_return_every_record_once(buffer: Buffer, max_records: int) -> None:
    """However few records each poll asks for, none is skipped or repeated at the edges of batches."""
    writer = buffer.writer()
    for size in (10, 1, 10, 3, 10):
        buffer.append_many(writer, size)
    found = buffer.read(buffer.cursor(), 34, max_records)
    assert numbers(found) == list(range(34)), "a cursor skipped or repeated records at the edges of its batches"


@pytest.mark.parametrize("max_bytes", [1, 1000, 5000, 30_000])
def test_a_backlog_is_read_whole_with_few_bytes_a_poll(buffer: Buffer, max_bytes: int) -> None:
    """Records of mixed sizes all arrive once and in order; a poll's bytes stay within max_bytes or are one record."""
    writer = buffer.writer()
    for payload_bytes in (10, 4000, 100, 1000, 0, 9000):
        buffer.append_many(writer, 20, payload_bytes)
    assert numbers(buffer.read(buffer.cursor(), 120, max_bytes=max_bytes)) == list(range(120))


@pytest.mark.parametrize(("max_records", "max_bytes"), [(0, 1), (1, 0), (-1, -1)])
def test_a_poll_for_nothing_is_refused(buffer: Buffer, max_records: int, max_bytes: int) -> None:
    """A poll that could never return a record is an InvalidRequest and moves nothing."""
    sent = buffer.append(buffer.writer(), 2)
    cursor = buffer.cursor()
    with pytest.raises(InvalidRequest):
        cursor.poll(max_records, max_bytes, 0)
    assert buffer.read(cursor, 2) == sent


def test_a_closed_cursor_says_so(buffer: Buffer) -> None:
    """Polls and seeks of a closed cursor raise Closed; closing twice is fine; the reader goes on."""
    sent = buffer.append(buffer.writer(), 2)
    reader = buffer.reader()
    cursor = reader.cursor(ONE)
    cursor.close()
    cursor.close()
    for act in (lambda: cursor.poll(1, 1, 0), lambda: cursor.seek(sent[0][0]), cursor.seek_to_first):
        with pytest.raises(Closed):
            act()
    assert buffer.read(reader.cursor(ONE), 2) == sent


@needs(Durable)
def test_readers_in_other_processes_see_the_same(buffer: Buffer) -> None:
    """Two processes that open the URL at once read the same records at the same offsets, while the writer is open."""
    sent = buffer.append(buffer.writer(), 50)
    readers = [buffer.child("read") for _ in range(2)]
    for reader in readers:
        assert reader.rest_of_lines() == [line_of(*one) for one in sent]


def test_offsets_of_a_batch_are_those_of_the_futures(buffer: Buffer) -> None:
    """Every record is read at the offset its own future resolved with, in batches of any size."""
    sent = buffer.append(buffer.writer(), 40)
    for max_records in (3, 40):
        assert offsets(buffer.read(buffer.cursor(), 40, max_records)) == offsets(sent)
