"""A real `penstock up` that is killed: its router and ingester stop in order by themselves."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from common.ids import SequencerId
from common.objectstore import open_store, run
from common.token import parse_token
from ingester.persist import manifest
from penstock.query import query
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
LINE = b"weather,city=Basel temperature=21.5 1700000000000000000"


class Up:
    """`penstock up` with one sequencer; its log goes to a pipe that nobody reads after the kill."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.output = folder / "stdout"
        arguments = ["--data", str(self.data), "--sequencers", "1"]
        for option in ("--port", "--http-port", "--flight-port"):
            arguments += [option, "0"]
        with self.output.open("wb") as output, (folder / "stderr").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "up", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                cwd=ROOT,
            )
        self.children: list[psutil.Process] = []

    def wait_ready(self) -> str:
        """The router's URL."""
        text = wait_until(self.output.read_text, holds=lambda text: "penstock is ready" in text, timeout_s=60)
        self.children = psutil.Process(self.process.pid).children(recursive=True)
        assert len(self.children) >= 2
        found = re.search(r"router +(http://\S+)", text)
        assert found is not None
        return found[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Leave nobody behind, whatever the test did."""
        self.kill()
        for child in filter(psutil.Process.is_running, self.children):
            os.kill(child.pid, signal.SIGKILL)


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
