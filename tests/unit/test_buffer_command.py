"""`penstock buffer`: records go from one write buffer to another, all of them, in order, once."""

import json
import random
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner, Result

from common.values.ids import Offset, SequencerId
from penstock.buffers import copy as buffer_copy
from penstock.buffers.copy import Span, span_of
from penstock.cli import cli
from tests.support.buffer_records import read_all, record, records
from tests.support.ports import free_ports
from writebuffer.connect import connect
from writebuffer.contract import Offsets, Reader
from writebuffer.faults import Faults, FaultyWriter

ONE = SequencerId(0)

GOLDEN = Path(__file__).parents[1] / "golden" / "data_folder_v1"


def file_buffer(folder: Path, *counts: int) -> str:
    """A file buffer with so many records on its sequencers; its URL."""
    url = f"file://{folder}"
    backend = connect(url)
    backend.create(len(counts))
    writer = backend.open_writer()
    for number, count in enumerate(counts):
        if count:
            writer.append_many(SequencerId(number), records(range(count))).result(20)
    writer.close()
    return url


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["buffer", *map(str, arguments)])


def test_all_sequencers_are_copied_with_their_offsets_reported(tmp_path: Path) -> None:
    """The destination is made with as many; every record has the same bytes there, in the same order."""
    source, destination = file_buffer(tmp_path / "a", 30, 0, 7), f"file://{tmp_path}/b"
    result = run("copy", source, destination, "--sequencer", "all")
    assert result.exit_code == 0, result.output
    assert "sequencer 0: 30 records" in result.output
    assert "source 0..29 -> destination 0..29" in result.output
    assert "sequencer 1: 0 records, 0 bytes\n" in result.output
    assert "new store" in result.output
    for number in range(3):
        assert read_all(connect(destination), number) == read_all(connect(source), number)


def test_a_part_is_copied_and_reported_in_json(tmp_path: Path) -> None:
    """From K up to but without M; the offsets are the destination's own."""
    source, destination = file_buffer(tmp_path / "a", 5, 30), f"file://{tmp_path}/b"
    asked = ["copy", source, destination, "--sequencer", 1, "--from-offset", 10, "--to-offset", 25, "--json"]
    report = json.loads(run(*asked).stdout)
    [one] = report["sequencers"]
    assert report["complete"]
    assert (one["source_first"], one["source_last"], one["destination_first"], one["destination_last"]) == (
        10,
        24,
        0,
        14,
    )
    assert (one["records"], one["bytes"]) == (15, sum(map(len, records(range(10, 25)))))
    assert [each for _, each in read_all(connect(destination), 1)] == records(range(10, 25))
    assert read_all(connect(destination), 0) == []


