"""`penstock buffer`: records go from one write buffer to another, all of them, in order, once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidRequest, Unavailable
from common.ids import Offset, SequencerId
from penstock import buffer_copy
from penstock.buffer_copy import CopyReport, copy, find_resumption, span_of
from penstock.cli import cli
from tests.support.buffer_records import read_all, record, records
from writebuffer.connect import connect
from writebuffer.faults import Faults, FaultyWriter
from writebuffer.memory import MemoryBackend

ONE = SequencerId(0)


def memory(count: int = 0, **options: Any) -> MemoryBackend:
    backend = MemoryBackend(**options)
    backend.create(1)
    if count:
        backend.open_writer().append_many(ONE, records(range(count)))
    return backend


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


# The command


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


def test_a_part_is_copied_and_told_in_json(tmp_path: Path) -> None:
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


def test_a_destination_that_holds_something_is_refused_unless_told(tmp_path: Path) -> None:
    """--append puts the records behind, --resume goes on only with a copy of the same beginning."""
    source, destination = file_buffer(tmp_path / "a", 10), file_buffer(tmp_path / "b", 4)
    result = run("copy", source, destination, "--sequencer", "all")
    assert result.exit_code == 2
    assert "is not empty (offsets 0 to 4): give --resume" in result.stderr
    result = run("copy", source, destination, "--sequencer", "all", "--from-offset", 2, "--resume")
    assert result.exit_code == 2
    assert "record at 0 is not the one that a copy of 2 to 10 has there" in result.stderr
    assert len(read_all(connect(destination))) == 4
    result = run("copy", source, destination, "--sequencer", "all", "--resume")
    assert "6 records" in result.output
    assert "4 records before them stood there already" in result.output
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
        (["{a}", "file://{tmp}/b", "--sequencer", "0", "--from-offset", "6"], "6 is past next offset 5"),
        (["{a}", "file://{tmp}/b", "--sequencer", "0", "--to-offset", "6"], "6 is past next offset 5"),
        (["{a}", "file://{tmp}/b", "--sequencer", "0", "--from-offset", "3", "--to-offset", "2"], "--to-offset 2 is"),
        (["{a}", "file://{tmp}/b", "--sequencer", "0", "--resume", "--append"], "exclude each other"),
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


def test_an_error_half_way_is_told_with_what_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says from which offset on; the same command with --resume brings the rest, once."""
    monkeypatch.setattr(buffer_copy, "POLL_RECORDS", 5)
    source, destination = file_buffer(tmp_path / "a", 23), f"file://{tmp_path}/b"
    plain = buffer_copy.copy

    def failing(reader: Any, writer: Any, *rest: Any) -> None:
        plain(reader, FaultyWriter(writer, random.Random(5), Faults(lost_acknowledgement=0.3)), *rest)

    with monkeypatch.context() as broken:
        broken.setattr(buffer_copy, "copy", failing)
        result = run("copy", source, destination, "--sequencer", "0")
    assert result.exit_code == 3, result.output
    assert "injected: acknowledgement lost" in result.stderr
    stands = len(read_all(connect(destination)))
    assert 5 < stands < 23
    assert f"everything below source offset {stands - 5} stands; go on with the same command" in result.stdout
    result = run("copy", source, destination, "--sequencer", "0", "--resume")
    assert result.exit_code == 0, result.output
    assert read_all(connect(destination)) == read_all(connect(source))


def test_info_shows_offsets_size_and_identity(tmp_path: Path) -> None:
    """A line for each sequencer; for programs the same as JSON."""
    url = file_buffer(tmp_path / "a", 3, 0)
    text = run("info", url)
    assert text.exit_code == 0, text.output
    assert text.output.startswith(f"{url}\npowers: Durable, Measurable, SeekableByTime, Trimmable\n")
    found = json.loads(run("info", url, "--json").stdout)
    reader = connect(url).open_reader()
    assert [(one["first"], one["next"], one["identity"]) for one in found["sequencers"]] == [
        (0, 3, reader.identity(ONE)),
        (0, 0, reader.identity(SequencerId(1))),
    ]
    assert found["sequencers"][0]["bytes"] >= 3 * len(record(0))
    assert "in the memory of one process" in run("info", "memory:x").stderr


# What it does


def copied(source: MemoryBackend, destination: MemoryBackend, faults: Faults, seed: int) -> CopyReport:
    """Copy with faults, going on after each, until it is complete; the last report."""
    reader, there = source.open_reader(), destination.open_reader()
    writer = FaultyWriter(destination.open_writer(), random.Random(seed), faults)
    while True:
        span = span_of(reader, ONE, None, None)
        report = CopyReport.of(span)
        find_resumption(reader, there, span, report, lambda _: None)
        try:
            copy(reader, writer, span, report, lambda _: None)
        except Unavailable:
            continue
        return report


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(0, 100))
def test_however_often_it_breaks_the_copy_ends_up_equal(sequences: list[int], seed: int) -> None:
    """Refused appends and lost acknowledgements: no record lost, none twice, also where the source has repeats."""
    with pytest.MonkeyPatch.context() as small:
        small.setattr(buffer_copy, "POLL_RECORDS", 4)
        source, destination = memory(), memory()
        for sequence in sequences:
            source.open_writer().append(ONE, record(sequence))
        report = copied(source, destination, Faults(refused=0.3, lost_acknowledgement=0.3), seed)
    assert read_all(destination) == read_all(source)
    assert report.is_complete
    assert report.records + report.found == len(sequences)


def test_a_destination_that_knows_repeats_is_no_other_copy() -> None:
    """Where a backend stored a producer's record once, going on passes the source's repeat over."""
    source, destination = memory(), memory()
    for sequence in (0, 1, 0, 2, 2, 3):
        source.open_writer().append(ONE, record(sequence))
    destination.open_writer().append_many(ONE, records([0, 1, 2]))
    report = copied(source, destination, Faults(), 0)
    assert [each for _, each in read_all(destination)] == records([0, 1, 2, 2, 3])
    assert (report.found, report.left_out, report.records, report.gaps_count) == (3, 1, 2, 0)


@pytest.mark.parametrize("held", [[0, 2], [1], [0, 1, 2, 3, 4], [0, 0]])
def test_what_is_not_the_beginning_of_the_copy_is_never_gone_on_with(held: list[int]) -> None:
    """A record that is missing, foreign, repeated or too many at the destination: refused, and nothing is appended."""
    source, destination = memory(4), memory()
    destination.open_writer().append_many(ONE, records(held))
    with pytest.raises(InvalidRequest, match="is not the one that a copy of 0 to 4 has there"):
        copied(source, destination, Faults(), 0)
    assert len(read_all(destination)) == len(held)


def test_gaps_in_the_source_are_told() -> None:
    """Offsets that hold no record, in between and at the end, the first of them by number."""
    report = CopyReport(0, from_offset=10, to_offset=30, go_on_at=10)
    for offset in (10, 13, 14, 20):
        report._passed(Offset(offset))
    report.ended()
    assert (report.gaps_count, report.gaps) == (3, [(11, 13), (15, 20), (21, 30)])
    assert report.is_complete


def test_a_destination_whose_beginning_was_trimmed_cannot_be_compared() -> None:
    """It is told with the way out."""
    source, destination = memory(9), memory(5)
    destination.open_writer().trim(ONE, Offset(2))
    with pytest.raises(InvalidRequest, match="begins at 2: its oldest records were removed"):
        copied(source, destination, Faults(), 0)
