"""A cluster writes into the write buffer that its store was filled from, and into no other."""

from contextlib import closing

import pytest

from common.errors import Forked, Unavailable
from common.ids import SequencerId
from ingester.persist.manifest_state import Instance
from ingester.start import claim
from tests.support.dict_store import DictStore
from writebuffer.errors import BufferNotFound, SequencersDiffer
from writebuffer.memory import MemoryBackend
from writebuffer.own_buffer import followed_streams, make_or_compare

SEQUENCERS = 2


def founded() -> tuple[MemoryBackend, DictStore]:
    """A buffer, and a store whose second sequencer was claimed upon it; the first ingester never came up."""
    backend, store = MemoryBackend(), DictStore()
    make_or_compare(backend, SEQUENCERS, followed_streams(store, SEQUENCERS))
    claim(backend.open_reader(), store, SequencerId(1), Instance("ingester"), False)
    return backend, store


def test_the_first_start_makes_the_buffer_and_later_ones_accept_it() -> None:
    """What stands in the store afterwards is the identity that the claim saw."""
    backend, store = founded()
    with closing(backend.open_reader()) as reader:
        assert followed_streams(store, SEQUENCERS) == {SequencerId(1): reader.identity(SequencerId(1))}
    make_or_compare(backend, SEQUENCERS, followed_streams(store, SEQUENCERS))


def test_another_buffer_is_refused() -> None:
    """One of another cluster, with the same number of sequencers: nothing of it may be written."""
    _, store = founded()
    other = MemoryBackend()
    other.create(SEQUENCERS)
    with pytest.raises(Forked, match="is not the write buffer this store was filled from: sequencer 1"):
        make_or_compare(other, SEQUENCERS, followed_streams(store, SEQUENCERS))


def test_a_buffer_that_is_gone_is_not_made_again() -> None:
    """A new one would take writes that no ingester of this store follows."""
    backend, store = founded()
    backend.delete()
    with pytest.raises(Forked, match="there is no write buffer, but this store was filled from one"):
        make_or_compare(backend, SEQUENCERS, followed_streams(store, SEQUENCERS))
    with pytest.raises(BufferNotFound):
        backend.open_reader()


def test_without_the_store_a_buffer_is_taken_as_it_is_but_none_is_made() -> None:
    """A router that starts while the store is away goes on with the buffer; where there is none it waits."""
    backend = MemoryBackend()
    with pytest.raises(Unavailable, match="the store, which knows whether there was one"):
        make_or_compare(backend, SEQUENCERS, None)
    backend.create(SEQUENCERS)
    make_or_compare(backend, SEQUENCERS, None)


def test_another_number_of_sequencers_is_said() -> None:
    """Also where the streams that were followed are the right ones."""
    backend, store = founded()
    with pytest.raises(SequencersDiffer):
        make_or_compare(backend, SEQUENCERS + 1, followed_streams(store, SEQUENCERS + 1))
