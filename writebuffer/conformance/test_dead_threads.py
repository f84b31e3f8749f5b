"""Dead threads: when the writer's own thread dies, every call says so, and nothing hangs."""

import pytest

from common.errors import DataCorrupt, Forked, PenstockError
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import record, records
from writebuffer.errors import Closed, WriterDied
from writebuffer.proving import Breakable, HoldsBack

pytestmark = needs(Breakable)


@pytest.mark.parametrize("cause", [RuntimeError("no memory"), DataCorrupt("bad bytes"), Forked("another history")])
def test_pending_and_later_appends_fail_with_the_cause(buffer: Buffer, cause: Exception) -> None:
    """DataCorrupt and Forked fail them as they are; anything else as WriterDied, caused by it."""
    writer = buffer.writer()
    sent = buffer.append(writer, 2)
    buffer.breaker.break_writer(writer, cause)
    pending = [writer.append(ONE, one) for one in records(buffer.next_numbers(20))]
    many = writer.append_many(ONE, records(buffer.next_numbers(3)))
    _check(buffer.error(many), cause)
    pending.append(writer.append(ONE, record(buffer.next_numbers(1)[0])))
    for future in pending:
        _check(buffer.error(future), cause)
    assert buffer.read_all()[:2] == sent


def test_flush_and_close_return(buffer: Buffer) -> None:
    """flush does not wait for what nobody writes any more, close lets go; calls after it raise Closed."""
    writer = buffer.writer()
    cause = RuntimeError("no memory")
    buffer.breaker.break_writer(writer, cause)
    future = writer.append(ONE, record(0))
    _check(buffer.error(future), cause)
    buffer.error(in_background(lambda: writer.flush(buffer.patience_s / 2)))
    buffer.bounded(writer.close)
    with pytest.raises(Closed):
        writer.append(ONE, record(1))


def test_readers_go_on_and_a_new_writer_takes_over(buffer: Buffer) -> None:
    """What stood before is read, and once the dead writer is closed another one appends behind it."""
    writer, cursor = buffer.writer(), buffer.cursor()
    sent = buffer.append(writer, 3)
    buffer.breaker.break_writer(writer, RuntimeError("no memory"))
    assert isinstance(buffer.error(writer.append(ONE, record(1000))), PenstockError)
    assert buffer.read(cursor, 3) == sent
    buffer.bounded(writer.close)
    more = buffer.append(buffer.writer(), 2)
    assert buffer.read_all()[-2:] == more


@needs(HoldsBack)
def test_what_is_under_way_fails_when_the_thread_dies(buffer: Buffer) -> None:
    """Appends that were waiting to become durable fail too, and say that they may stand."""
    writer = buffer.writer()
    buffer.gate.hold()
    futures = [writer.append(ONE, one) for one in records(buffer.next_numbers(10))]
    cause = RuntimeError("no memory")
    buffer.breaker.break_writer(writer, cause)
    futures += [writer.append(ONE, one) for one in records(buffer.next_numbers(10))]
    buffer.gate.release()
    buffer.settled(futures)
    failed = [error for future in futures if (error := future.exception())]
    assert failed, "a writer whose thread was to die resolved everything"
    for error in failed:
        _check(error, cause)
        assert isinstance(error, WriterDied)


def _check(error: BaseException | None, cause: Exception) -> None:
    if isinstance(cause, DataCorrupt | Forked):
        assert error is cause or type(error) is type(cause), f"expected {cause!r}, the cause, got {error!r}"
        return
    assert isinstance(error, WriterDied), f"expected WriterDied, got {error!r}"
    assert error.__cause__ is cause, f"WriterDied must name its cause {cause!r}, it has {error.__cause__!r}"
