"""What only the memory backend has: capacity, retention, latency, acknowledgements held back, determinism."""

import threading
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.values.clock import FakeClock
from common.values.errors import Forked, Misconfigured, Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_all, record, records
from writebuffer.contract import Offsets
from writebuffer.errors import OffsetTrimmed
from writebuffer.memory import MemoryBackend

ONE = SequencerId(0)


@pytest.fixture
def backend() -> MemoryBackend:
    backend = MemoryBackend(capacity_bytes=1000)
    backend.create(1)
    return backend


def test_an_append_resolves_before_the_call_returns(backend: MemoryBackend) -> None:
    """A single-threaded simulation never waits."""
    assert backend.open_writer().append(ONE, record(0)).done()


def test_a_full_sequencer_refuses_until_it_is_trimmed(backend: MemoryBackend) -> None:
    """The capacity counts encoded bytes; a refused record was not written."""
    writer = backend.open_writer()
    fitting = 1000 // len(record(0))
    for number in range(fitting):
        writer.append(ONE, record(number)).result(0)
    with pytest.raises(Unavailable, match="trim it") as refused:
        writer.append(ONE, record(fitting)).result(0)
    assert refused.value.written == "no"
    assert writer.trim(ONE, Offset(1)) == 1
    assert writer.append(ONE, record(fitting)).result(0).offset == fitting


def test_what_is_held_back_is_neither_acknowledged_nor_readable(backend: MemoryBackend) -> None:
    """Released, it resolves in order and is read."""
    writer, cursor = backend.open_writer(), backend.open_reader().cursor(ONE)
    backend.hold()
    futures = [writer.append(ONE, record(number)) for number in range(3)]
    assert not any(future.done() for future in futures)
    assert cursor.poll(10, 2**20, 0).records == []
    assert backend.open_reader().offsets(ONE).next_offset == 0
    with pytest.raises(Unavailable, match="3 appends"):
        writer.flush(0)
    backend.release()
    assert [future.result(0).offset for future in futures] == [0, 1, 2]
    assert numbers(one.record for one in cursor.poll(10, 2**20, 0).records) == [0, 1, 2]


def test_closing_fails_what_is_held_back(backend: MemoryBackend) -> None:
    """No future hangs; whether the record is stored is not known, and a later release does no harm."""
    writer = backend.open_writer()
    backend.hold()
    future = writer.append(ONE, record(0))
    writer.close()
    assert isinstance(error := future.exception(0), Unavailable)
    assert error.written == "unknown"
    backend.release()


def test_what_is_appended_while_others_are_released_comes_after_them(backend: MemoryBackend) -> None:
    """Also from a callback of the first one: nothing acknowledged is unreadable, and the order stays."""
    writer = backend.open_writer()
    backend.hold()
    order: list[int] = []

    def note(future: Any) -> None:
        order.append(future.result().offset)

    first, second = (writer.append(ONE, record(number)) for number in range(2))
    third: list[Any] = []

    def append_another(_: Any) -> None:
        third.append(writer.append(ONE, record(2)))
        third[0].add_done_callback(note)
        assert backend.open_reader().offsets(ONE).next_offset == 3

    first.add_done_callback(note)
    first.add_done_callback(append_another)
    second.add_done_callback(note)
    backend.release()
    assert order == [0, 1, 2]
    assert numbers(one for _, one in read_all(backend)) == [0, 1, 2]


def test_a_release_never_takes_back_what_was_acknowledged_meanwhile() -> None:
    """However appends and releases meet, what a future resolved to can be read at once, and order stays."""
    for _ in range(100):
        backend = retaining()
        writer, reader = backend.open_writer(), backend.open_reader()
        resolved: list[int] = []
        together = threading.Barrier(2)

        def look(future: Any, reader: Any = reader, resolved: list[int] = resolved) -> None:
            assert future.result().offset < reader.offsets(ONE).next_offset
            resolved.append(future.result().offset)

        def release(backend: MemoryBackend = backend, together: threading.Barrier = together) -> None:
            together.wait()
            backend.release()

        backend.hold()
        for number in range(20):
            writer.append(ONE, record(number)).add_done_callback(look)
        thread = threading.Thread(target=release)
        thread.start()
        together.wait()
        for number in range(20, 40):
            writer.append(ONE, record(number)).add_done_callback(look)
        thread.join()
        writer.flush(5)
        assert reader.offsets(ONE).next_offset == 40
        assert resolved == list(range(40))


@pytest.mark.parametrize("latency_s", [0.0, 3.0])
def test_deleting_a_buffer_fails_what_waits_in_it(latency_s: float) -> None:
    """Held back or delayed: no future hangs, and a later release or acknowledgement does no harm."""
    later = Scheduled()
    backend = retaining(latency_s=latency_s, later=later)
    writer = backend.open_writer()
    backend.hold()
    futures: list[Any] = [writer.append(ONE, record(0)), writer.append_many(ONE, records([1, 2]))]
    backend.delete()
    assert all(isinstance(future.exception(0), Forked) for future in futures)
    writer.flush(0)
    backend.release()
    for act in later.waiting:
        act()
    writer.close()


def test_a_buffer_beside_another_follows_the_same_clock_and_driver() -> None:
    """A buffer made `beside` a scheduled one acknowledges when the driver says, without a thread."""
    later = Scheduled()
    backend = MemoryBackend(latency_s=3.0, later=later).beside("x")
    backend.create(1)
    future = backend.open_writer().append(ONE, record(0))
    assert len(later.waiting) == 1
    later.waiting[0]()
    assert future.done()


