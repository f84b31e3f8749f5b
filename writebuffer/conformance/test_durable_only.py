"""Durable only: nothing is acknowledged or read before it is durable. Needs a durability that can be held back."""

import pytest

from common.errors import Unavailable
from common.ids import Offset
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import record
from writebuffer.errors import OffsetInFuture
from writebuffer.proving import HoldsBack

pytestmark = needs(HoldsBack)

LOOK_S = 0.3
"""How long a poll looks for what must not come; the write itself has been called by then."""


def test_a_reader_sees_only_what_is_durable(buffer: Buffer) -> None:
    """While held back, a poll returns the records before and nothing behind; released, the rest comes in order."""
    writer, cursor = buffer.writer(), buffer.cursor()
    before = buffer.append(writer, 3)
    buffer.gate.hold()
    held = [record(number) for number in buffer.next_numbers(3)]
    futures = [writer.append(ONE, one) for one in held]
    assert buffer.read(cursor, 3) == before
    batch = buffer.poll(cursor, timeout_s=LOOK_S)
    assert list(batch.records) == [], "a record was read that is not durable yet"
    buffer.gate.release()
    told = [(buffer.result(future).offset, one) for future, one in zip(futures, held, strict=True)]
    assert buffer.read(cursor, 3) == told


def test_nothing_is_acknowledged_before_it_is_durable(buffer: Buffer) -> None:
    """While held back no future resolves, singly or of append_many; released, all do, in order."""
    writer, reader = buffer.writer(), buffer.reader()
    buffer.gate.hold()
    single = writer.append(ONE, record(0))
    many = writer.append_many(ONE, [record(1), record(2)])
    buffer.poll(reader.reader(ONE), timeout_s=LOOK_S)
    assert not single.done(), "an append resolved before its record was durable"
    assert not many.done(), "an append_many resolved before its records were durable"
    buffer.gate.release()
    assert buffer.result(single).offset < buffer.result(many).first.offset
    assert len(buffer.read_all()) == 3


def test_next_offset_is_the_durable_end(buffer: Buffer) -> None:
    """While held back next stays where it was, seek_to_next stands there; one further is refused, or Unavailable."""
    writer, reader = buffer.writer(), buffer.reader()
    buffer.append(writer, 2)
    end = reader.offsets(ONE).next_offset
    buffer.gate.hold()
    future = writer.append(ONE, record(buffer.next_numbers(1)[0]))
    cursor = reader.reader(ONE)
    cursor.seek_to_next()
    batch = buffer.poll(cursor, timeout_s=LOOK_S)
    assert (list(batch.records), batch.next_offset) == ([], end)
    assert reader.offsets(ONE).next_offset == end, "next offset counts a record that is not durable"
    with pytest.raises((OffsetInFuture, Unavailable)):
        cursor.seek(Offset(end + 1))
    buffer.gate.release()
    assert buffer.result(future).offset >= end
    assert buffer.reader().offsets(ONE).next_offset == buffer.result(future).offset + 1


def test_a_blocked_poll_wakes_when_what_was_held_back_is_durable(buffer: Buffer) -> None:
    """Not at the append, and not at the timeout."""
    writer, cursor = buffer.writer(), buffer.cursor()
    buffer.gate.hold()
    future = writer.append(ONE, record(0))
    waiting = in_background(lambda: buffer.poll(cursor, timeout_s=3 * buffer.patience_s))
    buffer.gate.release()
    batch = buffer.result(waiting)
    assert [(one.offset, one.record) for one in batch.records] == [(buffer.result(future).offset, record(0))]
