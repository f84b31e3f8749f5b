"""The fault-injecting wrappers: each fault does what it says, by its seed, and nothing to what is stored."""

import random
from concurrent.futures import Future
from pathlib import Path
from unittest.mock import Mock

import pytest

import writebuffer.faults
from common.values.clock import FakeClock
from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_all, record
from writebuffer.contract import Backend, Durable, Measurable, SeekableByTime, Trimmable
from writebuffer.errors import OffsetTrimmed
from writebuffer.faults import Faults, FaultyReader, FaultyWriter
from writebuffer.file import FileBackend
from writebuffer.memory import MemoryBackend

ONE = SequencerId(0)


@pytest.fixture
def backend() -> MemoryBackend:
    backend = MemoryBackend()
    backend.create(1)
    return backend


def outcomes(backend: MemoryBackend, faults: Faults, seed: int, count: int = 50) -> list[str]:
    writer = FaultyWriter(backend.open_writer(), random.Random(seed), faults)
    futures = [writer.append(ONE, record(number)) for number in range(count)]
    writer.close()
    errors = [future.exception(0) for future in futures]
    return ["stored" if error is None else error.written for error in errors]


def test_faults_are_reported_as_the_contract_says(backend: MemoryBackend) -> None:
    """Refused records are not there, lost acknowledgements' are, and every future resolves in the end."""
    faults = Faults(refused=0.2, full=0.05, full_appends=3, lost_acknowledgement=0.2, delayed=0.3)
    found = outcomes(backend, faults, seed=1)
    stored = numbers(one for _, one in read_all(backend))
    assert stored == [number for number, outcome in enumerate(found) if outcome != "no"]
    assert set(found) == {"stored", "unknown", "no"}


def test_the_same_seed_gives_the_same_faults(backend: MemoryBackend) -> None:
    """A failing run can be run again."""
    faults = Faults(refused=0.3, lost_acknowledgement=0.3)
    assert outcomes(backend, faults, seed=5) == outcomes(backend, faults, seed=5) != outcomes(backend, faults, seed=6)


def test_a_delayed_acknowledgement_comes_with_the_next(backend: MemoryBackend) -> None:
    """The record is stored and can be read before its future resolves."""
    writer = FaultyWriter(backend.open_writer(), random.Random(0), Faults(delayed=1.0))
    future = writer.append(ONE, record(0))
    assert not future.done()
    assert len(read_all(backend)) == 1
    writer.flush(1)
    assert future.result(0).offset == 0


def test_a_disconnected_poll_leaves_the_cursor_where_it_was(backend: MemoryBackend) -> None:
    """Polling again returns what the failed poll did not."""
    writer = backend.open_writer()
    for number in range(20):
        writer.append(ONE, record(number))
    faults = Faults()
    cursor = FaultyReader(backend.open_reader(), random.Random(3), lambda: faults).cursor(ONE)
    faults = Faults(disconnected=0.5)
    found: list[int] = []
    failed = 0
    while len(found) < 20:
        try:
            found += numbers(one.record for one in cursor.poll(1, 2**20, 0).records)
        except Unavailable:
            failed += 1
    assert found == list(range(20))
    assert failed > 5


@pytest.fixture(params=["memory", "file"])
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    backend = MemoryBackend() if request.param == "memory" else FileBackend(str(tmp_path / "log"))
    backend.create(1)
    return backend


def test_a_full_buffer_refuses_in_runs(backend: MemoryBackend) -> None:
    """Once full it stays so for as many appends as were set, and then accepts them again."""
    found = outcomes(backend, Faults(full=0.1, full_appends=7), seed=4, count=300)
    runs = [len(run) for run in "".join("x" if one == "no" else " " for one in found).split()]
    assert runs
    assert all(run % 7 == 0 for run in runs[:-1])


def test_a_record_sent_twice_is_stored_twice_with_one_sequence(each: Backend) -> None:
    """Every append resolves to where it was written last; two entries say the same producer sequence."""
    writer = FaultyWriter(each.open_writer(), random.Random(2), Faults(sent_twice=0.4))
    futures = [writer.append(ONE, record(number)) for number in range(30)]
    writer.flush(20)
    places = [future.result(0).offset for future in futures]
    writer.close()
    found = read_all(each)
    assert sorted(set(numbers(one for _, one in found))) == list(range(30))
    assert len(found) > 30
    assert {one.headers.producer_sequence: offset for offset, one in found} == dict(enumerate(places))


