"""A disk that fills up under the log: clients are asked to retry, and service goes on once there is room."""

import http.client
from pathlib import Path

from common.store.opening import open_store
from penstock.query.query import query
from tests.support.process_cluster import CALM, ProcessCluster

LINE = "m,host=a f={value} {value}"


def write(cluster: ProcessCluster, value: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=40)
    connection.request("POST", "/api/v2/write?bucket=full", LINE.format(value=value).encode())
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_a_full_disk_is_503_until_there_is_room_again(tmp_path: Path) -> None:
    """Retry-After is a whole number, nothing acknowledged is lost, nothing refused is stored, the process runs on."""
    full = tmp_path / "full"
    cluster = ProcessCluster(tmp_path, 1, CALM)
    cluster.environment = {"KILL_FULL": str(full)}
    with cluster:
        assert write(cluster, 1).status == 204
        full.touch()
        for value in (2, 3):
            refused = write(cluster, value)
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) >= 1
        full.unlink()
        assert write(cluster, 4).status == 204
        rows = query("SELECT f FROM m ORDER BY 1", "full", open_store(f"file://{cluster.data}/store"), 1, timeout_s=30)
        assert rows.column("f").to_pylist() == [1.0, 4.0]
        cluster.stop()