def test_a_deleted_buffer_is_forked_to_its_readers(backend: MemoryBackend) -> None:
    """Made again, it has another identity."""
    reader = backend.open_reader()
    cursor, identity = reader.cursor(ONE), reader.identity(ONE)
    backend.delete()
    backend.create(1)
    with pytest.raises(Forked):
        cursor.poll(1, 1, 0)
    assert backend.open_reader().identity(ONE) != identity


def retaining(**options: Any) -> MemoryBackend:
    backend = MemoryBackend(**options)
    backend.create(1)
    return backend


def test_a_reader_below_the_retention_gets_an_error_and_goes_on_after_a_seek() -> None:
    """As with a broker that removes by itself: never skipped silently, and offsets are not used again."""
    backend = retaining(retention_records=3)
    writer, cursor = backend.open_writer(), backend.open_reader().cursor(ONE)
    writer.append_many(ONE, records(range(5)))
    with pytest.raises(OffsetTrimmed, match="oldest still readable is 2"):
        cursor.poll(10, 2**20, 0)
    cursor.seek_to_first()
    assert numbers(one.record for one in cursor.poll(10, 2**20, 0).records) == [2, 3, 4]
    assert writer.append(ONE, record(5)).result(0).offset == 5


def test_retention_by_bytes_makes_room_before_the_capacity_refuses() -> None:
    """The oldest go as far as they must; what is kept is never more than asked."""
    size = len(record(0))
    backend = retaining(capacity_bytes=3 * size, retention_bytes=3 * size)
    writer = backend.open_writer()
    for number in range(10):
        assert writer.append(ONE, record(number)).result(0).offset == number
    assert [offset for offset, _ in read_all(backend)] == [7, 8, 9]
    assert backend.open_reader().size(ONE).data_bytes == 3 * size


def test_retention_by_age_counts_from_the_append_time() -> None:
    """What is older than retention_s is gone at the next look, without any append."""
    clock = FakeClock(0)
    backend = retaining(retention_s=10.0, clock=clock)
    writer, reader = backend.open_writer(), backend.open_reader()
    writer.append_many(ONE, [record(0, time_ns=0), record(1, time_ns=5 * 10**9)])
    clock.advance(10)
    assert reader.offsets(ONE).first_offset == 0
    clock.advance(1)
    assert reader.offsets(ONE).first_offset == 1
    clock.advance(10)
    assert reader.offsets(ONE) == Offsets(Offset(2), Offset(2))


def test_without_a_trim_nothing_is_ever_removed() -> None:
    """Retention is off by default."""
    backend = retaining()
    backend.open_writer().append_many(ONE, records(range(5000)))
    assert len(read_all(backend)) == 5000


@given(st.lists(st.tuples(st.sampled_from(["append", "trim"]), st.integers(1, 9)), max_size=40))
def test_after_any_trim_the_rest_is_at_its_offsets(steps: list[tuple[str, int]]) -> None:
    """Removing a little often or much at once leaves exactly the records from the first offset on."""
    backend = retaining()
    writer, first, following = backend.open_writer(), 0, 0
    for step, count in steps:
        if step == "append":
            writer.append_many(ONE, records(range(following, following + count)))
            following += count
        else:
            first = min(first + count, following)
            assert writer.trim(ONE, Offset(first)) == first
        assert [(offset, *numbers([one])) for offset, one in read_all(backend)] == [
            (number, number) for number in range(first, following)
        ]
        assert backend.open_reader().size(ONE).data_bytes == sum(map(len, records(range(first, following))))


class Scheduled:
    """A `Later` that waits until the test releases it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, delay_s: float, act: Callable[[], None]) -> None:
        assert delay_s == 3.0
        self.waiting.append(act)


def test_with_latency_an_append_is_acknowledged_and_read_only_later() -> None:
    """A driver with a clock of its own says when; order is kept, and no thread is involved."""
    later = Scheduled()
    backend = retaining(latency_s=3.0, later=later)
    writer = backend.open_writer()
    futures = [writer.append(ONE, record(number)) for number in range(3)]
    assert [future.done() for future in futures] == [False] * 3
    later.waiting[1]()
    assert [future.done() for future in futures] == [True, True, False]
    assert numbers(one for _, one in read_all(backend)) == [0, 1]
    later.waiting[0]()
    later.waiting[2]()
    assert [future.result(0).offset for future in futures] == [0, 1, 2]


def test_what_is_held_back_outlasts_its_latency() -> None:
    """Its delay being over acknowledges nothing; the release does."""
    later = Scheduled()
    backend = retaining(latency_s=3.0, later=later)
    backend.hold()
    future = backend.open_writer().append(ONE, record(0))
    later.waiting[0]()
    assert not future.done()
    backend.release()
    assert future.result(0).offset == 0


def test_latency_passes_by_itself() -> None:
    """Without a driver a thread acknowledges; a flush waits for it, a close does not have to."""
    backend = retaining(latency_s=0.01)
    writer = backend.open_writer()
    futures = [writer.append(ONE, record(number)) for number in range(100)]
    writer.flush(10)
    assert [future.result(0).offset for future in futures] == list(range(100))
    slow = retaining(latency_s=3000.0).open_writer()
    last = slow.append(ONE, record(0))
    slow.close()
    assert not wait([last], 0).not_done


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity_bytes": 0}, "capacity_bytes is 0: give more than 0"),
        ({"retention_s": -1.0}, "retention_s is -1.0: give more than 0"),
        ({"latency_s": -1.0}, "latency_s is -1.0: give 0 to 3600"),
        ({"latency_s": float("nan")}, "latency_s is nan"),
        ({"capacity_bytes": 5, "retention_bytes": 6}, "retention_bytes 6 is over capacity_bytes 5"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    """With what to change."""
    with pytest.raises(Misconfigured, match=message):
        MemoryBackend(**options)
