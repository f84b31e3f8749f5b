"""Replay as a dry run: the counts a reader of the log would find, and nothing changed."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalog.manifest import manifest
from common.catalog.partition_key import PartitionKey
from common.catalog.paths import dead_letter
from common.entry import Entry
from common.store.objects import run
from common.values.ids import Offset, SequencerId
from common.values.schema import DAY_NS
from ingester.following.decode import Decoded
from ingester.following.trial import ENDED
from penstock.cli import cli
from penstock.dead_letters import letters
from penstock.replay.dry_run import ReplayReport, dry_run
from tests.support.ingester_rig import IngesterRig
from tests.support.records import DAY0_NS, NAMESPACE, row
from writebuffer.contract import Reader
from writebuffer.errors import OffsetInFuture, OffsetTrimmed
from writebuffer.memory import MemoryBackend

SEQUENCER = SequencerId(3)
GOLDEN = Path(__file__).parents[1] / "golden" / "data_folder_v1"


def buffer_of(rig: IngesterRig) -> MemoryBackend:
    """A memory buffer that holds the rig's log; its offsets are dense, as the rig's are here."""
    backend = MemoryBackend()
    backend.create(4)
    writer = backend.open_writer()
    for each in rig.log:
        assert writer.append(SEQUENCER, each.record.record).result(5).offset == each.record.offset
    writer.close()
    return backend


def report_of(rig: IngesterRig, reader: Reader, first: int = 0, end: int | None = None) -> ReplayReport:
    state = run(manifest.load(SEQUENCER), rig.store)
    passed: list[int] = []
    report = dry_run(reader, state, rig.store, Offset(first), None if end is None else Offset(end), passed.append)
    assert sum(passed) == report.next_offset - first
    return report


def marks_of(record: Decoded) -> tuple[bytes | None, int]:
    return record.producer_id, record.producer_sequence


def a_rig() -> IngesterRig:
    """cpu persisted, mem still in memory, a repeat and a poison record."""
    rig = IngesterRig()
    rig.append({"cpu": [row(DAY0_NS + n, "a", v=1.0) for n in range(3)]})
    rig.poll()
    rig.go_cold()
    rig.append({"mem": [row(DAY0_NS + n, "a", v=1.0) for n in range(2)]})
    rig.again(1)
    rig.append({"mem": [row(DAY0_NS, "b", v=1.0)]}, bad=True)
    rig.poll()
    return rig


def test_the_counts_are_those_of_the_log() -> None:
    """Every row is persisted or not, a duplicate or dead, and each kind as many as there are."""
    rig = a_rig()
    report = report_of(rig, buffer_of(rig).open_reader())
    assert (report.records, report.records_duplicate, report.records_dead) == (4, 1, 1)
    assert (report.rows, report.rows_persisted, report.rows_unpersisted) == (8, 3, 2)
    assert (report.rows_duplicate, report.rows_dead) == (2, 1)
    assert report.bytes == sum(each.record.size for each in rig.log)
    assert (report.replay_offset, report.manifest_number) == (rig.core.state.replay_offset, rig.core.state.number)


@pytest.mark.parametrize("first", [0, 1])
def test_a_repeat_of_a_persisted_record_is_a_duplicate_wherever_the_range_begins(first: int) -> None:
    """From the replay offset on the manifest knows what was below, as the ingester does."""
    rig = IngesterRig()
    rig.append({"cpu": [row(DAY0_NS + n, "a", v=1.0) for n in range(3)]})
    rig.poll()
    rig.go_cold()
    assert rig.core.state.replay_offset == 1
    rig.again(0)
    rig.poll()
    report = report_of(rig, buffer_of(rig).open_reader(), first)
    assert (report.rows_duplicate, report.records_duplicate, report.rows_unpersisted) == (3, 1, 0)
    assert rig.core.counters.rows_duplicate == 3


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["cpu", "mem", "again", "bad", "cold"]), max_size=15), st.integers(0, 15))
def test_the_counts_are_a_model_s(steps: list[str], start: int) -> None:
    """From any offset on, with any part of the log persisted."""
    rig = IngesterRig()
    for number, step in enumerate(steps):
        if step in ("cpu", "mem", "bad"):
            table = "cpu" if step == "bad" else step
            rig.append({table: [row(DAY0_NS + number, "a", v=1.0)]}, bad=step == "bad")
        elif step == "again" and rig.log:
            rig.again(rig.log[-1].record.offset)
        elif step == "cold":
            rig.poll()
            rig.go_cold()
    first = min(start, rig.next_offset)
    report = report_of(rig, buffer_of(rig).open_reader(), first)
    state = rig.core.state
    seen = {marks_of(each.record) for each in rig.log if each.record.offset < first}
    durable = duplicate = dead = 0
    logged = [each for each in rig.log if each.record.offset >= first]
    for each in logged:
        marks = marks_of(each.record)
        if marks in seen:
            duplicate += each.record.rows
        elif not isinstance(each.record.content, Entry):
            dead += each.record.rows
        else:
            durable += sum(
                state.covers(PartitionKey(NAMESPACE, table, r.time_ns // DAY_NS), each.record.offset, r.time_ns)
                for table, rows in each.tables.items()
                for r in rows
            )
        seen.add(marks)
    assert (report.rows_persisted, report.rows_duplicate, report.rows_dead) == (durable, duplicate, dead)
    assert report.rows == sum(each.record.rows for each in logged)
    assert report.rows_unpersisted == report.rows - durable - duplicate - dead


def delete(objects: dict[str, bytes], path: str) -> None:
    del objects[path]


def cut_short(objects: dict[str, bytes], path: str) -> None:
    objects[path] = objects[path][:-1]


@pytest.mark.parametrize(
    ("damage", "difference"), [(delete, "it is missing"), (cut_short, r"it has \d+ bytes, \d+ were")]
)
def test_rows_of_a_file_that_is_not_as_written_are_lost(
    damage: Callable[[dict[str, bytes], str], None], difference: str
) -> None:
    """They are lost, and the file is named; rows of other files of the same partition and table are not."""
    rig = IngesterRig()
    for first in (0, 3):
        rig.append({"cpu": [row(DAY0_NS + first + n, "a", v=1.0) for n in range(3)], "mem": [row(DAY0_NS, "a", v=1.0)]})
        rig.poll()
        rig.go_cold()
    files = [file for file in rig.core.state.files.values() if file.partition.table_id.table == "cpu"]
    assert len(files) == 2
    whole = report_of(rig, buffer_of(rig).open_reader())
    assert (whole.rows_persisted, whole.rows_lost, whole.files, whole.files_lost) == (8, 0, 4, {})
    damage(rig.store.objects, files[0].path)
    report = report_of(rig, buffer_of(rig).open_reader())
    assert (report.rows_persisted, report.rows_lost, report.rows_unpersisted) == (5, 3, 0)
    assert report.files_lost.keys() == {files[0].path}
    assert re.match(difference, report.files_lost[files[0].path])


def test_a_file_that_a_listing_does_not_show_yet_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings may lag; the object itself decides."""
    rig = a_rig()
    monkeypatch.setattr(type(rig.store), "list", lambda self, prefix: iter(()))
    report = report_of(rig, buffer_of(rig).open_reader())
    assert (report.rows_persisted, report.rows_lost, report.files_lost) == (3, 0, {})


