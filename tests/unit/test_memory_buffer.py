"""What only the memory backend has: capacity, exact trims, acknowledgements held back, determinism."""

import pytest

from common.errors import Forked, Unavailable
from common.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, record
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
    writer, cursor = backend.open_writer(), backend.open_reader().reader(ONE)
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
    """No future hangs; whether the record stands is not known, and a later release does no harm."""
    writer = backend.open_writer()
    backend.hold()
    future = writer.append(ONE, record(0))
    writer.close()
    assert isinstance(error := future.exception(0), Unavailable)
    assert error.written == "unknown"
    backend.release()


def test_a_deleted_buffer_is_forked_to_its_readers(backend: MemoryBackend) -> None:
    """Made again, it has another identity."""
    reader = backend.open_reader()
    cursor, identity = reader.reader(ONE), reader.identity(ONE)
    backend.delete()
    backend.create(1)
    with pytest.raises(Forked):
        cursor.poll(1, 1, 0)
    assert backend.open_reader().identity(ONE) != identity
