"""Dead threads: when the writer's own thread dies, every call says so, and nothing hangs.

Of writers only: a reader here has no thread of its own, its polls run on the thread of whoever calls them and raise
what they meet (proving.py).
"""

from concurrent.futures import Future

import pytest

from common.values.errors import DataCorrupt, Forked, PenstockError
from common.values.ids import Offset
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import record, records
from writebuffer.contract import Appended, Writer
from writebuffer.errors import Closed, WriterDied
from writebuffer.proving import Breakable, HoldsBack
from writebuffer.record import Record

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
    """flush does not wait for records that nobody writes any more, and close returns; calls after it raise Closed."""
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
    """The records before are read, and once the dead writer is closed another one appends after them."""
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
    """Appends that were waiting to become durable all fail too, with `written: unknown`: their records may exist."""
    writer = buffer.writer()
    before = buffer.append(writer, 2)
    buffer.gate.hold()
    sent = records(buffer.next_numbers(10))
    futures = [writer.append(ONE, one) for one in sent]
    buffer.gate.await_held(buffer.patience_s)
    cause = RuntimeError("no memory")
    buffer.breaker.break_writer(writer, cause)
    later = records(buffer.next_numbers(10))
    futures += [writer.append(ONE, one) for one in later]
    buffer.gate.release()
    buffer.settled(futures)
    for future in futures:
        _check(future.exception(), cause)
    under_way = [future.exception() for future in futures[: len(sent)]]
    written = [error.written if isinstance(error, WriterDied) else error for error in under_way]
    assert set(written) == {"unknown"}, (
        f"appends were under way when the thread died: each must fail with written='unknown', got {written}"
    )
    _check_what_exists(buffer, writer, before, dict(zip([*sent, *later], futures, strict=True)))


def _check_what_exists(
    buffer: Buffer, dead: Writer, before: list[tuple[Offset, Record]], futures: "dict[Record, Future[Appended]]"
) -> None:
    buffer.bounded(dead.close)
    buffer.append(buffer.writer())
    found = [one for _, one in buffer.read_all()]
    assert found[:2] == [one for _, one in before]
    existing = [future.exception() for one, future in futures.items() if one in found]
    wrong = [error for error in existing if isinstance(error, WriterDied) and error.written == "no"]
    assert not wrong, f"{len(wrong)} records exist although their appends failed with written='no', such as {wrong[:3]}"


def _check(error: BaseException | None, cause: Exception) -> None:
    if isinstance(cause, DataCorrupt | Forked):
        assert error is cause or type(error) is type(cause), f"expected the cause itself, {cause!r}, got {error!r}"
        return
    assert isinstance(error, WriterDied), f"expected WriterDied, got {error!r}"
    assert error.__cause__ is cause, f"WriterDied must have {cause!r} as its __cause__, got {error.__cause__!r}"