def test_the_command_names_a_lost_file_and_ends_with_5(tmp_path: Path) -> None:
    """A script learns that not all is there; the text has the path."""
    folder = tmp_path / "data"
    shutil.copytree(GOLDEN, folder)
    lost = next(path for path in sorted((folder / "store" / "data").rglob("000-*.parquet")))
    lost.unlink()
    asked = ["replay", "--data", str(folder), "--sequencer", "0", "--from-offset", "0", "--dry-run"]
    text, document = CliRunner().invoke(cli, asked), CliRunner().invoke(cli, [*asked, "--json"])
    assert (text.exit_code, document.exit_code) == (5, 5), text.output
    name = str(lost.relative_to(folder / "store"))
    report = json.loads(document.stdout)
    assert report["files_lost"] == {name: "it is missing"}
    assert report["rows_lost"] > 0
    assert f"\n  {name}: it is missing" in text.stdout


def test_nothing_is_changed() -> None:
    """Store and buffer hold the same bytes before and after."""
    rig = a_rig()
    backend = buffer_of(rig)
    before = dict(rig.store.objects)
    reader = backend.open_reader()
    offsets = reader.offsets(SEQUENCER)
    report_of(rig, reader)
    assert rig.store.objects == before
    assert reader.offsets(SEQUENCER) == offsets
    cursor = reader.cursor(SEQUENCER)
    assert [each.record for each in cursor.poll(100, 10**9, 1.0).records] == [each.record.record for each in rig.log]


def test_a_record_that_ended_processes_is_not_looked_at() -> None:
    """Its dead letter says so: it counts as dead, whatever is in it."""
    rig = a_rig()
    note = json.dumps({"reason": f"{ENDED} was ended by signal 11"}).encode()
    for kind, data in (("bin", rig.log[0].record.data), ("json", note)):
        rig.store.put(dead_letter(SEQUENCER, Offset(0), kind), data)
    report = report_of(rig, buffer_of(rig).open_reader())
    assert (report.records_dead, report.rows_dead, report.rows_persisted) == (2, 1, 0)
    (letter,) = letters.read_all(run(manifest.load(SEQUENCER), rig.store), rig.store)
    assert (letter.ends_processes, letter.record) == (True, None)
    assert letter.as_tried().rows == 3


