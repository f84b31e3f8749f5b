"""One stream: records are read as they were appended, in order, byte for byte."""

from concurrent.futures import Future

import pytest

from writebuffer.conformance.buffer import ONE, Buffer, numbers, offsets
from writebuffer.conformance.samples import record, records
from writebuffer.contract import Appended, AppendedRange


def test_a_poll_of_an_empty_sequencer_returns_nothing(buffer: Buffer) -> None:
    """A poll of an empty sequencer is empty and says that the cursor is at the next offset."""
    reader = buffer.reader()
    batch = buffer.poll(reader.cursor(ONE))
    assert list(batch.records) == []
    assert batch.next_offset == reader.offsets(ONE).next_offset


def test_a_record_comes_back_equal_to_the_byte(buffer: Buffer) -> None:
    """Headers and payload of what is read are those of what was appended, at the offset that the future resolved to."""
    writer, cursor = buffer.writer(), buffer.cursor()
    sent = record(1, 100)
    appended = buffer.result(writer.append(ONE, sent))
    ((offset, found),) = buffer.read(cursor, 1)
    assert offset == appended.offset, "the record was read at another offset than its future resolved with"
    assert found.headers == sent.headers
    assert found.to_bytes() == sent.to_bytes()


def test_what_comes_later_follows_what_is_there(buffer: Buffer) -> None:
    """Two more records arrive at the same cursor, in order and after the first, and nothing else does."""
    writer, cursor = buffer.writer(), buffer.cursor()
    first = buffer.append(writer)
    assert buffer.read(cursor, 1) == first
    more = buffer.append(writer, 2)
    assert buffer.read(cursor, 2) == more
    assert buffer.read_all() == first + more


@pytest.mark.parametrize("count", [1, 2, 5000])
def test_append_many_keeps_the_order_of_its_records(buffer: Buffer, count: int) -> None:
    """The records of one append_many are read in its order, from its first to its last offset, with none between."""
    writer = buffer.writer()
    before, after = buffer.append(writer), records(range(1, count + 1))
    span = buffer.result(writer.append_many(ONE, after))
    found = buffer.read_all()
    assert [one for _, one in found] == [before[0][1], *after], (
        "the records of append_many are read in another order than they were given in"
    )
    assert isinstance(span, AppendedRange)
    assert (offsets(found)[1], offsets(found)[-1]) == (span.first.offset, span.last.offset), (
        "append_many must resolve with the offsets of its first and its last record"
    )
    times = (span.first.append_time_ns, span.last.append_time_ns)
    assert times == (after[0].append_time_ns, after[-1].append_time_ns)


def test_append_and_append_many_in_turn_keep_the_order_of_the_calls(buffer: Buffer) -> None:
    """Single appends and append_many of one writer, sent without waiting, are read in the order of the calls."""
    writer = buffer.writer()
    futures: list[Future[Appended] | Future[AppendedRange]] = []
    for first in range(0, 200, 10):
        futures.append(writer.append(ONE, record(first)))
        futures.append(writer.append_many(ONE, records(range(first + 1, first + 7))))
        futures += [writer.append(ONE, record(number)) for number in range(first + 7, first + 10)]
    buffer.settled(futures)
    for future in futures:
        future.result()
    assert numbers(buffer.read_all()) == list(range(200)), "records are read in another order than that of the calls"


def test_a_writer_opened_later_goes_on_after_the_first(buffer: Buffer) -> None:
    """Records of a second writer, opened after the first was closed, follow those of the first; all are read."""
    writer = buffer.writer()
    first = buffer.append(writer, 3)
    writer.close()
    second = buffer.append(buffer.writer(), 3)
    assert buffer.read_all() == first + second
