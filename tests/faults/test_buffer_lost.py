"""The write buffer is lost under a running ingester: what it had applied, and the client was promised, is persisted."""

import http.client
import shutil
import signal
from pathlib import Path

from common.catalog.manifest import manifest
from common.store.objects import run
from common.store.opening import open_store
from common.values.ids import SequencerId
from penstock.query.query import query
from tests.support.process_cluster import CALM, ProcessCluster
from tests.support.wait import wait_until

ROWS = 250


def write(cluster: ProcessCluster) -> int:
    lines = "\n".join(f"m,host=h{n % 7} f={n} {1700000000000000000 + n}" for n in range(ROWS))
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=40)
    connection.request("POST", "/api/v2/write?bucket=lost", lines.encode())
    status = connection.getresponse().status
    connection.close()
    return status


def applied(cluster: ProcessCluster) -> None:
    """Written and applied, and by the settings far from being persisted."""
    assert write(cluster) == 204
    wait_until(lambda: cluster.get("ingester-0", "/status")["rows_buffered"], holds=lambda rows: rows == ROWS)


def test_rows_of_a_deleted_buffer_are_in_parquet_afterwards(tmp_path: Path) -> None:
    """Exit code 4, with what happened; the replay offset is where the lost stream was applied up to."""
    with ProcessCluster(tmp_path, 1, CALM) as cluster:
        applied(cluster)
        shutil.rmtree(cluster.data / "log")
        assert cluster.wait("ingester-0", 30) == 4
        log = cluster.log("ingester-0")
        assert "the stream is lost; what was applied is persisted first" in log
        assert "deleted" in log
        store = open_store(f"file://{cluster.data}/store")
        rows = query("SELECT f FROM m ORDER BY 1", "lost", store, 1, timeout_s=30, stored_only=True)
        assert [int(value) for value in rows.column("f").to_pylist()] == list(range(ROWS))
        state = run(manifest.load(SequencerId(0)), store)
        assert (state.replay_offset, state.accounts.stored) == (2, ROWS)  # the first lines of new columns are a record


def test_a_lost_buffer_and_no_store_end_in_bounded_time(tmp_path: Path) -> None:
    """Still exit code 4, and the message says how many rows are lost and what would restore them."""
    settings = {**CALM, "stop_timeout_s": "2"}
    with ProcessCluster(tmp_path, 1, settings) as cluster:
        applied(cluster)
        (cluster.data / "store").rename(cluster.data / "store.away")
        shutil.rmtree(cluster.data / "log")
        assert cluster.wait("ingester-0", 30) == 4
        assert f"{ROWS} rows could not be persisted" in cluster.log("ingester-0")


def test_a_second_signal_ends_it_at_once_and_says_what_is_left(tmp_path: Path) -> None:
    """While it waits for the store, with a buffer that is lost; the first signal changes nothing."""
    settings = {**CALM, "stop_timeout_s": "300"}
    with ProcessCluster(tmp_path, 1, settings) as cluster:
        applied(cluster)
        (cluster.data / "store").rename(cluster.data / "store.away")
        shutil.rmtree(cluster.data / "log")
        wait_until(lambda: cluster.log("ingester-0"), holds=lambda log: "the stream is lost" in log, timeout_s=30)
        cluster.signal("ingester-0", signal.SIGTERM)
        wait_until(lambda: cluster.get("ingester-0", "/status")["state"], holds=lambda state: state == "stopping")
        cluster.signal("ingester-0", signal.SIGTERM)
        assert cluster.wait("ingester-0", 10) == 128 + signal.SIGTERM
        assert f"ended at once: {ROWS} rows not persisted" in cluster.log("ingester-0")
