"""A real `penstock up` that is killed: its router and ingester stop in order by themselves."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from common.catalog.manifest import manifest
from common.store.objects import run
from common.store.opening import open_store
from common.values.ids import SequencerId
from common.values.token import parse_token
from penstock.query.query import query
from tests.support.up_process import Up
from tests.support.wait import wait_until

LINE = b"weather,city=Basel temperature=21.5 1700000000000000000"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path)
    yield started
    started.end()


def write(url: str) -> str:
    """The write token of LINE, once it is acknowledged."""
    request = urllib.request.Request(f"{url}/api/v2/write?bucket=metrics", LINE, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        token: str = answer.headers["X-Penstock-Write-Token"]
        return token


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_a_killed_supervisor_leaves_persisted_rows_and_no_process(up: Up) -> None:
    """After SIGKILL of `up` its children persist what they hold, name it in the manifest, and are gone."""
    url = up.wait_ready()
    token = parse_token(write(url))
    store = open_store(f"file://{up.data}/store")
    rows = query("SELECT temperature FROM weather", "metrics", store, 1, token=token, timeout_s=30)
    assert rows.to_pylist() == [{"temperature": 21.5}]
    up.kill()
    wait_until(lambda: running(up.children), holds=lambda left: not left, timeout_s=60, what="the children's end")
    files = list(run(manifest.load(SequencerId(0)), store).files)
    assert len(files) == 1
    assert [str(path.relative_to(up.data / "store")) for path in (up.data / "store").rglob("*.parquet")] == files
    found = duckdb.sql(f"SELECT city, temperature FROM read_parquet('{up.data}/store/data/**/*.parquet')").fetchall()
    assert found == [("Basel", 21.5)]
