"""The object store goes away under a running cluster, and comes back, or another comes in its place."""

import http.client
import json
import signal
import time
from pathlib import Path
from typing import Any

from common.store.opening import open_store
from penstock.query.query import query
from tests.support.process_cluster import BUSY, CALM, ProcessCluster
from tests.support.wait import wait_until

SEQUENCERS = 2
ROWS = 250
AWAY_S = 5.0


def write(cluster: ProcessCluster, first: int, table: str = "m") -> int:
    """The status of one write of ROWS rows."""
    lines = "\n".join(f"{table},host=h{n % 7} f={n} {1700000000000000000 + n}" for n in range(first, first + ROWS))
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=40)
    connection.request("POST", "/api/v2/write?bucket=away", lines.encode())
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def values(cluster: ProcessCluster) -> list[int]:
    store = open_store(f"file://{cluster.data}/store")
    rows = query("SELECT f FROM m ORDER BY 1", "away", store, SEQUENCERS, timeout_s=30)
    return [int(value) for value in rows.column("f").to_pylist()]


def answer(cluster: ProcessCluster, name: str, path: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", cluster.http_port(name), timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def states(cluster: ProcessCluster) -> set[str]:
    return {answer(cluster, name, "/status")[1]["state"] for name in cluster.names[1:]}


def persisted(cluster: ProcessCluster) -> bool:
    """Whether nothing is left in memory, and every record is below the replay offset."""
    found = [cluster.get(name, "/status") for name in cluster.names[1:]]
    return all(one["rows_buffered"] == 0 and one["persisted_offset"] == one["next_offset"] for one in found)


def test_a_store_that_comes_back_has_every_acknowledged_row(tmp_path: Path) -> None:
    """Moved away for 5 s in the middle of three writes: nothing is made in its place, the processes say so, and then
    work goes on by itself."""
    with ProcessCluster(tmp_path, SEQUENCERS, BUSY) as cluster:
        store, away = cluster.data / "store", cluster.data / "store.away"
        assert write(cluster, 0) == 204
        store.rename(away)
        assert states(cluster) == {"waiting"}
        assert write(cluster, ROWS) == 204
        assert write(cluster, 0, "another_table") == 503
        for name in cluster.names[1:]:
            status, said = answer(cluster, name, "/ready")
            assert (status, said["status"]) == (503, "waiting")
            assert "the folder is gone" in said["reason"]
        status, said = answer(cluster, "router", "/ready")
        assert status == 200
        assert "the folder is gone" in said["store_away"]
        deadline = time.monotonic() + AWAY_S
        while time.monotonic() < deadline:
            assert not store.exists()
            assert "live" not in states(cluster)
            time.sleep(0.2)
        away.rename(store)
        assert write(cluster, 2 * ROWS) == 204
        wait_until(lambda: states(cluster), holds=lambda seen: seen == {"live"}, timeout_s=30)
        assert values(cluster) == list(range(3 * ROWS))
        wait_until(lambda: persisted(cluster), timeout_s=60, what="every row in files")
        assert values(cluster) == list(range(3 * ROWS))
        cluster.stop()
        cluster.start(*cluster.names)
        assert values(cluster) == list(range(3 * ROWS))
        cluster.stop()


def test_an_ingester_whose_store_was_deleted_says_at_its_end_what_stays_in_the_log(tmp_path: Path) -> None:
    """Exit code 3, at once; nothing is made again, and the rows are read again once the right store is back."""
    with ProcessCluster(tmp_path, SEQUENCERS, CALM) as cluster:
        assert write(cluster, 0) == 204
        wait_until(lambda: sum(cluster.get(name, "/status")["rows_buffered"] for name in cluster.names[1:]) == ROWS)
        (cluster.data / "store").rename(cluster.data / "store.away")
        for name in cluster.names:
            cluster.signal(name, signal.SIGTERM)
        codes = {name: cluster.wait(name, 20) for name in cluster.names}
        assert codes == {"router": 0, "ingester-0": 3, "ingester-1": 3}
        for name in cluster.names[1:]:
            assert "rows left in the log" in cluster.log(name)
        assert not (cluster.data / "store").exists()
        (cluster.data / "store.away").rename(cluster.data / "store")
        cluster.start(*cluster.names)
        assert values(cluster) == list(range(ROWS))
        cluster.stop()
