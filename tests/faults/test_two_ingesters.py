"""Two ingesters on one sequencer: the older one stops in mid-work and goes on after the newer one's claim.

It must find out before it publishes anything, and end; every row is there once.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from common.catalog.manifest import manifest
from common.catalog.manifest.state import ManifestState
from common.store.objects import run
from common.store.opening import open_store
from common.values.ids import SequencerId
from penstock.fsck.finding import Kind
from penstock.terminal.exit_codes import FENCED
from tests.support.campaign import campaign, rounds
from tests.support.figures import record_figure
from tests.support.fsck import deep_findings, hold_clean
from tests.support.killable import POINTS
from tests.support.process_cluster import BUSY, ProcessCluster
from tests.support.wait import wait_until
from tests.support.written import Key, Sent, Values, Writers, check

SEQUENCER = SequencerId(0)
OLDER = "ingester-0"
SEED = 1


def state_of(cluster: ProcessCluster) -> ManifestState:
    return run(manifest.load(SEQUENCER), open_store(f"file://{cluster.data}/store"))


def named_rows(cluster: ProcessCluster) -> Iterator[tuple[Key, Values]]:
    """Those of the files that the manifest names."""
    for file in state_of(cluster).files.values():
        rows = duckdb.sql(
            f"SELECT host, epoch_ns(time), f, i, u, s, b FROM read_parquet('{cluster.data}/store/{file.path}')"
        ).fetchall()
        for host, ns, *values in rows:
            yield Key(file.partition.table, host, ns), tuple(values)


def is_stopped(cluster: ProcessCluster, name: str) -> bool:
    return psutil.Process(cluster.pid(name)).status() == psutil.STATUS_STOPPED


def overtake(folder: Path, seed: int, point: str) -> None:
    """One round: the older one stops at `point` under load, the newer one claims and commits, the older one goes on."""
    sent = Sent(seed)
    with ProcessCluster(folder, 1, BUSY) as cluster:
        with Writers(sent, cluster.port, count=2):
            wait_until(lambda: sent.acknowledged > 10, what="writers make progress")
            cluster.arm(OLDER, f"stop {point}")
            wait_until(lambda: is_stopped(cluster, OLDER), what=f"{OLDER} stopped at {point}")
            newer = cluster.add_newer(OLDER)
            cluster.start(newer)
            claimed = state_of(cluster)
            wait_until(lambda: state_of(cluster), holds=lambda state: state.number > claimed.number + 1)
            cluster.signal(OLDER, signal.SIGCONT)
            assert cluster.wait(OLDER, 30) == FENCED
        assert "is superseded and stops" in cluster.log(OLDER)
        store = open_store(f"file://{cluster.data}/store")
        assert {one.kind for one in deep_findings(store, 1, time.time_ns())} <= {Kind.WAITING, Kind.ORPHAN}
        cluster.names.remove(OLDER)
        cluster.stop()
        assert state_of(cluster).epoch == claimed.epoch
        check(sent, named_rows(cluster), lambda key: 0)
        cluster.start(newer)  # removes what the older one put and nobody named
        cluster.stop()
        hold_clean(store, 1, time.time_ns())
        check(sent, named_rows(cluster), lambda key: 0)


@pytest.mark.parametrize("point", ["persist-synced", "commit-synced"])
def test_the_older_of_two_ingesters_is_fenced_and_ends(tmp_path: Path, point: str) -> None:
    """Stopped in the middle of a persist, and between its commit's bytes and their name: exit code 4, rows once."""
    overtake(tmp_path, SEED, point)


@campaign
@pytest.mark.parametrize("point", [*POINTS["persist"], *POINTS["commit"]])
def test_an_older_ingester_is_fenced_wherever_it_was_stopped(tmp_path: Path, point: str) -> None:
    """The same at every point of a persist and of a commit, with other rows each time."""
    for seed in range(max(1, rounds() // 10)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        overtake(folder, seed, point)
    record_figure(f"older ingester stopped at {point}: {max(1, rounds() // 10)} times fenced")
