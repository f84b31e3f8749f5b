"""A record that kills every process that applies it: it becomes a dead letter, and the stream goes on."""

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path

from common.store.opening import open_store
from penstock.query.query import query
from tests.support.process_cluster import BUSY, ProcessCluster
from tests.support.wait import wait_until


def write(cluster: ProcessCluster, lines: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=40)
    connection.request("POST", "/api/v2/write?bucket=b", lines.encode())
    assert connection.getresponse().status == 204
    connection.close()


def killable(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A command of the same build: one that looked at the record would be killed."""
    command = [sys.executable, "-m", "tests.support.killable", *arguments]
    environment = {**os.environ, "KILL_TABLE": "poison", "KILL_ARM": "/nonexistent"}
    return subprocess.run(command, capture_output=True, timeout=60, check=False, env=environment)


def test_a_record_that_kills_three_times_is_put_aside(tmp_path: Path) -> None:
    """What was acknowledged before and after it is all there; fsck balances; a restart does not read it again."""
    cluster = ProcessCluster(tmp_path, 1, BUSY)
    cluster.environment = {"KILL_TABLE": "poison"}
    with cluster:
        write(cluster, "m,host=a v=1 1700000000000000001")
        write(cluster, "poison,host=a v=1 1700000000000000001")
        write(cluster, "m,host=a v=3 1700000000000000003")
        for death in range(3):
            wait_until(lambda: cluster.died("ingester-0", 0.1), what=f"death {death}")
            cluster.spawn("ingester-0")
        cluster.wait_ready("ingester-0")
        store = open_store(f"file://{cluster.data}/store")
        rows = query("SELECT v FROM m ORDER BY time", "b", store, 1, timeout_s=30)
        assert rows.column("v").to_pylist() == [1.0, 3.0]
        listed = subprocess.run(
            [sys.executable, "-m", "penstock", "dead-letter", "list", "--data", str(cluster.data), "--json"],
            capture_output=True,
            check=True,
            timeout=60,
        )
        (letter,) = json.loads(listed.stdout)
        assert letter["reason"] == "a process that applied it alone was ended by signal 9"
        cluster.stop()
    with cluster:
        write(cluster, "m,host=a v=4 1700000000000000004")
        assert query("SELECT v FROM m", "b", store, 1, timeout_s=30).num_rows == 3
        cluster.stop()
    tried = killable("dead-letter", "redrive", "--data", str(cluster.data))
    assert (tried.returncode, b"ended by signal 9" in tried.stdout) == (1, True), tried.stderr
    fsck = [sys.executable, "-m", "penstock", "fsck", "--data", str(cluster.data), "--deep"]
    done = subprocess.run(fsck, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
