"""`penstock fsck` and `penstock gc` as a person calls them: what they print, and how they end."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from common.store.opening import open_store
from penstock.cli import cli
from tests.support.fsck import HOUR_S, a_file_of, a_persisted_rig, put_unnamed

LONG_AGO_S = 2 * HOUR_S


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder: a file of a killed ingester, one that may still be named, one of somebody else's."""
    rig = a_persisted_rig(open_store(f"file://{tmp_path}/store"))
    put_unnamed(rig, epoch=1, job=7)
    rig.restart(removes_unnamed=False)
    put_unnamed(rig, epoch=2, job=8)
    rig.store.put("data/notes.txt", b"1")
    for path in tmp_path.rglob("data/**/*"):
        os.utime(path, (path.stat().st_mtime - LONG_AGO_S, path.stat().st_mtime - LONG_AGO_S))
    return tmp_path


def called(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments])


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_lists_and_removes_nothing(folder: Path) -> None:
    """What would be removed, with its size, and what is kept, with the reason."""
    before = files(folder)
    done = called("gc", "--data", str(folder), "--dry-run")
    assert done.exit_code == 0, done.output
    first, kept, last = done.output.splitlines()
    assert first.startswith("would remove  data/metrics/cpu/utc_day=2023-11-15/003-00000001-")
    assert first.endswith("00000007-000.parquet  (4 bytes)")
    assert "a manifest may still name it: a start of the sequencer's ingester removes it if not" in kept
    assert last == "would remove 1 file, 4 bytes"
    assert files(folder) == before


def test_gc_removes_what_its_dry_run_listed(folder: Path) -> None:
    """And says so; a second one finds nothing."""
    asked = json.loads(called("gc", "--data", str(folder), "--dry-run", "--json").output)["sequencers"][3]["removed"]
    before = files(folder)
    done = called("gc", "--data", str(folder), "--json")
    assert json.loads(done.output)["sequencers"][3]["removed"] == asked
    assert before - files(folder) == {asked[0]["path"].rpartition("/")[2]}
    assert "removed 0 files, 0 bytes" in called("gc", "--data", str(folder)).output


def test_gc_keeps_what_is_younger_than_the_grace_time(folder: Path) -> None:
    """It is said why, and nothing is removed."""
    done = called("gc", "--data", str(folder), "--grace", str(3 * HOUR_S))
    assert "it is younger than --grace" in done.output
    assert "removed 0 files, 0 bytes" in done.output


def test_fsck_names_what_is_left_over_and_ends_with_1(folder: Path) -> None:
    """The orphans and what no sequencer wrote; nothing is damaged."""
    done = called("fsck", "--data", str(folder))
    assert done.exit_code == 1, done.output
    named = [line for line in done.output.splitlines() if line.startswith("left over")]
    assert [line.split()[2] for line in named] == ["orphan:", "orphan:", "foreign:"]
    assert "0 damage" not in done.output
    assert "\n3 left over\n" in done.output
    assert "--deep" in done.output


def test_fsck_ends_with_5_where_something_is_damaged(folder: Path) -> None:
    """As JSON each finding has its kind, path, places and advice."""
    named = a_file_of(a_persisted_rig())
    (folder / "store" / named.path).unlink()
    done = called("fsck", "--data", str(folder), "--json", "--deep", "--sequencer", "3")
    assert done.exit_code == 5
    report = json.loads(done.output)
    (sequencer,) = report["sequencers"]
    assert (report["deep"], sequencer["sequencer"]) == (True, 3)
    found = sequencer["findings"][0]
    assert (found["kind"], found["path"], found["level"]) == ("missing", named.path, "damage")
    assert found["advice"]


def test_fsck_of_a_clean_sequencer_ends_with_0(folder: Path) -> None:
    """A sequencer that nothing was ever written to has an empty report."""
    done = called("fsck", "--data", str(folder), "--sequencer", "0")
    assert done.exit_code == 0
    assert "sequencer 0: manifest record 0 of epoch 0, persisted 0: 0 files, 0 rows, 0 bytes: clean" in done.output


@pytest.mark.parametrize("name", ["fsck", "gc"])
def test_a_sequencer_that_is_not_there_is_refused(folder: Path, name: str) -> None:
    """With the range, and exit code 2."""
    done = called(name, "--data", str(folder), "--sequencer", "4")
    assert done.exit_code == 2
    assert "--sequencer 4: the cluster has 4 sequencers (0..3)" in done.stderr
