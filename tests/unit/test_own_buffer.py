"""A cluster writes into the write buffer that its store was filled from, and into no other."""

from contextlib import closing
from pathlib import Path

import pytest

from common.catalog.manifest.change import Instance
from common.store.objects import ObjectStore
from common.store.opening import open_store
from common.values.errors import Forked, Unavailable
from common.values.ids import Offset, SequencerId
from ingester.following.claim import claim
from tests.support.dict_store import DictStore
from tests.support.golden_folder import ingest
from tests.support.records import record, row
from writebuffer import own_buffer
from writebuffer.connect import connect
from writebuffer.contract import Backend
from writebuffer.errors import BufferNotFound, SequencersDiffer
from writebuffer.memory import MemoryBackend
from writebuffer.own_buffer import followed_streams, make_or_compare, open_own_writer
from writebuffer.same_stream import find_stream

SEQUENCERS = 2


def filled(folder: Path) -> tuple[Backend, ObjectStore]:
    """A file buffer with two records in each sequencer, and a store in which they are persisted."""
    backend, store = connect(f"file://{folder}/log"), open_store(f"file://{folder}/store")
    backend.create(SEQUENCERS)
    append(backend, 2)
    with closing(backend.open_reader()) as reader:
        for sequencer in range(SEQUENCERS):
            ingest(reader, store, sequencer)
    return backend, store


def append(backend: Backend, count: int) -> None:
    writer = backend.open_writer()
    for sequencer in range(SEQUENCERS):
        for number in range(count):
            made = record({"cpu": [row(number, f=float(count))]}, sequence=number)
            writer.append(SequencerId(sequencer), made).result()
    writer.close()


def founded() -> tuple[MemoryBackend, DictStore]:
    """A buffer, and a store whose second sequencer was claimed on it; the first ingester never came up."""
    backend, store = MemoryBackend(), DictStore()
    make_or_compare(backend, SEQUENCERS, followed_streams(store, SEQUENCERS))
    claim(backend.open_reader(), store, SequencerId(1), Instance("ingester"), False)
    return backend, store


def test_the_first_start_makes_the_buffer_and_later_ones_accept_it() -> None:
    """What is in the store afterwards is the identity that the claim saw."""
    backend, store = founded()
    with closing(backend.open_reader()) as reader:
        followed = followed_streams(store, SEQUENCERS)
        assert {sequencer: known.stream.identity for sequencer, known in followed.items()} == {
            SequencerId(1): reader.identity(SequencerId(1))
        }
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


def test_without_the_store_no_buffer_is_opened() -> None:
    """Whether it is the right one is not known then; and a router that starts needs the store for every table."""
    backend, store = founded()
    store.fail_reads()
    with pytest.raises(Unavailable):
        open_own_writer(backend, SEQUENCERS, followed_streams(store, SEQUENCERS))


def test_another_number_of_sequencers_is_said() -> None:
    """Also where the streams that were followed are the right ones."""
    backend, store = founded()
    with pytest.raises(SequencersDiffer):
        make_or_compare(backend, SEQUENCERS + 1, followed_streams(store, SEQUENCERS + 1))


def test_a_buffer_that_holds_what_was_persisted_is_opened(tmp_path: Path) -> None:
    """The writer goes on where the log ends."""
    backend, store = filled(tmp_path)
    writer = open_own_writer(backend, SEQUENCERS, followed_streams(store, SEQUENCERS))
    appended = writer.append(SequencerId(1), record({"cpu": [row(3, f=1.0)]}, sequence=2)).result()
    assert appended.offset == 2
    writer.close()


def test_a_sequencer_whose_log_is_gone_is_not_made_again(tmp_path: Path) -> None:
    """Its records would get offsets below those that its ingester asks for; the folder stays free for the right one."""
    backend, store = filled(tmp_path)
    (tmp_path / "log" / "001").rename(tmp_path / "away")
    followed = followed_streams(store, SEQUENCERS)
    with pytest.raises(Forked, match="sequencer 1: its next offset is 0, the stream was followed up to 2"):
        open_own_writer(backend, SEQUENCERS, followed)
    assert not (tmp_path / "log" / "001").exists()
    (tmp_path / "away").rename(tmp_path / "log" / "001")
    open_own_writer(backend, SEQUENCERS, followed).close()


def test_a_log_that_was_filled_again_is_refused(tmp_path: Path) -> None:
    """As long as the one that was followed, or longer, and with its identity: the last record is another one."""
    backend, store = filled(tmp_path)
    for path in (tmp_path / "log").glob("*/*"):
        path.unlink()
    append(backend, 3)
    with pytest.raises(Forked, match="sequencer 0: the record at 1 is another one than was read there"):
        open_own_writer(backend, SEQUENCERS, followed_streams(store, SEQUENCERS))


def test_a_log_whose_end_is_proven_by_its_writer_alone_is_opened(tmp_path: Path) -> None:
    """After a power cut the last records count once the log was opened for writing: that is not waited for here."""
    backend, store = filled(tmp_path)
    horizon = tmp_path / "log" / "000" / "horizon"
    horizon.unlink()
    followed = followed_streams(store, SEQUENCERS)
    with closing(backend.open_reader()) as reader, pytest.raises(Unavailable, match="not yet proven durable"):
        find_stream(reader, SequencerId(0), followed[SequencerId(0)].stream, Offset(2))
    open_own_writer(backend, SEQUENCERS, followed).close()


def test_a_refused_writer_leaves_the_lock_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found only once the log is open closes it again: the next try must not meet its own lock."""
    backend, store = filled(tmp_path)
    followed = followed_streams(store, SEQUENCERS)
    found = iter([None, None, "it is another one"])
    monkeypatch.setattr(own_buffer, "difference", lambda *_: next(found))
    with pytest.raises(Forked, match="it is another one"):
        open_own_writer(backend, SEQUENCERS, followed)
    monkeypatch.undo()
    open_own_writer(backend, SEQUENCERS, followed).close()
