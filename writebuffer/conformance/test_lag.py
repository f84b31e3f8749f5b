"""Lag: the next offset minus the cursor's is exactly what is left to read."""

import time

from common.values.ids import Offset
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer, offsets
from writebuffer.conformance.samples import record


def test_lag_is_exact_after_each_append_and_poll(buffer: Buffer) -> None:
    """The records left to read are those from the cursor to next; at next there are none."""
    writer, reader = buffer.writer(), buffer.reader()
    cursor = reader.cursor(ONE)
    given: list[Offset] = []
    at = reader.offsets(ONE).first_offset
    for _ in range(8):
        given += offsets(buffer.append(writer, 3))
        end = reader.offsets(ONE).next_offset
        assert end == given[-1] + 1, (
            f"the newest record is at {given[-1]}, so next offset must be {given[-1] + 1}, got {end}"
        )
        batch = buffer.poll(cursor, 2, timeout_s=buffer.patience_s)
        assert [one.offset for one in batch.records] == [one for one in given if one >= at][: len(batch.records)]
        at = batch.next_offset
        assert at <= end
    left = [one for one in given if one >= at]
    assert offsets(buffer.read_to(cursor, reader.offsets(ONE).next_offset)) == left
    assert buffer.poll(cursor).next_offset == reader.offsets(ONE).next_offset, (
        "a cursor that has read everything is not at the next offset: the lag is not 0"
    )


def test_next_never_goes_back_while_writers_go_on(buffer: Buffer) -> None:
    """Read again and again, next offset never shrinks, is never below a record that was read, and ends exact."""
    writer, reader = buffer.writer(), buffer.reader()
    cursor = reader.cursor(ONE)
    writing = in_background(lambda: [buffer.result(writer.append(ONE, record(number))).offset for number in range(300)])
    seen: list[Offset] = []
    at = Offset(0)
    deadline_s = time.monotonic() + buffer.patience_s
    while not writing.done() or at < reader.offsets(ONE).next_offset:
        assert time.monotonic() < deadline_s, (
            f"the cursor is at {at} and did not reach the next offset in {buffer.patience_s} s"
        )
        at = buffer.poll(cursor, timeout_s=0.01).next_offset
        seen.append(reader.offsets(ONE).next_offset)
        assert seen[-1] >= at, (
            f"next offset is {seen[-1]}, below a cursor at {at}; it must never be below what was read"
        )
    assert seen == sorted(seen), f"next offset went back, it must only grow: {seen}"
    assert at == buffer.result(writing)[-1] + 1