def test_of_two_sendings_what_is_known_of_both_is_reported(backend: MemoryBackend) -> None:
    """The second finds the buffer full: the record is still stored, and the append resolves."""
    small = MemoryBackend(capacity_bytes=len(record(0)) * 3 // 2)
    small.create(1)
    writer = FaultyWriter(small.open_writer(), random.Random(0), Faults(sent_twice=1.0))
    assert writer.append(ONE, record(0)).result(0).offset == 0
    assert isinstance(error := writer.append(ONE, record(1)).exception(0), Unavailable)
    assert error.written == "no"


def test_a_flush_returns_with_every_acknowledgement(each: Backend) -> None:
    """Delayed ones, too, from every thread that resolves them."""
    writer = FaultyWriter(each.open_writer(), random.Random(1), Faults(delayed=0.5, lost_acknowledgement=0.1))
    for _ in range(20):
        futures = [writer.append(ONE, record(number)) for number in range(20)]
        writer.flush(20)
        assert all(future.done() for future in futures)
    writer.close()


def test_every_question_to_a_disconnected_reader_fails(backend: MemoryBackend) -> None:
    """Those of its optional powers, too."""
    backend.open_writer().append(ONE, record(0))
    faults = Faults(disconnected=1.0)
    reader = FaultyReader(backend.open_reader(), random.Random(0), lambda: faults)
    assert isinstance(reader, Measurable)
    for ask in (reader.offsets, reader.identity, reader.cursor, reader.size):
        with pytest.raises(Unavailable, match="disconnected"):
            ask(ONE)
    faults = Faults()
    assert reader.size(ONE).data_bytes == len(record(0))


def test_a_flush_takes_no_longer_than_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the wrapped writer's flush took is not waited again for acknowledgements."""
    clock = FakeClock()
    waits: list[float] = []
    slow = Mock(spec_set=["append", "flush"])
    slow.append.return_value = Future()
    slow.flush.side_effect = clock.advance

    def wait(futures: list[Future[object]], timeout_s: float) -> Mock:
        waits.append(timeout_s)
        return Mock(not_done=set(futures))

    monkeypatch.setattr(writebuffer.faults, "wait", wait)
    writer = FaultyWriter(slow, random.Random(0), Faults(), clock)
    writer.append(ONE, record(0))
    with pytest.raises(Unavailable, match="1 acknowledgements did not come"):
        writer.flush(5.0)
    assert waits == [0.0]


def test_empty_and_short_polls_lose_and_repeat_nothing(backend: MemoryBackend) -> None:
    """A poll may return nothing or one record although more is there; each batch says where the cursor is."""
    backend.open_writer().append_many(ONE, [record(number) for number in range(40)])
    faults = Faults(empty=0.4, short=0.4, slow=0.2, slow_s=0.0001)
    cursor = FaultyReader(backend.open_reader(), random.Random(7), faults).cursor(ONE)
    cursor.seek(Offset(5))
    found: list[int] = []
    sizes = []
    while len(found) < 35:
        batch = cursor.poll(4, 2**20, 0)
        found += [one.offset for one in batch.records]
        sizes.append(len(batch.records))
        assert batch.next_offset == 5 + len(found)
    assert found == list(range(5, 40))
    assert {0, 1, 4} <= set(sizes)


def test_optional_powers_are_those_of_the_wrapped(each: Backend) -> None:
    """A wrapper is Durable, Trimmable, Measurable or SeekableByTime exactly where what it wraps is, and does it."""
    plain_writer, plain_reader = each.open_writer(), each.open_reader()
    writer = FaultyWriter(plain_writer, random.Random(0), Faults())
    reader = FaultyReader(plain_reader, random.Random(0), Faults())
    cursor = reader.cursor(ONE)
    for wrapper, wrapped in ((writer, plain_writer), (reader, plain_reader), (cursor, plain_reader.cursor(ONE))):
        for power in (Durable, Trimmable, Measurable, SeekableByTime):
            assert isinstance(wrapper, power) == isinstance(wrapped, power)
    for number in range(3):
        writer.append(ONE, record(number)).result(20)
    assert isinstance(reader, Measurable)
    assert reader.size(ONE) == plain_reader.size(ONE)  # type: ignore[attr-defined]
    assert isinstance(cursor, SeekableByTime)
    cursor.seek_to_time(1)
    assert cursor.poll(1, 1, 0).records[0].offset == 1
    assert isinstance(writer, Trimmable)
    if isinstance(each, MemoryBackend):
        assert writer.trim(ONE, Offset(2)) == 2
        with pytest.raises(OffsetTrimmed):
            cursor.seek(Offset(0))
    writer.close()


def test_an_empty_poll_after_a_seek_never_claims_another_place(backend: MemoryBackend) -> None:
    """The cursor's earlier position is forgotten with every kind of seek."""
    backend.open_writer().append_many(ONE, [record(number) for number in range(9)])
    cursor = FaultyReader(backend.open_reader(), random.Random(0), Faults(empty=1.0)).cursor(ONE)
    assert isinstance(cursor, SeekableByTime)
    cursor.poll(3, 2**20, 0)
    for seek, expected in (
        (cursor.seek_to_first, 0),
        (cursor.seek_to_next, 9),
        (lambda: cursor.seek(Offset(4)), 4),
        (lambda: cursor.seek_to_time(7), 7),
    ):
        seek()
        batch = cursor.poll(2, 2**20, 0)
        assert [one.offset for one in batch.records] == list(range(expected, min(expected + 2, 9)))
        assert list(cursor.poll(1, 1, 0).records) == []
