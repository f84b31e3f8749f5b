"""`penstock fsck` and `penstock gc` over real processes: no false alarm beside a live cluster, each damage is named."""

import json
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from common.catalog.manifest import manifest
from common.store.objects import run
from common.store.opening import open_store
from common.values.ids import SequencerId
from penstock.query.query import query
from tests.support.fsck import flipped_in_page
from tests.support.process_cluster import ProcessCluster
from tests.support.wait import wait_until

SEQUENCERS = 2
HOSTS = 20


def write(cluster: ProcessCluster, step: int) -> None:
    lines = "\n".join(f"m,host=h{host} v={step} {1_700_000_000_000_000_000 + step}" for host in range(HOSTS))
    url = f"http://127.0.0.1:{cluster.port}/api/v2/write?bucket=b"
    with urllib.request.urlopen(urllib.request.Request(url, lines.encode(), method="POST"), timeout=30) as done:
        assert done.status == 204


def call(cluster: ProcessCluster, *arguments: str) -> tuple[int, Any]:
    """Exit code and JSON of a command on the cluster's data folder."""
    command = [sys.executable, "-m", "penstock", *arguments, "--data", str(cluster.data), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def found(report: Any) -> list[tuple[str, str]]:
    """Kind and path of all findings."""
    all_found = [*(each for one in report["sequencers"] for each in one["findings"]), *report["foreign"]]
    return [(each["kind"], each["path"]) for each in all_found]


def named_files(cluster: ProcessCluster) -> list[str]:
    store = open_store(f"file://{cluster.data}/store")
    return [path for number in range(SEQUENCERS) for path in run(manifest.load(SequencerId(number)), store).files]


def rows(cluster: ProcessCluster) -> int:
    store = open_store(f"file://{cluster.data}/store")
    answer = query("SELECT count(*) AS n FROM m", "b", store, SEQUENCERS, timeout_s=30)
    number: int = answer.to_pylist()[0]["n"]
    return number


@contextmanager
def written_to(cluster: ProcessCluster) -> Iterator[list[int]]:
    """One write after another meanwhile; yields the steps that were acknowledged."""
    steps: list[int] = []
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            write(cluster, len(steps))
            steps.append(len(steps))

    thread = threading.Thread(target=keep_writing)
    thread.start()
    try:
        yield steps
    finally:
        stop.set()
        thread.join()


def test_beside_a_live_cluster_nothing_is_found_and_nothing_needed_is_removed(tmp_path: Path) -> None:
    """Rows are written, persisted and committed all the time; gc takes files of any age, and no row is lost."""
    cluster = ProcessCluster(tmp_path, SEQUENCERS)
    with cluster:
        with written_to(cluster) as steps:
            wait_until(lambda: named_files(cluster), timeout_s=60, what="a first file")
            for _ in range(3):
                code, report = call(cluster, "fsck", "--deep")
                assert code == 0, report
                assert {kind for kind, _ in found(report)} <= {"waiting"}
                code, removed = call(cluster, "gc", "--grace", "0")
                assert code == 0
                assert [each["removed"] for each in removed["sequencers"]] == [[], []]
        cluster.stop()
    with cluster:
        assert rows(cluster) == len(steps) * HOSTS
        cluster.stop()
    code, report = call(cluster, "fsck", "--deep", "--grace", "0")
    assert (code, found(report)) == (0, [])
    assert sum(one["rows"] for one in report["sequencers"]) == len(steps) * HOSTS


def test_a_file_whose_commit_never_came_is_an_orphan_until_the_next_start(tmp_path: Path) -> None:
    """The ingester is killed between the file and its record: fsck names it, gc leaves it to the next start."""
    cluster = ProcessCluster(tmp_path, SEQUENCERS)
    with cluster:
        cluster.arm("ingester-0", "persist-linked")
        write(cluster, 1)
        assert cluster.died("ingester-0", 60)
        code, report = call(cluster, "fsck", "--sequencer", "0", "--grace", "0")
        ((kind, path),) = found(report)
        assert (code, kind) == (1, "orphan")
        assert path not in named_files(cluster)
        _, removed = call(cluster, "gc", "--grace", "0")
        assert [[each["path"] for each in one["kept"]] for one in removed["sequencers"]] == [[path], []]
        cluster.start("ingester-0")
        wait_until(lambda: not (cluster.data / "store" / path).exists(), timeout_s=60, what="the orphan gone")
        cluster.stop()
    code, report = call(cluster, "fsck", "--deep", "--grace", "0")
    assert (code, found(report)) == (0, [])
    assert sum(one["rows"] for one in report["sequencers"]) == HOSTS


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> ProcessCluster:
    """A cluster that was stopped in order with some files."""
    cluster = ProcessCluster(tmp_path_factory.mktemp("stopped"), SEQUENCERS)
    with cluster:
        for step in range(3):
            write(cluster, step)
        cluster.stop()
    return cluster


@pytest.fixture
def copied(stopped: ProcessCluster, tmp_path: Path) -> ProcessCluster:
    cluster = ProcessCluster(tmp_path, SEQUENCERS)
    shutil.copytree(stopped.data, cluster.data)
    return cluster


@pytest.mark.parametrize("kind", ["missing", "shortened", "changed"])
def test_a_damaged_file_is_found_and_named(copied: ProcessCluster, kind: str) -> None:
    """Deleted, cut, or with another bit in a page: exit code 5, the others are clean, a replay
    brings its rows back, gc removes what is left of it, and the accounts are in balance."""
    damaged = named_files(copied)[0]
    path = copied.data / "store" / damaged
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-7] if kind == "shortened" else flipped_in_page(data, column=2))
    code, report = call(copied, "fsck")
    assert (code, found(report)) == (5, [(kind, damaged)])
    (finding,) = [each for one in report["sequencers"] for each in one["findings"]]
    assert finding["places"] == ([{"row_group": 0, "column": "v"}] if kind == "changed" else [])
    number = damaged.rpartition("/")[2][:3]
    code, report = call(copied, "replay", "--sequencer", str(int(number)), "--from-offset", "0")
    assert code == 0, report
    _, report = call(copied, "fsck", "--deep", "--grace", "0")
    assert found(report) == ([("orphan", damaged)] if path.exists() else [])
    _, removed = call(copied, "gc", "--grace", "0")
    assert [each["path"] for one in removed["sequencers"] for each in one["removed"]] == [
        name for _, name in found(report)
    ]
    code, report = call(copied, "fsck", "--deep", "--grace", "0")
    assert (code, found(report)) == (0, [])
    assert sum(one["rows"] for one in report["sequencers"]) == 3 * HOSTS
    assert [one["rows_ahead"] for one in report["sequencers"]] == [0] * SEQUENCERS


def test_an_orphan_of_a_superseded_ingester_is_found_and_removed(copied: ProcessCluster) -> None:
    """A file of epoch 0 that no record names: exit code 1, gc removes it and nothing else, then all is clean."""
    named = copied.data / "store" / named_files(copied)[0]
    orphan = named.with_name(f"{named.name[:3]}-00000000-{named.name[13:]}")
    orphan.write_bytes(named.read_bytes())
    path = str(orphan.relative_to(copied.data / "store"))
    code, report = call(copied, "fsck", "--grace", "0")
    assert (code, found(report)) == (1, [("orphan", path)])
    before = sorted((copied.data / "store").rglob("*"))
    assert call(copied, "gc", "--grace", "0", "--dry-run")[0] == 0
    assert sorted((copied.data / "store").rglob("*")) == before
    _, removed = call(copied, "gc", "--grace", "0")
    assert [each["path"] for one in removed["sequencers"] for each in one["removed"]] == [path]
    assert sorted((copied.data / "store").rglob("*")) == [each for each in before if each != orphan]
    assert call(copied, "fsck", "--grace", "0")[0] == 0
