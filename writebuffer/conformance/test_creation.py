"""Creation: opening creates nothing, and many creators at once create one buffer."""

import threading

import pytest

from common.values.errors import InvalidRequest, Misconfigured
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.errors import BufferNotFound, SequencersDiffer


def test_opening_what_does_not_exist_says_how_to_make_it(absent: Buffer) -> None:
    """Writer and reader raise BufferNotFound, whose message names `create`; a second time too: neither created it."""
    for _ in range(2):
        for open_one in (absent.writer, absent.reader):
            with pytest.raises(BufferNotFound, match="create") as raised:
                open_one()
            assert isinstance(raised.value, InvalidRequest)


def test_ten_creators_at_once_make_one_buffer(absent: Buffer) -> None:
    """All ten succeed, and all see the same identities and write to and read from the same streams."""
    start = threading.Barrier(10)

    def create() -> list[str]:
        backend = absent.again()
        start.wait(absent.patience_s)
        backend.create(2)
        reader = absent.reader(backend)
        return [reader.identity(sequencer) for sequencer in reader.sequencers()]

    creating = [in_background(create) for _ in range(10)]
    found = [absent.result(one) for one in creating]
    assert all(one == found[0] for one in found), (
        f"ten creators at once must create one buffer, but their readers see different identities: {found}"
    )
    sent = absent.append(absent.writer(), 3)
    assert absent.read_all() == sent


def test_creating_with_the_same_number_again_is_fine(buffer: Buffer) -> None:
    """So that every process may create at its start."""
    sent = buffer.append(buffer.writer(), 2)
    buffer.again().create(1)
    assert buffer.read_all() == sent


def test_creating_with_another_number_is_refused(absent: Buffer) -> None:
    """SequencersDiffer names both numbers; the buffer and its records stay as they were."""
    absent.create(2)
    sent = absent.append(absent.writer(), 2)
    for asked in (1, 3):
        with pytest.raises(SequencersDiffer) as raised:
            absent.again().create(asked)
        assert (raised.value.sequencers, raised.value.asked) == (2, asked)
        assert isinstance(raised.value, Misconfigured)
    assert list(absent.reader(absent.again()).sequencers()) == [0, 1]
    assert absent.read_all() == sent


@pytest.mark.parametrize("sequencers", [0, -1])
def test_a_buffer_without_sequencers_is_refused(absent: Buffer, sequencers: int) -> None:
    """Nothing is made."""
    with pytest.raises((InvalidRequest, Misconfigured)):
        absent.create(sequencers)
    with pytest.raises(BufferNotFound):
        absent.reader()


def test_deleting_leaves_nothing_to_open(buffer: Buffer) -> None:
    """After `delete` opening raises BufferNotFound, deleting again is fine, and it can be created again, empty."""
    writer = buffer.writer()
    buffer.append(writer, 3)
    writer.close()
    for _ in range(2):
        buffer.backend.delete()
    with pytest.raises(BufferNotFound):
        buffer.reader()
    buffer.create()
    assert buffer.reader().offsets(ONE).next_offset == 0
    assert buffer.read_all() == []
