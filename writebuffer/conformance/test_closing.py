"""Flush and close: after them nothing is pending, and nothing hangs."""

from concurrent.futures import wait

import pytest

from common.errors import InvalidRequest, Unavailable
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import record, records
from writebuffer.errors import Closed
from writebuffer.proving import HoldsBack

SHORT_S = 0.2


def test_after_a_flush_every_future_is_resolved(buffer: Buffer) -> None:
    """Whatever was appended before the call, to any sequencer, singly or many at once."""
    writer = buffer.writer()
    futures = [writer.append(ONE, one) for one in records(range(500))]
    many = writer.append_many(ONE, records(range(500, 600)))
    buffer.bounded(lambda: writer.flush(buffer.patience_s))
    assert many.done(), "flush returned with an append_many still pending"
    assert all(future.done() for future in futures), "flush returned with an append still pending"
    assert len(buffer.read_all()) == 600


def test_a_flush_with_nothing_pending_returns_at_once(buffer: Buffer) -> None:
    """Before the first append and after everything has resolved, also with a timeout of 0."""
    writer = buffer.writer()
    for _ in range(20):
        for timeout_s in (0.0, 2 * buffer.patience_s):
            error = buffer.error(in_background(lambda timeout_s=timeout_s: writer.flush(timeout_s)))  # type: ignore[misc]
            assert error is None, f"flush({timeout_s:g}) with nothing pending raised {error!r}"
        buffer.append(writer, 3)


def test_closing_a_writer_settles_what_is_pending(buffer: Buffer) -> None:
    """After close every future has resolved or failed with Unavailable, and what resolved is read."""
    writer = buffer.writer()
    sent = records(range(200))
    futures = [writer.append(ONE, one) for one in sent]
    buffer.bounded(writer.close)
    buffer.settled(futures)
    errors = [error for future in futures if (error := future.exception())]
    assert all(isinstance(error, Unavailable) for error in errors), f"pending appends failed with {errors[:3]}"
    stand = {(future.result().offset, one) for future, one in zip(futures, sent, strict=True) if not future.exception()}
    assert stand <= set(buffer.read_all()), "what resolved is not read where it was said to stand"


def test_closing_twice_is_fine(buffer: Buffer) -> None:
    """A second close of a writer, reader or cursor does nothing."""
    writer, reader = buffer.writer(), buffer.reader()
    for one in (reader.reader(ONE), reader, writer):
        buffer.bounded(one.close)
        buffer.bounded(one.close)


def test_a_closed_writer_refuses_every_call(buffer: Buffer) -> None:
    """append, append_many and flush raise Closed, an InvalidRequest, at the call; nothing is written."""
    writer = buffer.writer()
    sent = buffer.append(writer)
    writer.close()
    for act in (
        lambda: writer.append(ONE, record(1)),
        lambda: writer.append_many(ONE, [record(2)]),
        lambda: writer.flush(SHORT_S),
    ):
        with pytest.raises(Closed) as raised:
            act()
        assert isinstance(raised.value, InvalidRequest)
    assert buffer.read_all() == sent


def test_a_closed_reader_refuses_every_call(buffer: Buffer) -> None:
    """Its own calls and its cursors' raise Closed; readers opened besides go on."""
    sent = buffer.append(buffer.writer())
    reader = buffer.reader()
    cursor = reader.reader(ONE)
    reader.close()
    for act in (
        lambda: reader.reader(ONE),
        lambda: reader.offsets(ONE),
        lambda: reader.identity(ONE),
        lambda: cursor.poll(1, 1, 0),
        lambda: cursor.seek(sent[0][0]),
    ):
        with pytest.raises(Closed):
            act()
    assert buffer.read_all() == sent


@needs(HoldsBack)
def test_a_flush_gives_up_at_its_timeout(buffer: Buffer) -> None:
    """While nothing becomes durable flush raises Unavailable at its timeout, the append pends, and resolves later."""
    writer = buffer.writer()
    buffer.gate.hold()
    future = writer.append(ONE, record(0))
    error = buffer.error(in_background(lambda: writer.flush(SHORT_S)))
    assert isinstance(error, Unavailable)
    assert not future.done(), "an append whose record is not durable resolved or failed at the timeout of a flush"
    buffer.gate.release()
    offset = buffer.result(future).offset
    buffer.bounded(lambda: writer.flush(buffer.patience_s))
    assert buffer.read_all() == [(offset, record(0))]


@needs(HoldsBack)
def test_no_future_hangs_when_closed_over_what_cannot_become_durable(buffer: Buffer) -> None:
    """Closed while held back, and released: close returns, and each future has resolved or says `written: unknown`."""
    writer = buffer.writer()
    buffer.gate.hold()
    futures = [writer.append(ONE, one) for one in records(range(20))]
    closing = in_background(writer.close)
    wait([closing], SHORT_S)
    buffer.gate.release()
    buffer.result(closing)
    buffer.settled(futures)
    for future in futures:
        error = future.exception()
        assert error is None or (isinstance(error, Unavailable) and error.written == "unknown"), (
            f"a record that may stand failed with {error!r}"
        )