def test_a_destination_that_holds_something_is_refused_unless_asked_for(tmp_path: Path) -> None:
    """--append puts the records after them, --resume continues only a copy of the same beginning."""
    source, destination = file_buffer(tmp_path / "a", 10), file_buffer(tmp_path / "b", 4)
    result = run("copy", source, destination, "--sequencer", "all")
    assert result.exit_code == 2
    assert "is not empty (offsets 0 to 4): give --resume" in result.stderr
    result = run("copy", source, destination, "--sequencer", "all", "--from-offset", 5, "--resume")
    assert result.exit_code == 2
    assert "does not have the source's record at 5. Its last record, at 3, is the source's at 3" in result.stderr
    assert "or --append --from-offset 4 to continue after it" in result.stderr
    assert len(read_all(connect(destination))) == 4
    result = run("copy", source, destination, "--sequencer", "all", "--resume")
    assert "6 records" in result.output
    assert "there already before: 4 records" in result.output
    assert read_all(connect(destination)) == read_all(connect(source))
    result = run("copy", source, destination, "--sequencer", "all", "--append")
    assert "source 0..9 -> destination 10..19" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}", "{a}/", "--sequencer", "all"], "SRC and DST are the same write buffer"),
        (["{a}", "file://{tmp}/link", "--sequencer", "all"], "are the same write buffer"),
        (["memory:x", "{a}", "--sequencer", "all"], "'memory:x' is in the memory of one process"),
        (["{a}", "memory:x", "--sequencer", "all"], "'memory:x' is in the memory of one process"),
        (["{a}", "file://{tmp}/two", "--sequencer", "all"], "has 2 sequencers and SRC 1"),
        (["file://{tmp}/none", "file://{tmp}/b", "--sequencer", "0"], "there is no write buffer"),
        (["{a}", "file://{tmp}/b", "--sequencer", "1"], "sequencer 1: unknown; this buffer has 1"),
        (["{a}", "file://{tmp}/b", "--sequencer", "x"], "'x' is neither a sequencer's number nor `all`"),
        (
            ["{a}", "file://{tmp}/b", "--sequencer", "0", "--from-offset", "6"],
            "--from-offset 6 is past next offset 5 of",
        ),
        (["{a}", "file://{tmp}/b", "--sequencer", "0", "--to-offset", "6"], "--to-offset 6 is past next offset 5 of"),
        (["{a}", "file://{tmp}/b", "--sequencer", "0", "--from-offset", "3", "--to-offset", "2"], "--to-offset 2 is"),
        (["{a}", "file://{tmp}/b", "--sequencer", "0", "--resume", "--append"], "not both"),
        (["{a}", "/b", "--sequencer", "0"], "the right form is file:///b"),
    ],
)
def test_what_cannot_be_copied_is_refused_and_nothing_is_made(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Each with the reason and exit code 2."""
    source = file_buffer(tmp_path / "a", 5)
    file_buffer(tmp_path / "two", 0, 0)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    result = run("copy", *(each.format(a=source, tmp=tmp_path) for each in arguments))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not (tmp_path / "b").exists()
    assert len(read_all(connect(source))) == 5


def test_an_error_half_way_is_reported_with_what_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says from which offset on; the same command with --resume copies the rest, once."""
    monkeypatch.setattr(buffer_copy, "POLL_RECORDS", 5)
    source, destination = file_buffer(tmp_path / "a", 23), f"file://{tmp_path}/b"
    plain = buffer_copy.copy

    def failing(reader: Any, there: Any, writer: Any, *rest: Any) -> None:
        plain(reader, there, FaultyWriter(writer, random.Random(5), Faults(lost_acknowledgement=0.3)), *rest)

    with monkeypatch.context() as broken:
        broken.setattr(buffer_copy, "copy", failing)
        result = run("copy", source, destination, "--sequencer", "0")
    assert result.exit_code == 3, result.output
    assert "injected: acknowledgement lost" in result.stderr
    copied = len(read_all(connect(destination)))
    assert 5 < copied < 23
    assert f"everything below source offset {copied - 5} is copied; continue with the same command" in result.stdout
    result = run("copy", source, destination, "--sequencer", "0", "--resume")
    assert result.exit_code == 0, result.output
    assert read_all(connect(destination)) == read_all(connect(source))


def test_a_record_that_the_destination_stored_twice_is_no_obstacle(tmp_path: Path) -> None:
    """A broker that was killed may hold records twice, singly or in runs: a copy still continues after them."""
    source, destination = file_buffer(tmp_path / "a", 9), f"file://{tmp_path}/b"
    backend = connect(destination)
    backend.create(1)
    writer = backend.open_writer()
    writer.append_many(ONE, [record(number) for number in (0, 1, 1, 2, 3, 2, 3, 4, 4)]).result(20)
    writer.close()
    result = run("copy", source, destination, "--sequencer", "0", "--resume", "--json")
    assert result.exit_code == 0, result.output
    [said] = json.loads(result.stdout)["sequencers"]
    assert (said["found"], said["records"]) == (5, 4)
    assert [one for _, one in read_all(backend)][-4:] == [record(number) for number in range(5, 9)]


def test_info_shows_offsets_size_and_identity(tmp_path: Path) -> None:
    """A line for each sequencer; for programs the same as JSON."""
    url = file_buffer(tmp_path / "a", 3, 0)
    text = run("info", url)
    assert text.exit_code == 0, text.output
    assert text.output.startswith(
        f"{url}\npowers: Dense, Durable, Measurable, Salvageable, SeekableByTime, Trimmable\n"
    )
    found = json.loads(run("info", url, "--json").stdout)
    reader = connect(url).open_reader()
    assert [(one["first"], one["next"], one["identity"]) for one in found["sequencers"]] == [
        (0, 3, reader.identity(ONE)),
        (0, 0, reader.identity(SequencerId(1))),
    ]
    assert found["sequencers"][0]["bytes"] >= 3 * len(record(0))
    assert "in the memory of one process" in run("info", "memory:x").stderr


def test_the_command_goes_on_although_the_source_was_trimmed(tmp_path: Path) -> None:
    """The same command as before, with a --from-offset that was trimmed, or with none."""
    for asked in (["--from-offset", "10"], []):
        source, destination = file_buffer(tmp_path / f"a{len(asked)}", 0), f"file://{tmp_path}/b{len(asked)}"
        writer = connect(source).open_writer()
        writer.append_many(ONE, records(range(30))).result(20)
        assert run("copy", source, destination, "--sequencer", 0, *asked, "--to-offset", 20).exit_code == 0
        writer.close()
        with pytest.MonkeyPatch.context() as trimmed:
            trimmed.setattr(buffer_copy, "span_of", _span_from_15)
            result = run("copy", source, destination, "--sequencer", 0, *asked, "--resume")
        assert result.exit_code == 0, result.output
        begun = asked[1] if asked else 0
        assert [each for _, each in read_all(connect(destination))] == records(range(int(begun), 30))
        assert f"after {15 - int(begun)} records of the destination, not compared" in result.stdout


def _span_from_15(reader: Reader, *rest: Any, **how: Any) -> Span:
    """As of a reader that begins at 15."""
    end = reader.offsets(ONE).next_offset
    return span_of(Mock(offsets=lambda _: Offsets(Offset(15), end)), *rest, **how)


@pytest.mark.parametrize(
    ("faults", "advice"),
    [
        (Faults(refused=0.5), "continue with --append --sequencer 0 --from-offset {copied}"),
        (
            Faults(lost_acknowledgement=0.5),
            "no answer came for {before} to {last}: continue with --resume --sequencer 0 --from-offset 3",
        ),
    ],
)
def test_an_interrupted_append_says_how_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults, advice: str
) -> None:
    """Exactly, and doing so copies the rest once: nothing that is there is written again."""
    monkeypatch.setattr(buffer_copy, "POLL_RECORDS", 4)
    source, destination = file_buffer(tmp_path / "a", 40), f"file://{tmp_path}/b"
    backend = connect(destination)
    backend.create(1)
    writer = backend.open_writer()
    writer.append_many(ONE, records(range(100, 105))).result(20)
    writer.close()
    plain = buffer_copy.copy

    def failing(reader: Any, there: Any, writer: Any, *rest: Any) -> None:
        plain(reader, there, FaultyWriter(writer, random.Random(2), faults), *rest)

    with monkeypatch.context() as broken:
        broken.setattr(buffer_copy, "copy", failing)
        result = run("copy", source, destination, "--sequencer", "all", "--append", "--from-offset", 3)
    assert result.exit_code == 3, result.output
    copied = 3 + len(read_all(backend)) - 5
    assert 3 < copied < 40
    said = advice.format(copied=copied, before=copied - 4, last=copied - 1)
    assert said in result.stdout
    options = said.partition("continue with ")[2].split()
    result = run("copy", source, destination, *options)
    assert result.exit_code == 0, result.output
    assert [each for _, each in read_all(backend)] == records([*range(100, 105), *range(3, 40)])


@pytest.mark.parametrize(
    "command",
    [
        ["buffer", "info", "{url}"],
        ["buffer", "copy", "{url}", "file:///nowhere", "--sequencer", "all"],
        ["conformance", "{url}"],
        [
            "replay",
            "--data",
            str(GOLDEN),
            "--sequencer",
            "0",
            "--from-offset",
            "0",
            "--dry-run",
            "--write-buffer",
            "{url}",
        ],
    ],
)
def test_a_server_that_is_away_is_reported_in_one_line_with_what_to_check(command: list[str]) -> None:
    """Exit code 3; nothing of a client library's own log."""
    url = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    result = CliRunner().invoke(cli, [part.format(url=url) for part in command])
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert re.search(r"refused; check that it runs and that (the URL|--write-buffer) has its host", result.stderr)
