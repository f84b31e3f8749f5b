"""Several writers and readers at once: each writer's order is kept, every reader sees the same sequence."""

from contextlib import suppress

from common.values.ids import Offset
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer, numbers, offsets
from writebuffer.conformance.samples import record
from writebuffer.contract import Writer
from writebuffer.errors import HeldByAnother
from writebuffer.record import Record

THREADS = 4
EACH = 100


def test_each_threads_appends_keep_their_order(buffer: Buffer) -> None:
    """Threads share a writer without losing a record; those of each thread are read in the order of its calls."""
    _append_from_threads(buffer, [buffer.writer()] * THREADS)


def test_each_writers_appends_keep_their_order(buffer: Buffer) -> None:
    """With two writers, or one where a backend allows one, the records of each are read in order; none is lost."""
    writers = [buffer.writer()]
    with suppress(HeldByAnother):  # one at a time is a rule a backend may have; then the first goes on undisturbed
        writers.append(buffer.writer())
    _append_from_threads(buffer, writers)


def test_readers_that_follow_while_threads_write_see_the_same_sequence(buffer: Buffer) -> None:
    """Two cursors that read all the while return the same records at the same offsets, without a gap or a repeat."""
    writer = buffer.writer()
    cursors = [buffer.cursor(), buffer.cursor()]
    following = [in_background(lambda one=one: buffer.read(one, THREADS * EACH, 7)) for one in cursors]  # type: ignore[misc]
    _append_all(buffer, [writer] * THREADS)
    one, other = (buffer.result(future) for future in following)
    assert one == other, "two readers saw different sequences"
    assert one == buffer.read_all()
    assert sorted(numbers(one)) == list(range(THREADS * EACH)), (
        "not every record was read exactly once: some are missing or occur twice"
    )


def _append_from_threads(buffer: Buffer, writers: list[Writer]) -> None:
    sent = _append_all(buffer, writers)
    found = buffer.read_all()
    assert sorted(numbers(found)) == list(range(EACH * len(writers))), (
        "not every record was read exactly once: some are missing or occur twice"
    )
    for mine in sent:
        assert offsets(mine) == sorted(offsets(mine)), "the offsets of one thread's appends do not grow call by call"
        assert [one for one in found if one in mine] == mine, "the appends of one thread were read in another order"


def _append_all(buffer: Buffer, writers: list[Writer]) -> list[list[tuple[Offset, Record]]]:
    def append(writer: Writer, start: int) -> list[tuple[Offset, Record]]:
        sent = [record(number) for number in range(start, start + EACH)]
        futures = [writer.append(ONE, one) for one in sent]
        return [(buffer.result(future).offset, one) for future, one in zip(futures, sent, strict=True)]

    acting = [in_background(lambda w=w, n=n: append(w, n * EACH)) for n, w in enumerate(writers)]  # type: ignore[misc]
    return [buffer.result(future) for future in acting]
