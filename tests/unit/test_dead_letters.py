"""Dead letters: listed, shown, applied after all exactly once, dropped."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from common.catalog.manifest import manifest
from common.catalog.manifest.state import ManifestState
from common.catalog.paths import dead_letter
from common.store.objects import run
from common.values.errors import DataCorrupt, InvalidRequest
from common.values.ids import Offset, SequencerId
from common.values.schema import ColumnType, TableId
from penstock.cli import cli
from penstock.dead_letters import letters
from penstock.dead_letters.redrive import Redriven, redrive
from tests.support.ingester_rig import IngesterRig, a_rig
from tests.support.records import DAY0_NS, NAMESPACE, Row, decoded, row
from tests.unit.test_replay import RigHolder

SEQUENCER = SequencerId(3)
GOLDEN = Path(__file__).parents[1] / "golden" / "data_folder_v1"


def cpu(second: int, host: str = "a", **fields: Any) -> dict[str, list[Row]]:
    return {"cpu": [row(DAY0_NS + second * 10**9, host, **(fields or {"v": 1.0}))]}


def with_a_letter(rig: IngesterRig, tables: dict[str, list[Row]]) -> Offset:
    """A record that this release cannot read, and a later one can: its letter then has readable bytes."""
    offset = rig.append(tables, bad=True)
    rig.poll()
    rig.settle()
    mended = decoded(offset, tables, sequence=1000 + offset, append_time_ns=rig.now_ns)
    rig.store.put(dead_letter(SEQUENCER, offset, "bin"), mended.data)
    return offset


def persisted(rig: IngesterRig) -> None:
    rig.poll()
    rig.go_cold()
    rig.tick(61)
    rig.settle()


def state_of(rig: IngesterRig) -> ManifestState:
    return run(manifest.load(SEQUENCER), rig.store)


def redriven(rig: IngesterRig, folder: Path) -> Redriven:
    """All letters, by the rig's ingester."""
    found = list(letters.read_all(state_of(rig), rig.store))
    runs = sum(1 for _ in folder.iterdir())
    return redrive(found, RigHolder(rig), rig.store, folder / str(runs), 2**28)


def read(rig: IngesterRig, second: int, host: str = "a") -> dict[str, Any]:
    return rig.read().get((NAMESPACE, "cpu", frozenset({("host", host)}), DAY0_NS + second * 10**9), {})


def a_persisted_rig(*letters_of: dict[str, list[Row]]) -> IngesterRig:
    rig = a_rig()
    for tables in letters_of:
        with_a_letter(rig, tables)
    rig.append(cpu(50))
    persisted(rig)
    return rig


def test_a_letter_is_applied_once(tmp_path: Path) -> None:
    """Its rows leave the dead ones and become stored; a second run, and a restart, change nothing."""
    rig = a_persisted_rig(cpu(0, w=5))
    before = rig.core.accounts
    done = redriven(rig, tmp_path)
    assert (done.letters, done.rows, done.rows_added, done.left) == (1, 1, 1, {})
    assert read(rig, 0) == {"w": 5}
    after = rig.core.accounts
    assert (after.dead, after.stored, after.settled) == (before.dead - 1, before.stored + 1, before.settled)
    assert redriven(rig, tmp_path).left == {0: "it was redriven before"}
    assert state_of(rig).redriven == {0}
    assert state_of(rig).columns[TableId(NAMESPACE, "cpu")]["w"] is ColumnType.INTEGER
    rig.restart()
    rig.poll()
    assert rig.core.state.redriven == {0}
    assert read(rig, 0) == {"w": 5}


def test_it_only_fills(tmp_path: Path) -> None:
    """What the store has for the key stays, and so does what is in memory; a field that neither has is added."""
    rig = a_persisted_rig(cpu(50, v=9.0, w=1), cpu(60, v=9.0))
    rig.append(cpu(60, v=2.0))
    rig.poll()
    done = redriven(rig, tmp_path)
    assert (done.letters, done.rows_added) == (2, 2)
    assert read(rig, 50) == {"v": 1.0, "w": 1}
    assert read(rig, 60) == {"v": 2.0}
    persisted(rig)
    assert read(rig, 60) == {"v": 2.0}


def test_rows_that_are_all_there_make_no_file(tmp_path: Path) -> None:
    """They were overwritten: the letter is settled all the same."""
    rig = a_persisted_rig(cpu(50, v=3.0))
    files = len(rig.core.state.files)
    done = redriven(rig, tmp_path)
    assert (done.letters, done.rows_added) == (1, 0)
    assert len(rig.core.state.files) == files
    assert state_of(rig).redriven == {0}


