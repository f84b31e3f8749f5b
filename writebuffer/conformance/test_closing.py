"""Flush and close: after them nothing is pending, and nothing hangs."""

import math
from concurrent.futures import wait

import pytest

from common.values.errors import InvalidRequest, Unavailable
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import record, records
from writebuffer.errors import Closed
from writebuffer.proving import HoldsBack

SHORT_S = 0.2
SEQUENCERS_THAT_HANG = 16


def test_after_a_flush_every_future_is_resolved(buffer: Buffer) -> None:
    """All that was appended before the call, to any sequencer, by append or append_many."""
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


@pytest.mark.parametrize("timeout_s", [math.inf, 1e300, 1e10, 10**30])
def test_a_flush_may_be_given_any_time(buffer: Buffer, timeout_s: float) -> None:
    """However long, infinite too: it returns once everything has resolved, and at once where nothing is pending."""
    writer = buffer.writer()
    writer.flush(timeout_s)
    futures = [writer.append(ONE, one) for one in records(range(20))]
    buffer.bounded(lambda: writer.flush(timeout_s))
    assert all(future.done() for future in futures), "flush returned with an append still pending"


@pytest.mark.parametrize("timeout_s", [math.nan, None])
def test_a_flush_without_a_number_of_seconds_is_refused(buffer: Buffer, timeout_s: float) -> None:
    """nan and None are InvalidRequest at the call, with nothing pending too; a negative timeout is one of 0."""
    writer = buffer.writer()
    with pytest.raises(InvalidRequest):
        writer.flush(timeout_s)
    buffer.append(writer)
    writer.flush(-1.0)


def test_closing_a_writer_settles_what_is_pending(buffer: Buffer) -> None:
    """After close every future has resolved or failed with Unavailable, and what resolved is read."""
    writer = buffer.writer()
    sent = records(range(200))
    futures = [writer.append(ONE, one) for one in sent]
    buffer.bounded(writer.close)
    buffer.settled(futures)
    errors = [error for future in futures if (error := future.exception())]
    assert all(isinstance(error, Unavailable) for error in errors), (
        f"pending appends may fail with Unavailable only, got {errors[:3]}"
    )
    done = {(future.result().offset, one) for future, one in zip(futures, sent, strict=True) if not future.exception()}
    missing = done - set(buffer.read_all())
    assert not missing, f"{len(missing)} of {len(done)} records that were acknowledged are not read at their offsets"


def test_closing_twice_is_fine(buffer: Buffer) -> None:
    """A second close of a writer, reader or cursor does nothing."""
    writer, reader = buffer.writer(), buffer.reader()
    for one in (reader.cursor(ONE), reader, writer):
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
    """Its own calls and its cursors' raise Closed; other readers go on."""
    sent = buffer.append(buffer.writer())
    reader = buffer.reader()
    cursor = reader.cursor(ONE)
    reader.close()
    for act in (
        lambda: reader.cursor(ONE),
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
    """While nothing becomes durable flush raises Unavailable at its timeout; the append resolves later."""
    writer = buffer.writer()
    buffer.gate.hold()
    future = writer.append(ONE, record(0))
    error = buffer.error(in_background(lambda: writer.flush(SHORT_S)))
    assert isinstance(error, Unavailable)
    assert not future.done(), (
        "an append ended at the timeout of a flush, while its record is not durable; it must stay pending"
    )
    buffer.gate.release()
    offset = buffer.result(future).offset
    buffer.bounded(lambda: writer.flush(buffer.patience_s))
    assert buffer.read_all() == [(offset, record(0))]


@needs(HoldsBack)
def test_a_flush_of_any_length_ends_when_its_writer_is_closed(buffer: Buffer) -> None:
    """An endless flush of what cannot become durable ends with the close, whichever way its appends end."""
    writer = buffer.writer()
    buffer.gate.hold()
    future = writer.append(ONE, record(0))
    flushing = in_background(lambda: writer.flush(math.inf))
    wait([flushing], SHORT_S)
    assert not flushing.done(), "an endless flush returned while an append was not durable; it must wait for it"
    closing = in_background(writer.close)
    buffer.settled([flushing])
    buffer.gate.release()
    buffer.settled([closing, future])


@needs(HoldsBack)
def test_sequencers_that_hang_hold_a_close_up_once(absent: Buffer) -> None:
    """Closed while 16 sequencers hang, a writer gives up on all of them together, not on one after the other."""
    writer = absent.create(SEQUENCERS_THAT_HANG).writer()
    absent.gate.hold()
    futures = [writer.append(sequencer, record(sequencer)) for sequencer in writer.sequencers()]
    absent.bounded(writer.close)
    absent.settled(futures)
    for future in futures:
        error = future.exception()
        assert isinstance(error, Unavailable), (
            f"expected Unavailable for a record that is not durable yet, got {error!r}"
        )
        assert error.written == "unknown", f"expected written='unknown', got {error!r}: the record may exist"


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
            f"each future must resolve or fail with Unavailable, written='unknown', got {error!r}: the record may exist"
        )
