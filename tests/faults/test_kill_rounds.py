"""SIGKILL at any time, many times: nothing acknowledged is lost, nothing is stored twice, no batch is torn.

Writers send and never repeat; each round kills the router, one of its workers, an ingester or the server of the write
buffer, most rounds at a chosen point inside an append, a persist or a commit; what is persisted is trimmed at once.
Then everything is read back, through SQL over files and memory, and by plain DuckDB over the files, and fsck finds the
store clean and the accounts in balance, beside the live cluster and after its stop. Run one seed alone:
PENSTOCK_KILL_SEED=17 make test TESTS=tests/faults/test_kill_rounds.py
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from common.store.opening import open_store
from penstock.query.query import query
from router.parsing.partition import sequencer_of, series_hash
from tests.support.campaign import campaign, rounds
from tests.support.figures import record_figure
from tests.support.fsck import hold_clean
from tests.support.killable import POINTS
from tests.support.process_cluster import ProcessCluster
from tests.support.services import Server, killable_server
from tests.support.wait import wait_until
from tests.support.written import NAMESPACE, TABLES, Key, Sent, Values, Writers, check

ROUNDS = 20
SERVER_ROUNDS = 4
"""Over Redis and over Kafka. The campaign goes on from both."""
LONG_ROUNDS = 50
SEED = int(os.environ.get("PENSTOCK_KILL_SEED", "1"))
SELECT = 'SELECT host, epoch_ns(time) AS ns, f, i, u, s, b FROM "{table}"'


def sequencer(key: Key) -> int:
    return sequencer_of(series_hash(NAMESPACE, key.table, (("host", key.host),)), 4)


def by_query(cluster: ProcessCluster, sent: Sent) -> Iterator[tuple[Key, Values]]:
    store = open_store(f"file://{cluster.data}/store")
    for table in TABLES:
        rows = query(SELECT.format(table=table), NAMESPACE, store, 4, token=sent.token, timeout_s=60)
        for row in rows.to_pylist():
            yield Key(table, row["host"], row["ns"]), (row["f"], row["i"], row["u"], row["s"], row["b"])


def by_plain_duckdb(cluster: ProcessCluster) -> Iterator[tuple[Key, Values]]:
    from common.catalog.paths import path_component

    for table in TABLES:
        files = f"{cluster.data}/store/data/{NAMESPACE}/{path_component(table)}/*/*.parquet"
        rows = duckdb.sql(f"SELECT host, epoch_ns(time), f, i, u, s, b FROM read_parquet('{files}')").fetchall()
        for host, ns, *values in rows:
            yield Key(table, host, ns), tuple(values)


def kill_one(cluster: ProcessCluster, rng: random.Random, sent: Sent, server: Server | None) -> str:
    """One round: end one process, at a point of its work or at a random moment, and start it again."""
    before = sent.acknowledged
    wait_until(
        lambda: (sent.acknowledged, sent.last_503, cluster.ended()),
        holds=lambda seen: seen[0] > before + 3,
        timeout_s=60,
        what=f"writers make progress from {before}",
    )
    if server is not None and rng.random() < 0.25:
        server.kill()
        server.start()
        return "the write buffer's server"
    if rng.random() < 0.15:
        os.kill(rng.choice(cluster.workers()), signal.SIGKILL)
        return "a router's worker"
    name = "router" if rng.random() < 0.4 else rng.choice(cluster.names[1:])
    what = "append" if name == "router" else rng.choice(["persist", "commit"])
    on_disk = what != "append" or server is None
    point = rng.choice(POINTS[what]) if on_disk and rng.random() < 0.7 else ""
    if point:
        cluster.arm(name, point)
    if not point or not cluster.died(name, timeout_s=5):
        cluster.kill(name)
        point = ""
    cluster.start(name)
    return f"{name} at {point or 'a random moment'}"


def run_rounds(folder: Path, seed: int, count: int, server: Server | None = None) -> list[str]:
    """Rounds of killing under load, then the check, twice; the points hit. Raises AssertionError with the seed.

    server: of the write buffer; without one it is the log in the data folder.
    """
    rng = random.Random(seed)
    sent = Sent(seed)
    cluster = ProcessCluster(folder, write_buffer=server.buffer_url if server else "")
    with cluster:
        with Writers(sent, cluster.port, count=3):
            for _ in range(count):
                kill_one(cluster, rng, sent, server)
        assert sent.acknowledged > count
        check(sent, by_query(cluster, sent), sequencer)
        store = open_store(f"file://{cluster.data}/store")
        hold_clean(store, cluster.sequencers, time.time_ns())
        cluster.stop()
        check(sent, by_plain_duckdb(cluster), sequencer)
        stopped = hold_clean(store, cluster.sequencers, time.time_ns())
        assert [report.state and report.state.rows_ahead for report in stopped] == [0] * cluster.sequencers
        return cluster.hits()


@pytest.mark.timeout(420)
def test_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Acknowledged rows are read back exactly once with their values; other batches are whole or absent."""
    hits = run_rounds(tmp_path, SEED, ROUNDS)
    counts = ", ".join(f"{point} {hits.count(point)}" for point in sorted(set(hits)))
    record_figure(f"whole cluster on file, seed {SEED}: {ROUNDS} kills, {len(hits)} inside the work: {counts}")
    assert len(hits) >= ROUNDS / 3
    assert {point.split("-")[0] for point in hits} == {"append", "persist", "commit"}


def test_the_checker_fails_on_a_build_that_acknowledges_before_it_writes(tmp_path: Path) -> None:
    """With acknowledgements given before a byte is written, a kill in an append loses rows; the check says so."""
    sent = Sent(SEED)
    cluster = ProcessCluster(tmp_path)
    cluster.environment = {"KILL_BREAK": "ack-before-write"}
    with cluster:
        with Writers(sent, cluster.port, count=3):
            wait_until(lambda: sent.acknowledged > 20, what="writers make progress")
            cluster.arm("router", "append-before")
            assert cluster.died("router", timeout_s=20)
        sent.token.clear()  # the broken build's offsets mean nothing
        cluster.start("router")
        cluster.stop()
        with pytest.raises(AssertionError, match=r"lost .* of acknowledged batch"):
            check(sent, by_plain_duckdb(cluster), sequencer)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["redis", "kafka"])
def test_kills_over_a_server_lose_nothing_and_double_nothing(name: str, tmp_path: Path) -> None:
    """The same over Redis and Kafka, whose server is killed too."""
    with killable_server(name, tmp_path) as server:
        hits = run_rounds(tmp_path, SEED, SERVER_ROUNDS, server)
    record_figure(f"whole cluster on {name}, seed {SEED}: {SERVER_ROUNDS} kills, {len(hits)} inside the work")


@campaign
@pytest.mark.parametrize("name", ["redis", "kafka"])
def test_many_kills_over_a_server_lose_nothing(name: str, tmp_path: Path) -> None:
    """The same at length."""
    with killable_server(name, tmp_path) as server:
        hits = run_rounds(tmp_path, SEED + 1, rounds(), server)
    record_figure(f"whole cluster on {name}, seed {SEED + 1}: {rounds()} kills, {len(hits)} inside the work")


@campaign
def test_many_seeds_of_kills_lose_nothing(tmp_path: Path) -> None:
    """The same with other seeds and at length."""
    for seed in range(100, 100 + max(1, rounds() // 10)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        hits = run_rounds(folder, seed, LONG_ROUNDS)
        record_figure(f"whole cluster on file, seed {seed}: {LONG_ROUNDS} kills, {len(hits)} inside the work")