def test_it_stops_at_the_given_offset() -> None:
    """to_offset is not read; beyond the end it is the end."""
    rig = a_rig()
    reader = buffer_of(rig).open_reader()
    assert (report_of(rig, reader, 1, 3).records, report_of(rig, reader, 1, 99).records) == (2, 3)


def test_an_offset_that_is_not_there_is_an_error() -> None:
    """Trimmed: the oldest left is named. Past the end: the next offset is."""
    rig = a_rig()
    backend = buffer_of(rig)
    reader = backend.open_reader()
    with pytest.raises(OffsetInFuture, match="next offset 4"):
        report_of(rig, reader, 9)
    writer = backend.open_writer()
    first = writer.trim(SEQUENCER, Offset(2))
    assert first > 0
    with pytest.raises(OffsetTrimmed, match=f"oldest still readable is {first}"):
        report_of(rig, reader, 0)


def test_the_command_names_the_flag_of_an_offset_that_is_not_there(tmp_path: Path) -> None:
    """Exit code 2, and what may be given."""
    folder = tmp_path / "data"
    shutil.copytree(GOLDEN, folder)
    asked = ["replay", "--data", str(folder), "--sequencer", "0", "--from-offset", "99", "--dry-run"]
    result = CliRunner().invoke(cli, asked)
    assert result.exit_code == 2
    assert "--from-offset 99 is past next offset 3 of sequencer 0: give that, or a lower one" in result.stderr


@pytest.mark.parametrize(("until", "records"), [([], 3), (["--to-offset", "0"], 0), (["--to-offset", "2"], 2)])
def test_the_command_reads_to_the_offset_given(tmp_path: Path, until: list[str], records: int) -> None:
    """0 is an offset like any other; without one it reads to the end."""
    folder = tmp_path / "data"
    shutil.copytree(GOLDEN, folder)
    asked = ["replay", "--data", str(folder), "--sequencer", "0", "--from-offset", "0", "--dry-run", *until]
    text, document = CliRunner().invoke(cli, asked), CliRunner().invoke(cli, [*asked, "--json"])
    assert (text.exit_code, document.exit_code) == (0, 0), text.output
    report = json.loads(document.stdout)
    assert (report["records"], report["from_offset"]) == (records, 0)
    assert f"\n  records              {records:>12,}   {report['bytes']:,} bytes\n" in text.stdout
    assert f"\n  rows in them         {report['rows']:>12,}   of these\n" in text.stdout
    assert f"\n    persisted          {report['rows_persisted']:>12,}   are in files that manifest" in text.stdout
    assert f"\n    not persisted yet  {report['rows_unpersisted']:>12,}   are durable in the write" in text.stdout


@pytest.mark.parametrize("mode", [["--dry-run", "--diff"], [], ["--rewrite"]])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["--namespace", "nope"], "namespace 'nope' has no table: `penstock schema show` lists all"),
        (["--namespace", "golden", "--table", "nope"], "namespace 'golden' has no table 'nope'"),
    ],
)
def test_a_table_that_there_never_was_is_an_error(
    tmp_path: Path, mode: list[str], names: list[str], message: str
) -> None:
    """A wrong name would have no difference, whatever is lost. Nothing is claimed for it."""
    folder = tmp_path / "data"
    shutil.copytree(GOLDEN, folder)
    before = sorted(path for path in folder.rglob("*"))
    asked = ["replay", "--data", str(folder), "--sequencer", "0", "--from-offset", "0", *mode, *names]
    result = CliRunner().invoke(cli, asked)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output
    assert sorted(path for path in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ("2026-11-27", "give 2026-11-27T00:00:00Z for UTC"),
        ("2026-11-27T12:30:00", "give 2026-11-27T12:30:00Z for UTC"),
        ("yesterday", "'yesterday' is no time: give 2026-11-27T12:00:00Z"),
        ("\N{SUPERSCRIPT TWO}", "is no time: give 2026-11-27T12:00:00Z"),
        ("1700000000", "is in 1973 or before"),
    ],
)
def test_a_time_that_cannot_be_read_is_answered_with_one_that_can(time: str, message: str) -> None:
    result = CliRunner().invoke(cli, ["replay", "--sequencer", "0", "--from-time", time, "--dry-run"])
    assert (result.exit_code, message in result.stderr) == (2, True), result.output
