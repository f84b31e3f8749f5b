"""`penstock replay` of real processes: a file that somebody deleted or altered is named, and its rows come back."""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common.store.opening import open_store
from penstock.query.query import query
from tests.support.process_cluster import BUSY, ProcessCluster
from tests.support.wait import wait_until

ROWS = 200


def write(cluster: ProcessCluster, first: int) -> None:
    lines = "\n".join(f"m,host=h{n % 7} f={n} {1700000000000000000 + n}" for n in range(first, first + ROWS))
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=40)
    connection.request("POST", "/api/v2/write?bucket=b", lines.encode())
    assert connection.getresponse().status == 204
    connection.close()


def values(cluster: ProcessCluster) -> list[int]:
    rows = query("SELECT f FROM m ORDER BY 1", "b", open_store(f"file://{cluster.data}/store"), 1, timeout_s=30)
    return [int(value) for value in rows.column("f").to_pylist()]


def replay(cluster: ProcessCluster, *more: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report."""
    command = [sys.executable, "-m", "penstock", "replay", "--data", str(cluster.data), "--sequencer", "0"]
    done = subprocess.run([*command, "--json", *more], capture_output=True, timeout=60, check=False)
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def persist(cluster: ProcessCluster, first: int) -> None:
    """ROWS rows from `first` on, in a file of their own."""
    write(cluster, first)
    wait_until(lambda: status(cluster)["accounts"]["stored"], holds=lambda rows: rows == first + ROWS)


def status(cluster: ProcessCluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("ingester-0", "/status")
    return found


def files(cluster: ProcessCluster) -> list[Path]:
    return sorted((cluster.data / "store" / "data").rglob("*.parquet"))


def test_a_lost_file_comes_back_beside_a_running_cluster_and_without_one(tmp_path: Path) -> None:
    """The ingester goes on under its epoch; stopped, the sequencer is claimed, and the next ingester goes on."""
    cluster = ProcessCluster(tmp_path, 1, BUSY)
    with cluster:
        for first in (0, ROWS):
            persist(cluster, first)
        expected = list(range(2 * ROWS))
        assert values(cluster) == expected
        lost, altered = files(cluster)
        name = str(lost.relative_to(cluster.data / "store"))
        lost.unlink()
        code, report = replay(cluster, "--from-offset", "0", "--dry-run", "--diff")
        assert (code, report["rows_missing"], report["partitions_different"]) == (5, ROWS, 1)
        assert list(report["files_damaged"]) == [name]
        epoch = status(cluster)["epoch"]
        code, report = replay(cluster, "--from-offset", "0")
        assert (code, report["rows_written"], report["files_removed"]) == (0, ROWS, 1)
        assert values(cluster) == expected
        assert status(cluster)["epoch"] == epoch
        persist(cluster, 2 * ROWS)  # the ingester goes on
        expected += range(2 * ROWS, 3 * ROWS)
        cluster.stop()
    altered.write_bytes(altered.read_bytes()[:-9])
    code, report = replay(cluster, "--from-time", "2020-01-01T00:00:00Z", "--rewrite")
    assert (code, report["partitions_left"]) == (0, 0)
    with cluster:
        assert values(cluster) == expected
        assert status(cluster)["epoch"] > epoch + 1
        code, report = replay(cluster, "--from-offset", "0", "--dry-run", "--diff")
        assert (code, report["partitions_different"], report["rows"]) == (0, 0, 3 * ROWS)
        accounts = status(cluster)["accounts"]
        assert accounts["stored"] + accounts["overwritten"] == 3 * ROWS
        cluster.stop()
