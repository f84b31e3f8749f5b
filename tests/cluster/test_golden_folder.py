"""The golden data folder of every release is opened by this one: queried, gone on with, read by others."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from common.catalog.paths import path_component
from common.store.opening import open_store
from common.values.ids import SequencerId
from penstock.query.query import query
from tests.support.golden_folder import NAMESPACE, SEQUENCERS, TABLES
from tests.support.process_cluster import CALM, ProcessCluster
from tests.support.wait import wait_until
from writebuffer.connect import connect

GOLDEN = Path(__file__).parents[1] / "golden"
RELEASES = sorted(path.name for path in GOLDEN.glob("data_folder_v*"))


@pytest.fixture(params=RELEASES)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> ProcessCluster:
    made = ProcessCluster(tmp_path, SEQUENCERS, CALM)
    shutil.copytree(GOLDEN / request.param, made.data)
    return made


def found(cluster: ProcessCluster) -> list[dict[str, object]]:
    store = open_store(f"file://{cluster.data}/store")
    rows = []
    for table in TABLES:
        answer = query(f'SELECT *, epoch_ns(time) AS ns FROM "{table}"', NAMESPACE, store, SEQUENCERS, timeout_s=30)
        for row in answer.drop_columns(["time"]).to_pylist():
            host, ns = row.pop("host") or "", row.pop("ns")
            row.pop("Zone")
            fields = {name: value for name, value in row.items() if value is not None}
            rows.append({"table": table, "host": host, "time_ns": ns, "fields": fields})
    return sorted(rows, key=lambda row: (row["table"], row["host"], row["time_ns"]))


def test_a_released_folder_is_queried_and_gone_on_with(cluster: ProcessCluster) -> None:
    """Files, manifest and log of the release give exactly the rows it was made of; new writes join them."""
    expected = json.loads((cluster.data / "expected.json").read_text())
    with cluster:
        assert found(cluster) == expected
        reader = connect(f"file://{cluster.data}/log").open_reader()
        before = reader.offsets(SequencerId(0)).next_offset
        assert before > 0
        cluster.stop()
        reader.close()
    with cluster:
        assert found(cluster) == expected
        cluster.stop()
    files = f"{cluster.data}/store/data/{NAMESPACE}/{path_component(TABLES[0])}/*/*.parquet"
    rows = duckdb.sql(f"SELECT count(*) FROM read_parquet('{files}', union_by_name=true)").fetchall()
    assert rows[0][0] >= sum(row["table"] == TABLES[0] for row in expected)


def test_a_released_folder_keeps_its_dead_letters_and_epochs(cluster: ProcessCluster) -> None:
    """A new process claims an epoch above those in the folder, and the dead letter stays where it was put."""
    letters = sorted(path.name for path in (cluster.data / "store/dead-letter").rglob("*.bin"))
    assert letters
    with cluster:
        status = wait_until(
            lambda: cluster.get("ingester-0", "/status"), holds=lambda s: s["state"] == "live", what="live"
        )
        assert status["epoch"] > 2
        cluster.stop()
    assert sorted(path.name for path in (cluster.data / "store/dead-letter").rglob("*.bin")) == letters
