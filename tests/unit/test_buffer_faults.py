"""The fault-injecting wrappers: each fault does what it says, by its seed, and nothing to what is stored."""

import random

import pytest

from common.errors import Unavailable
from common.ids import SequencerId
from tests.support.buffer_records import numbers, read_all, record
from writebuffer.faults import Faults, FaultyReader, FaultyWriter
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
    return ["stands" if error is None else error.written for error in errors]


def test_faults_are_told_as_the_contract_says(backend: MemoryBackend) -> None:
    """Refused records are not there, lost acknowledgements' are, and every future resolves in the end."""
    found = outcomes(backend, Faults(refused=0.2, lost_acknowledgement=0.2, delayed=0.3), seed=1)
    stored = numbers(one for _, one in read_all(backend))
    assert stored == [number for number, outcome in enumerate(found) if outcome != "no"]
    assert set(found) == {"stands", "unknown", "no"}


def test_the_same_seed_gives_the_same_faults(backend: MemoryBackend) -> None:
    """A failing run can be run again."""
    faults = Faults(refused=0.3, lost_acknowledgement=0.3)
    assert outcomes(backend, faults, seed=5) == outcomes(backend, faults, seed=5) != outcomes(backend, faults, seed=6)


def test_a_delayed_acknowledgement_comes_with_the_next(backend: MemoryBackend) -> None:
    """The record stands and can be read before its future resolves."""
    writer = FaultyWriter(backend.open_writer(), random.Random(0), Faults(delayed=1.0))
    future = writer.append(ONE, record(0))
    assert not future.done()
    assert len(read_all(backend)) == 1
    writer.flush(1)
    assert future.result(0).offset == 0


def test_a_disconnected_poll_leaves_the_cursor_where_it_stood(backend: MemoryBackend) -> None:
    """Polling again returns what the failed poll did not."""
    writer = backend.open_writer()
    for number in range(20):
        writer.append(ONE, record(number))
    cursor = FaultyReader(backend.open_reader(), random.Random(3), Faults(disconnected=0.5)).reader(ONE)
    found: list[int] = []
    failed = 0
    while len(found) < 20:
        try:
            found += numbers(one.record for one in cursor.poll(1, 2**20, 0).records)
        except Unavailable:
            failed += 1
    assert found == list(range(20))
    assert failed > 5
