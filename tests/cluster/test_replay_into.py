"""`penstock replay --into`: a new store from the log alone, beside a live cluster, and in place of a lost one."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.store.opening import open_store
from penstock.query.query import query
from tests.cluster.test_replay_live import ROWS, persist, status, write
from tests.support.process_cluster import BUSY, ProcessCluster
from tests.support.wait import wait_until


def penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def rebuilt(cluster: ProcessCluster, into: Path) -> list[dict[str, Any]]:
    done = penstock("replay", "--data", str(cluster.data), "--into", f"file://{into}", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def values(store: Path) -> list[int]:
    rows = query("SELECT f FROM m ORDER BY 1", "b", open_store(f"file://{store}"), 1, timeout_s=30, stored_only=True)
    return [int(value) for value in rows.column("f").to_pylist()]


def test_a_cluster_goes_on_from_a_store_that_was_made_anew(tmp_path: Path) -> None:
    """Its store is lost, and the log is whole: the same rows, the books balanced, and new writes persisted."""
    cluster = ProcessCluster(tmp_path, 1, BUSY)
    store = cluster.data / "store"
    with cluster:
        for first in (0, ROWS):
            persist(cluster, first)
        write(cluster, 2 * ROWS)
        wait_until(lambda: status(cluster)["next_offset"], holds=lambda at: at == status(cluster)["applied_offset"])
        (copy,) = rebuilt(cluster, tmp_path / "copy")
        assert (copy["stored"], copy["duplicate"], copy["dead"]) == (3 * ROWS, 0, 0)
        assert values(tmp_path / "copy") == list(range(3 * ROWS))
        persist(cluster, 3 * ROWS)  # nothing was changed for the live one
        cluster.stop()
    shutil.rmtree(store)
    (made,) = rebuilt(cluster, store)
    assert made["stored"] == 4 * ROWS
    with cluster:
        persist(cluster, 4 * ROWS)
        cluster.stop()
    assert values(store) == list(range(5 * ROWS))
    assert penstock("fsck", "--data", str(cluster.data), "--deep").returncode == 0


def test_an_interrupted_one_is_continued(tmp_path: Path) -> None:
    """Killed somewhere, and run again: each row once. A store that an ingester holds is refused."""
    cluster = ProcessCluster(tmp_path, 1, BUSY)
    with cluster:
        for first in range(0, 10 * ROWS, ROWS):
            write(cluster, first)
        command = [sys.executable, "-m", "penstock", "replay", "--data", str(cluster.data)]
        command += ["--into", f"file://{tmp_path}/copy"]
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until((tmp_path / "copy" / "manifest" / "000" / f"{1:020}.json").exists)
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
        (copy,) = rebuilt(cluster, tmp_path / "copy")
        assert copy["stored"] == 10 * ROWS
        assert values(tmp_path / "copy") == list(range(10 * ROWS))
        refused = penstock("replay", "--data", str(cluster.data), "--into", f"file://{cluster.data}/store")
        assert (refused.returncode, "an ingester has claimed" in refused.stderr) == (2, True)
        cluster.stop()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from-offset", "5"], "--into reads the whole log"),
        (["--to-offset", "5"], "--into reads the whole log"),
        (["--namespace", "b"], "--into reads the whole log"),
        (["--dry-run"], "--into makes a new store"),
        (["--rewrite"], "--into makes a new store"),
    ],
)
def test_flags_that_do_not_go_with_it(tmp_path: Path, flags: list[str], message: str) -> None:
    done = penstock("replay", "--data", str(tmp_path), "--into", f"file://{tmp_path}/copy", *flags)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
