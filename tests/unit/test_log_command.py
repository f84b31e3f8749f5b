"""`penstock log`: what it says about a file write buffer's folder, whole, live and damaged."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from common.values.ids import Offset, SequencerId
from penstock.cli import COMMANDS, cli
from penstock.commands.log import command
from penstock.terminal import exit_codes
from tests.support import log_process
from tests.support.buffer_records import record as plain_record
from tests.support.records import DAY0_NS, record, row
from writebuffer.file import FileBackend

ONE = SequencerId(0)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["log", *map(str, arguments)], terminal_width=100)


def answer(*arguments: object) -> Any:
    ran = run(*arguments, "--json")
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder whose log/ has two sequencers: twelve entries in several segments, and none."""
    backend = FileBackend(str(tmp_path / "log"), segment_bytes=2000)
    backend.create(2)
    writer = backend.open_writer()
    for number in range(12):
        one = record({"cpu": [row(DAY0_NS + number, "a", v=1.5)]}, sequence=number, append_time_ns=DAY0_NS + number)
        writer.append(ONE, one).result(10)
    writer.close()
    return tmp_path


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "log" / "000").glob("*.log"))


def damage(path: Path, at_byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[at_byte] ^= 1
    path.write_bytes(content)


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_inspect_shows_offsets_segments_and_indexes(folder: Path) -> None:
    """Segments follow on each other up to the next offset, each with a whole index."""
    first, second = answer("inspect", folder)["sequencers"]
    assert (first["first_offset"], first["next_offset"], first["horizon"]) == (0, 12, "whole")
    found = first["segments"]
    assert [one["next_offset"] for one in found] == [*(one["first_offset"] for one in found[1:]), 12]
    assert {(one["state"], one["index"], one["passed_over_bytes"]) for one in found} == {("sealed", "whole", 0)}
    assert first["holder"]["held"] is False
    assert (second["next_offset"], second["segments"]) == (0, [])
    text = run("inspect", folder).stdout
    assert "sequencer 0: offsets 0 to 12" in text
    assert "not held, as seen from here; last by pid" in text
    assert not re.search("missing|damaged|horizon", text)


@pytest.mark.parametrize("command", ["inspect", "verify", "dump", "size"])
def test_looking_changes_nothing(folder: Path, command: str) -> None:
    """Not a byte, not a time of a file, also where an index is missing."""
    segments(folder)[0].with_suffix(".idx").unlink()
    before = contents(folder)
    assert run(command, folder).exit_code == 0
    assert contents(folder) == before


def test_a_live_log_is_shown_with_its_holder_and_the_segment_that_is_open(tmp_path: Path) -> None:
    """While a writer runs: who holds it, what is open; once it is killed: that nobody does, and what it left."""
    url = f"file://{tmp_path}"
    FileBackend(str(tmp_path)).create(1)
    process = log_process.start("write", url, "0")
    log_process.lines(process, 20)
    [live] = answer("inspect", url)["sequencers"]
    assert (live["holder"]["pid"], live["holder"]["held"]) == (str(process.pid), True)
    assert [one["state"] for one in live["segments"]] == ["open"]
    assert run("verify", url).exit_code == 0
    assert len(answer("size", url)) == 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout
    process.stdout.close()
    [left] = answer("inspect", url)["sequencers"]
    assert left["holder"]["held"] is False
    assert [(one["state"], one["index"]) for one in left["segments"]] == [("left open", "missing")]
    assert "missing" not in run("inspect", url).stdout


def test_verify_counts_what_it_read(folder: Path) -> None:
    """A whole log: as many records as were appended, no problem, exit code 0."""
    first, second = answer("verify", folder)
    assert (first["records"], first["problems"], first["notes"]) == (12, [], [])
    assert second["records"] == 0
    assert "12 records" in run("verify", folder).stdout


def test_verify_continues_after_damage_and_names_each_place(folder: Path) -> None:
    """A bad body, then a bad header and a missing segment: with segment, byte and all offsets lost, exit code 5.

    After the bad header the next batch is found by its own header, also without an index.
    """
    names = segments(folder)
    assert len(names) >= 4
    damage(names[0], 300)
    damage(names[1], 70)
    names[2].unlink()
    ran = run("verify", folder, "--sequencer", 0, "--json")
    assert ran.exit_code == exit_codes.CORRUPT
    [found] = json.loads(ran.stdout)
    bases = [int(name.name[:20]) for name in names]
    ranges = [(one["first_offset"], one["next_offset"]) for one in found["problems"]]
    assert ranges == [(0, 1), (bases[1], bases[1] + 1), (bases[2], bases[3])]
    assert [one["segment"] for one in found["problems"]] == [names[0].name, names[1].name, names[1].name]
    assert [one["at_byte"] for one in found["problems"]][:2] == [64, 64]
    lost = {offset for first, end in ranges for offset in range(first, end)}
    assert found["records"] == 12 - len(lost)
    text = run("verify", folder).stdout
    assert f"sequencer 0: {names[0].name} at byte 64: the batch's body does not match its checksum; offset 0" in text


def test_verify_finds_any_flipped_bit(folder: Path) -> None:
    """For any byte of a segment: one problem at least."""
    path = segments(folder)[1]
    whole = path.read_bytes()
    for at_byte in range(0, len(whole), 7):
        damage(path, at_byte)
        assert run("verify", folder).exit_code == exit_codes.CORRUPT, at_byte
        path.write_bytes(whole)


def test_a_damaged_index_or_horizon_is_a_note(folder: Path) -> None:
    """Readers do without them, so nothing is lost and the exit code stays 0."""
    damage(segments(folder)[0].with_suffix(".idx"), 30)
    [found] = answer("verify", folder, "--sequencer", 0)
    assert found["problems"] == []
    assert ["is damaged" in note for note in found["notes"]] == [True]
    damage(folder / "log" / "000" / "horizon", 30)
    assert len(answer("verify", folder, "--sequencer", 0)[0]["notes"]) == 2
    inspected = run("inspect", folder, "--sequencer", 0).stdout
    assert "the horizon file, which says how far readers may read, is damaged: they find the end by" in inspected


def test_dump_prints_the_records_of_a_range(folder: Path) -> None:
    """One line of JSON for each, with every header; or text, with the rows when asked for."""
    ran = run("dump", folder, "--from-offset", 3, "--to-offset", 9, "--limit", 4, "--sequencer", 0, "--json")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [one["offset"] for one in found] == [3, 4, 5, 6]
    assert found[0]["append_time"] == "2023-11-15T00:00:00.000000003Z"
    assert (found[0]["namespace"], found[0]["producer_sequence"]) == ("metrics", 3)
    text = run("dump", folder, "--from-offset", 3, "--limit", 1, "--decode", "--sequencer", 0).stdout
    assert "0/3  2023-11-15T00:00:00.000000003Z  metrics" in text
    assert 'host="a"  v=1.5' in text


def test_dump_says_what_cannot_be_decoded(tmp_path: Path) -> None:
    """Another content type, or damage of the entry itself, is reported with the record, and the next one follows."""
    backend = FileBackend(str(tmp_path))
    backend.create(1)
    writer = backend.open_writer()
    writer.append(ONE, plain_record(0)).result(10)
    writer.append(ONE, record({"cpu": [row(DAY0_NS, "a", v=1.5)]})).result(10)
    writer.close()
    lines = run("dump", tmp_path, "--decode", "--json").stdout.splitlines()
    first, second = map(json.loads, lines)
    assert "is not an entry" in first["undecodable"]
    assert second["tables"][0]["rows"] == [{"time": "2023-11-15T00:00:00.000000000Z", "host": "a", "v": 1.5}]


def test_dump_ends_at_damage_after_the_records_before_it(folder: Path) -> None:
    """Exit code 5, the error on stderr, and what could be read on stdout."""
    damage(segments(folder)[1], 300)
    ran = run("dump", folder)
    assert ran.exit_code == exit_codes.CORRUPT
    assert len(ran.stdout.splitlines()) == int(segments(folder)[1].name[:20])
    assert "does not match its checksum" in ran.stderr


def test_size_is_that_of_the_reader(folder: Path) -> None:
    """Data and disk of each sequencer, and their sum in the text."""
    reader = FileBackend(str(folder / "log")).open_reader()
    sizes = [reader.size(SequencerId(number)) for number in range(2)]
    assert [(one["data_bytes"], one["disk_bytes"]) for one in answer("size", folder)] == [
        (size.data_bytes, size.disk_bytes) for size in sizes
    ]
    assert f"all  {sizes[0].data_bytes:>10,}" in run("size", folder).stdout


@pytest.mark.parametrize(
    ("below", "message"),
    [
        ("none", "there is no such folder"),
        ("log/000", "one sequencer's folder; give"),
        ("log/buffer.json", "a file; give the folder"),
    ],
)
def test_what_is_no_log_is_reported_by_kind(folder: Path, below: str, message: str) -> None:
    """Exit code 2 and what to give instead."""
    ran = run("inspect", folder / below)
    assert ran.exit_code == exit_codes.USAGE
    assert message in ran.stderr


def test_other_wrong_calls_are_reported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An empty folder, a server's URL, a sequencer or a range that is not there."""
    refused = [
        (["inspect", tmp_path_factory.mktemp("empty")], "neither it nor log/ in it has a buffer.json"),
        (["size", "redis://127.0.0.1/0"], "have no files to look at here"),
        (["verify", folder, "--sequencer", 2], "has 2 sequencers (0..1)"),
        (["dump", folder, "--from-offset", 5, "--to-offset", 4], "--to-offset 4 is below 5"),
        (["dump", folder, "--from-offset", 99], "--from-offset 99 is past next offset 12 of"),
    ]
    for arguments, message in refused:
        ran = run(*arguments)
        assert (ran.exit_code, message in ran.stderr) == (exit_codes.USAGE, True), ran.output


def test_a_trimmed_offset_is_reported_with_the_oldest(folder: Path) -> None:
    """Dumping below the first offset names what is still there."""
    writer = FileBackend(str(folder / "log")).open_writer()
    first = writer.trim(ONE, Offset(7))
    writer.close()
    assert f"the oldest still readable is {first}" in run("dump", folder, "--from-offset", 0).stderr
    assert answer("verify", folder)[0]["records"] == 12 - first


def test_help_lists_what_the_group_can_do() -> None:
    """Each subcommand of `log` is in the first line of help that `penstock --help` shows."""
    for name in command.commands:
        assert name in COMMANDS["log"]
