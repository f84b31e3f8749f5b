"""Waiting for records: a poll returns as soon as one is there, and no later than its timeout."""

import math
import time

import pytest

from common.values.errors import InvalidRequest
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.errors import Closed

TIMEOUTS_OF_PATIENCE = 5
"""Such a timeout is this many times the patience: a poll that wakes only at its timeout fails the test."""


def test_a_blocked_poll_wakes_at_the_append(buffer: Buffer) -> None:
    """Each of several polls with a long timeout returns its record when it is appended, not at the timeout."""
    writer, cursor = buffer.writer(), buffer.cursor()
    for _ in range(5):
        waiting = in_background(lambda: buffer.poll(cursor, timeout_s=TIMEOUTS_OF_PATIENCE * buffer.patience_s))
        sent = buffer.append(writer)
        batch = buffer.result(waiting)
        assert [(one.offset, one.record) for one in batch.records] == sent


def test_every_blocked_cursor_wakes_at_the_append(buffer: Buffer) -> None:
    """Three cursors, two of them of one reader, all return the one record."""
    writer, reader = buffer.writer(), buffer.reader()
    cursors = [reader.cursor(ONE), reader.cursor(ONE), buffer.cursor()]
    long_s = TIMEOUTS_OF_PATIENCE * buffer.patience_s
    waiting = [in_background(lambda one=one: buffer.poll(one, timeout_s=long_s)) for one in cursors]  # type: ignore[misc]
    sent = buffer.append(writer)
    for future in waiting:
        assert [(one.offset, one.record) for one in buffer.result(future).records] == sent


def test_a_poll_does_not_wait_for_more_once_it_has_a_record(buffer: Buffer) -> None:
    """A poll for many records with a long timeout returns with the one that is there."""
    sent = buffer.append(buffer.writer())
    cursor = buffer.cursor()
    batch = buffer.bounded(lambda: buffer.poll(cursor, 1000, timeout_s=TIMEOUTS_OF_PATIENCE * buffer.patience_s))
    assert [(one.offset, one.record) for one in batch.records] == sent


def test_a_poll_waits_for_its_timeout(buffer: Buffer) -> None:
    """With nothing appended a poll blocks for its timeout, not less and not for ever, and returns nothing."""
    cursor = buffer.cursor()
    started_s = time.monotonic()
    batch = buffer.bounded(lambda: buffer.poll(cursor, timeout_s=0.2))
    waited_s = time.monotonic() - started_s
    assert list(batch.records) == []
    assert waited_s > 0.15, f"a poll with a timeout of 0.2 s returned nothing after {waited_s:.3f} s: its caller spins"


def test_a_poll_without_timeout_returns_at_once(buffer: Buffer) -> None:
    """timeout_s=0 asks for what is there and waits for nothing."""
    cursor = buffer.cursor()
    assert list(buffer.bounded(lambda: buffer.poll(cursor, timeout_s=0)).records) == []


@pytest.mark.parametrize("timeout_s", [math.inf, 1e300, 1e10, 10**30])
def test_a_poll_may_be_given_any_time(buffer: Buffer, timeout_s: float) -> None:
    """However long, infinite included: it returns what is there at once, wakes at the append, and ends at the close."""
    writer, reader = buffer.writer(), buffer.reader()
    sent = buffer.append(writer)
    cursor = reader.cursor(ONE)
    batch = buffer.bounded(lambda: buffer.poll(cursor, timeout_s=timeout_s))
    assert [(one.offset, one.record) for one in batch.records] == sent
    waiting = in_background(lambda: buffer.poll(cursor, timeout_s=timeout_s))
    sent = buffer.append(writer)
    assert [(one.offset, one.record) for one in buffer.result(waiting).records] == sent
    waiting = in_background(lambda: buffer.poll(cursor, timeout_s=timeout_s))
    reader.close()
    assert isinstance(buffer.error(waiting), Closed)


@pytest.mark.parametrize("timeout_s", [math.nan, None])
def test_a_poll_without_a_number_of_seconds_is_refused(buffer: Buffer, timeout_s: float) -> None:
    """nan and None are InvalidRequest at the call and the cursor stays; a negative timeout is one of 0."""
    cursor = buffer.cursor()
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            cursor.poll(1, 1, timeout_s)
        assert list(buffer.bounded(lambda: buffer.poll(cursor, timeout_s=-1.0)).records) == []
    sent = buffer.append(buffer.writer())
    assert buffer.read(cursor, 1) == sent


@pytest.mark.parametrize("closed", ["reader", "cursor"])
def test_a_poll_that_waits_ends_when_it_is_closed(buffer: Buffer, closed: str) -> None:
    """Closing the reader wakes its blocked polls with Closed; a poll after either was closed raises it at once."""
    reader = buffer.reader()
    cursor = reader.cursor(ONE)
    if closed == "reader":
        waiting = in_background(lambda: cursor.poll(1, 1, TIMEOUTS_OF_PATIENCE * buffer.patience_s))
        reader.close()
        assert isinstance(buffer.error(waiting), Closed)
    else:
        cursor.close()
    with pytest.raises(Closed):
        buffer.bounded(lambda: cursor.poll(1, 1, TIMEOUTS_OF_PATIENCE * buffer.patience_s))
