"""A log is damaged or lost, or the whole buffer: nobody writes where nobody reads, and there is a way to continue."""

import http.client
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common.catalog.manifest import manifest
from common.store.objects import run
from common.store.opening import open_store
from common.values.ids import SequencerId
from penstock.query.query import query
from tests.support.process_cluster import CALM, ProcessCluster
from tests.support.wait import wait_until

SEQUENCERS = 2
ROWS = 20
ONE = SequencerId(1)


def write(cluster: ProcessCluster, first: int) -> tuple[int, str]:
    """Status and body of one write of ROWS rows, in series on both sequencers."""
    lines = "\n".join(f"m,host=h{n % 7} f={n} {n + 1}" for n in range(first, first + ROWS))
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=40)
    try:
        connection.request("POST", "/api/v2/write?bucket=lost", lines.encode())
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def values(cluster: ProcessCluster) -> set[int]:
    store = open_store(f"file://{cluster.data}/store")
    rows = query("SELECT f FROM m", "lost", store, SEQUENCERS, timeout_s=30)
    return {int(value) for value in rows.column("f").to_pylist()}


def restart(cluster: ProcessCluster, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", "log", "restart", "--data", str(cluster.data), "--sequencer", "1"]
    return subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, check=False)


def damage(log: Path) -> None:
    """In the first batch of the newest segment."""
    newest = max((log / "001").glob("*.log"))
    with newest.open("r+b") as file:
        file.seek(150)
        [byte] = file.read(1)
        file.seek(150)
        file.write(bytes([byte ^ 1]))


def move_away(log: Path) -> None:
    (log / "001").rename(log.with_name("moved"))


def empty(log: Path) -> None:
    for path in (log / "001").iterdir():
        path.unlink()


def buffered(cluster: ProcessCluster) -> int:
    return sum(cluster.get(name, "/status")["rows_buffered"] for name in cluster.names[1:])


def written(cluster: ProcessCluster) -> set[int]:
    """ROWS rows that are persisted, then as many that only the log has; then all are killed. The persisted ones."""
    cluster.start(*cluster.names)
    assert write(cluster, 0)[0] == 204
    wait_until(lambda: buffered(cluster), holds=lambda rows: rows == ROWS, what="the rows are applied")
    cluster.stop()  # persists what is applied; what is not by then stays in the log
    cluster.start(*cluster.names)
    assert write(cluster, ROWS)[0] == 204
    wait_until(lambda: buffered(cluster), holds=lambda rows: rows == ROWS, what="the rows are applied")
    assert values(cluster) == set(range(2 * ROWS))
    for name in cluster.names:
        cluster.kill(name)
    reader_rows = query(
        "SELECT f FROM m", "lost", open_store(f"file://{cluster.data}/store"), SEQUENCERS, stored_only=True
    )
    return {int(value) for value in reader_rows.column("f").to_pylist()}


@pytest.mark.parametrize(("lose", "code"), [(damage, 5), (move_away, 4), (empty, 4)])
def test_nothing_is_acknowledged_into_a_log_that_lacks_what_was_persisted(
    tmp_path: Path, lose: Callable[[Path], None], code: int
) -> None:
    """The router ends with the reason; `log restart` begins the log again, and the cluster continues in its store."""
    cluster = ProcessCluster(tmp_path, SEQUENCERS, CALM)
    with cluster.held():
        persisted = written(cluster)
        assert persisted == set(range(ROWS))
        lose(cluster.data / "log")
        cluster.spawn("router")
        assert cluster.wait("router", 30) == code
        assert "A damaged or lost log" in cluster.log("router")
        refused = restart(cluster)
        assert refused.returncode == 2
        assert "add --accept-loss" in refused.stderr
        done = restart(cluster, "--accept-loss")
        assert done.returncode == 0, done.stderr
        assert "Start the cluster once with --accept-loss" in done.stdout
        cluster.spawn("ingester-1")
        assert cluster.wait("ingester-1", 30) == 2
        cluster.environment = {"PENSTOCK_ACCEPT_LOSS": "true"}
        cluster.start(*cluster.names)
        cluster.environment = {}
        assert write(cluster, 2 * ROWS)[0] == 204
        found = values(cluster)
        assert persisted | set(range(2 * ROWS, 3 * ROWS)) <= found
        state = run(manifest.load(ONE), open_store(f"file://{cluster.data}/store"))
        assert len(state.gaps) == 1
        cluster.stop()
        cluster.start(*cluster.names)
        assert values(cluster) == found
        cluster.stop()


def test_a_buffer_deleted_under_a_router_is_503_with_its_reason(tmp_path: Path) -> None:
    """No 500, no trace; the router ends with 4 and does not make another buffer."""
    with ProcessCluster(tmp_path, SEQUENCERS, CALM) as cluster:
        assert write(cluster, 0)[0] == 204
        (cluster.data / "log").rename(cluster.data / "log.away")
        status, body = write(cluster, ROWS)
        assert status == 503
        assert "the buffer was deleted since this writer opened it" in json.loads(body)["message"]
        assert cluster.wait("router", 30) == 4
        assert "Traceback" not in cluster.log("router")
        cluster.spawn("router")
        assert cluster.wait("router", 30) == 4
        assert not (cluster.data / "log").exists()
        (cluster.data / "log.away").rename(cluster.data / "log")
        cluster.start("router")
        assert write(cluster, ROWS)[0] == 204