def test_what_cannot_be_applied_is_left_with_the_reason(tmp_path: Path) -> None:
    """Not decodable, a column of another type, no record at all: the others are applied."""
    rig = a_rig()
    rig.append(cpu(1), bad=True)
    rig.append(cpu(2, v=1.0))
    wrong = with_a_letter(rig, cpu(3, v="text"))
    garbage = with_a_letter(rig, cpu(4))
    rig.store.put(dead_letter(SEQUENCER, garbage, "bin"), b"garbage")
    good = with_a_letter(rig, cpu(5))
    rig.append(cpu(6))
    persisted(rig)
    done = redriven(rig, tmp_path)
    assert (done.letters, sorted(done.left)) == (1, [0, wrong, garbage])
    assert "column 'v' is string" in done.left[wrong]
    assert done.left[garbage] == "its bytes are no record"
    assert state_of(rig).redriven == {good}
    assert read(rig, 5) == {"v": 1.0}


def test_two_letters_that_disagree_about_a_column(tmp_path: Path) -> None:
    """The first settles its type."""
    rig = a_persisted_rig(cpu(0, new=1), cpu(1, new="text"))
    done = redriven(rig, tmp_path)
    assert (done.letters, list(done.left)) == (1, [1])


def test_a_type_that_a_record_above_the_replay_offset_gave_wins(tmp_path: Path) -> None:
    """The manifest does not know it yet; the ingester does."""
    rig = a_persisted_rig(cpu(0, new=1))
    rig.append(cpu(70, new="text"))
    rig.poll()
    with pytest.raises(Exception, match="column 'new' is integer in this record and string before"):
        redriven(rig, tmp_path)
    assert rig.read() == rig.expected()


def test_a_letter_above_the_replay_offset_has_to_wait(tmp_path: Path) -> None:
    """Until then its rows are not counted dead in the manifest."""
    rig = a_rig()
    rig.append(cpu(1))
    with_a_letter(rig, cpu(0))
    done = redriven(rig, tmp_path)
    assert (done.letters, done.left) == (0, {1: "what lies before it is not persisted yet: try again later"})
    persisted(rig)
    assert redriven(rig, tmp_path).letters == 1


def test_a_damaged_file_of_its_partition_is_mended_first(tmp_path: Path) -> None:
    rig = a_persisted_rig(cpu(0))
    (file,) = rig.core.state.files
    del rig.store.objects[file]
    with pytest.raises(DataCorrupt, match="penstock replay"):
        redriven(rig, tmp_path)
    assert state_of(rig).redriven == frozenset()


def test_a_checkpoint_keeps_what_was_redriven(tmp_path: Path) -> None:
    rig = a_persisted_rig(cpu(0))
    redriven(rig, tmp_path)
    for second in range(100, 170):
        rig.append(cpu(second))
        persisted(rig)
    assert rig.core.state.checkpoint.number > 0
    assert state_of(rig).redriven == {0}


def test_dropping_one_leaves_the_others() -> None:
    rig = a_persisted_rig(cpu(0), cpu(1))
    letters.drop(rig.core.state, Offset(0), rig.store)
    assert letters.offsets(rig.core.state, rig.store) == [1]
    with pytest.raises(InvalidRequest, match="no dead letter at offset 0"):
        letters.read(rig.core.state, Offset(0), rig.store)


def test_one_without_its_note_is_listed() -> None:
    rig = a_persisted_rig(cpu(0))
    rig.store.delete(dead_letter(SEQUENCER, Offset(0), "json"))
    (letter,) = letters.read_all(rig.core.state, rig.store)
    assert (letter.reason, letter.rows) == ("", 1)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["dead-letter", *arguments])


def test_the_commands(tmp_path: Path) -> None:
    """On a stopped cluster of the first release: listed, shown, not redriven with a reason, dropped."""
    folder = tmp_path / "data"
    shutil.copytree(GOLDEN, folder)
    data = ["--data", str(folder)]
    (one,) = json.loads(invoke("list", *data, "--json").stdout)
    assert f"sequencer {one['sequencer']}, offset {one['offset']}:" in invoke("list", *data).stdout
    where = [*data, "--sequencer", str(one["sequencer"]), "--offset", str(one["offset"])]
    shown = invoke("show", *where)
    assert (shown.exit_code, one["reason"] in shown.stdout) == (0, True)
    assert (
        invoke("show", *where, "--raw").stdout_bytes
        == (folder / "store" / dead_letter(SequencerId(one["sequencer"]), Offset(one["offset"]), "bin")).read_bytes()
    )
    tried = invoke("redrive", *data)
    assert (tried.exit_code, f"offset {one['offset']} left:" in tried.stdout) == (1, True), tried.output
    refused = invoke("drop", *where)
    assert (refused.exit_code, "add --yes" in refused.stderr) == (2, True)
    assert invoke("drop", *where, "--yes").exit_code == 0
    assert invoke("list", *data).stdout == "no dead letters\n"
    assert invoke("show", *where).exit_code == 2
    assert invoke("redrive", *data).stdout == "nothing to redrive\n"
    assert "--offset needs --sequencer" in invoke("redrive", *data, "--offset", "1").stderr
