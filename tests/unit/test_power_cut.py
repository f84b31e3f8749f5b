"""A power cut takes back the log's horizon: the ingester waits for the log's writer instead of crying fork."""

from pathlib import Path

import pytest

from common.catalog.manifest.change import Instance
from common.store.opening import open_store
from common.values.errors import Forked, Unavailable
from common.values.ids import SequencerId
from ingester.following.claim import claim
from tests.support.golden_folder import ingest
from tests.support.records import record, row
from writebuffer.connect import connect
from writebuffer.contract import Backend

S0 = SequencerId(0)


def append(backend: Backend, sequence: int) -> None:
    writer = backend.open_writer()
    writer.append(S0, record({"cpu": [row(sequence, f=1.0)]}, sequence=sequence)).result()
    writer.close()


def test_an_unproven_tail_below_the_replay_offset_is_waited_for(tmp_path: Path) -> None:
    """Until the writer has proven the newest batch again, a claim is Unavailable; then it goes on where it was."""
    backend = connect(f"file://{tmp_path}/log")
    backend.create(1)
    store = open_store(f"file://{tmp_path}/store")
    append(backend, 0)
    horizon = tmp_path / "log/000/horizon"
    before = horizon.read_bytes()
    append(backend, 1)
    reader = backend.open_reader()
    ingest(reader, store, 0)
    horizon.write_bytes(before)
    with pytest.raises(Unavailable, match="not yet proven durable"):
        claim(reader, store, S0, Instance("later"), accept_loss=False)
    backend.open_writer().close()
    assert claim(reader, store, S0, Instance("later"), accept_loss=False).state.replay_offset == 2


def test_a_log_that_lacks_persisted_records_is_a_fork(tmp_path: Path) -> None:
    """A log that never held the records below the replay offset is refused, with what to do."""
    backend = connect(f"file://{tmp_path}/log")
    backend.create(1)
    store = open_store(f"file://{tmp_path}/store")
    append(backend, 0)
    reader = backend.open_reader()
    ingest(reader, store, 0)
    reader.close()
    for path in (tmp_path / "log/000").iterdir():
        path.unlink()
    with pytest.raises(Forked, match="Bring the right buffer back"):
        claim(backend.open_reader(), store, S0, Instance("later"), accept_loss=False)
