"""Durable only: nothing is acknowledged or read before it is durable. Needs a durability that can be held back.

Each test waits until the appends have gone as far as they can while held back, and looks then. A backend that shows or
acknowledges too early has done so by then, or does so before `release` is called; both are noticed.
"""

from concurrent.futures import Future
from typing import Any

import pytest

from common.values.errors import Unavailable
from common.values.ids import Offset
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import record, records
from writebuffer.contract import Batch, Cursor
from writebuffer.errors import OffsetInFuture
from writebuffer.proving import HoldsBack

pytestmark = needs(HoldsBack)


class Gate:
    """Holds the backend back from the start, and knows whether it was released."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._released = False
        buffer.gate.hold()

    def await_held(self) -> None:
        self._buffer.bounded(lambda: self._buffer.gate.await_held(self._buffer.patience_s))

    def release(self) -> None:
        self._released = True
        self._buffer.gate.release()

    def waiting_poll(self, cursor: Cursor) -> "Future[tuple[Batch, bool]]":
        """Of a cursor at the next offset: what comes first, and whether it came after the release."""

        def poll() -> tuple[Batch, bool]:
            batch = self._buffer.poll(cursor, timeout_s=3 * self._buffer.patience_s)
            return batch, self._released

        return in_background(poll)

    def resolution(self, future: "Future[Any]") -> "Future[bool]":
        """Whether it resolved after the release."""
        seen: Future[bool] = Future()
        future.add_done_callback(lambda _: seen.set_result(self._released))
        return seen


def test_a_reader_sees_only_what_is_durable(buffer: Buffer) -> None:
    """While held back, cursors old and new return the records before and stay there; released, the rest comes."""
    writer, cursor = buffer.writer(), buffer.cursor()
    before = buffer.append(writer, 3)
    assert buffer.read(cursor, 3) == before
    gate = Gate(buffer)
    held = records(buffer.next_numbers(3))
    futures = [writer.append(ONE, one) for one in held]
    gate.await_held()
    end = Offset(before[-1][0] + 1)
    for one, expected in ((cursor, []), (buffer.cursor(), before)):
        assert buffer.read_to(one, end) == expected, (
            f"a record was read that is not durable yet: only those below {end} are"
        )
        assert buffer.poll(one).next_offset == end, (
            f"a cursor moved past a record that is not durable yet; it must stay at {end}"
        )
    gate.release()
    resolved = [(buffer.result(future).offset, one) for future, one in zip(futures, held, strict=True)]
    assert buffer.read(cursor, 3) == resolved


def test_nothing_is_acknowledged_before_it_is_durable(buffer: Buffer) -> None:
    """While held back no future resolves, singly or of append_many; released, all do, in order."""
    writer = buffer.writer()
    gate = Gate(buffer)
    single = writer.append(ONE, record(0))
    many = writer.append_many(ONE, [record(1), record(2)])
    resolutions = [gate.resolution(single), gate.resolution(many)]
    gate.await_held()
    assert not single.done(), "an append resolved before its record was durable"
    assert not many.done(), "an append_many resolved before its records were durable"
    gate.release()
    assert all(map(buffer.result, resolutions)), "a future resolved before its records were durable"
    assert buffer.result(single).offset < buffer.result(many).first.offset
    assert len(buffer.read_all()) == 3


def test_next_offset_is_the_durable_end(buffer: Buffer) -> None:
    """While held back next stays where it was, seek_to_next moves there; one further is refused, or Unavailable."""
    writer, reader = buffer.writer(), buffer.reader()
    buffer.append(writer, 2)
    end = reader.offsets(ONE).next_offset
    gate = Gate(buffer)
    future = writer.append(ONE, record(buffer.next_numbers(1)[0]))
    gate.await_held()
    for one in (reader, buffer.reader()):
        assert one.offsets(ONE).next_offset == end, (
            f"next offset counts a record that is not durable; it must stay {end}"
        )
    cursor = reader.cursor(ONE)
    cursor.seek_to_next()
    assert buffer.poll(cursor).next_offset == end, (
        f"seek_to_next must move to the durable end {end}, which is before the record that is not durable"
    )
    with pytest.raises((OffsetInFuture, Unavailable)):
        cursor.seek(Offset(end + 1))
    gate.release()
    assert buffer.result(future).offset >= end
    assert buffer.reader().offsets(ONE).next_offset == buffer.result(future).offset + 1


def test_a_blocked_poll_wakes_when_what_was_held_back_is_durable(buffer: Buffer) -> None:
    """Not at the append, and not at the timeout."""
    writer, cursor = buffer.writer(), buffer.cursor()
    gate = Gate(buffer)
    waiting = gate.waiting_poll(cursor)
    future = writer.append(ONE, record(0))
    gate.await_held()
    assert not waiting.done(), "a poll returned while the record was not durable; it must wait until the record is"
    gate.release()
    batch, after_release = buffer.result(waiting)
    assert after_release, "a poll returned while the record was not durable; it must wait until the record is"
    assert [(one.offset, one.record) for one in batch.records] == [(buffer.result(future).offset, record(0))]
