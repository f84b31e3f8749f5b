"""`penstock buffer`: records go from one write buffer to another, all of them, in order, once."""

import json
import random
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidRequest, Unavailable
from common.ids import Offset, SequencerId
from penstock import buffer_copy
from penstock.buffer_copy import CopyReport, Span, copy, span_of
from penstock.buffer_resumption import find_resumption
from penstock.cli import cli
from penstock.interrupts import interrupts_held
from tests.support.buffer_records import read_all, record, records
from writebuffer.connect import connect
from writebuffer.contract import Appended, AppendedRange, Batch, Offsets, Reader
from writebuffer.errors import OffsetTrimmed
from writebuffer.faults import Faults, FaultyWriter
from writebuffer.memory import MemoryBackend
from writebuffer.record import Record

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
    result = run("copy", source, destination, "--sequencer", "all", "--from-offset", 5, "--resume")
    assert result.exit_code == 2
    assert "does not hold the source's record at 5. Its last record, at 3, is the source's at 3" in result.stderr
    assert "or --append --from-offset 4 to go on behind it" in result.stderr
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

    def failing(reader: Any, there: Any, writer: Any, *rest: Any) -> None:
        plain(reader, there, FaultyWriter(writer, random.Random(5), Faults(lost_acknowledgement=0.3)), *rest)

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


def test_a_record_that_the_destination_stored_twice_is_no_obstacle(tmp_path: Path) -> None:
    """A broker that was killed may hold records twice, singly or in runs: a copy goes on behind them all the same."""
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
        span = span_of(reader, ONE, None, None, resume=True)
        report = CopyReport.of(span)
        find_resumption(reader, there, span, report, lambda _: None)
        try:
            copy(reader, there, writer, span, report, lambda _: None)
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


@pytest.mark.parametrize("held", [[0, 2], [1], [0, 1, 2, 3, 4]])
def test_what_is_not_the_beginning_of_the_copy_is_never_gone_on_with(held: list[int]) -> None:
    """A record that is missing, foreign or too many at the destination: refused, and nothing is appended."""
    source, destination = memory(4), memory()
    destination.open_writer().append_many(ONE, records(held))
    with pytest.raises(InvalidRequest, match=r"does not hold the source's|is not the one that a copy of 0 to 4 has"):
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


@pytest.mark.parametrize(
    ("removed", "advice"),
    [
        (2, "is the source's at 4: give the --from-offset that the copy began with, or --append --from-offset 5 to"),
        (5, "its records below 5 were removed, so that nothing can be compared. Go on with --append and"),
    ],
)
def test_a_destination_whose_beginning_was_trimmed_is_told_with_the_way_out(removed: int, advice: str) -> None:
    """By what is left of it, if anything is."""
    source, destination = memory(9), memory(5)
    destination.open_writer().trim(ONE, Offset(removed))
    with pytest.raises(InvalidRequest, match=advice):
        copied(source, destination, Faults(), 0)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.lists(st.integers(100, 103), max_size=3))
def test_a_copy_goes_on_although_the_source_was_trimmed(
    begun: int, copied_to: int, trimmed_to: int, others: list[int]
) -> None:
    """Behind its last record, wherever it began and whatever stood before; or it is refused, and nothing appended."""
    copied_to, trimmed_to = max(begun, copied_to), min(trimmed_to, 9)
    source, destination = memory(10), memory()
    held = others + list(range(begun, copied_to))
    for number in held:
        destination.open_writer().append(ONE, record(number))
    source.open_writer().trim(ONE, Offset(trimmed_to))
    reader, there = source.open_reader(), destination.open_reader()
    span = span_of(reader, ONE, begun, None, resume=True)
    report = CopyReport.of(span)
    if held and not begun <= max(begun, trimmed_to) < copied_to:
        with pytest.raises(InvalidRequest, match=rf"--append --from-offset {max(begun, trimmed_to, 0)} puts the rest"):
            find_resumption(reader, there, span, report, lambda _: None)
        return
    if not held and trimmed_to > begun:
        with pytest.raises(OffsetTrimmed):
            find_resumption(reader, there, span, report, lambda _: None)
        return
    find_resumption(reader, there, span, report, lambda _: None)
    copy(reader, there, destination.open_writer(), span, report, lambda _: None)
    assert [each for _, each in read_all(destination)] == records([*others, *range(begun, 10)])
    assert report.is_complete


def test_the_command_goes_on_although_the_source_was_trimmed(tmp_path: Path) -> None:
    """The same command as before, with the --from-offset that is there no more, or with none."""
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
        assert f"behind {15 - int(begun)} records of the destination that were not compared" in result.stdout


def _span_from_15(reader: Reader, *rest: Any, **how: Any) -> Span:
    """As of a reader that begins at 15."""
    end = reader.offsets(ONE).next_offset
    return span_of(Mock(offsets=lambda _: Offsets(Offset(15), end)), *rest, **how)


class _Broken:
    """A reader whose cursors fail at their poll number `at`, with `error`, once what was appended has come through."""

    def __init__(self, reader: Reader, at: int, error: BaseException) -> None:
        self._reader = reader
        self._at = at
        self._error = error

    def reader(self, sequencer: SequencerId) -> Any:
        cursor = self._reader.reader(sequencer)
        polls = iter(range(self._at))

        def poll(*limits: Any) -> Batch:
            if next(polls, None) is None:
                raise self._error
            return cursor.poll(*limits)

        return Mock(seek=cursor.seek, poll=poll, close=cursor.close)


@pytest.mark.parametrize("error", [OffsetTrimmed(ONE, 4, Offset(6)), KeyboardInterrupt()])
@pytest.mark.parametrize("delay", ["none", "latency", "forever"])
def test_what_was_sent_when_a_copy_ends_is_waited_for_and_counted(
    error: BaseException, delay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll that fails, or Ctrl-C: the report holds the last batch, or says that nothing was heard of it."""
    monkeypatch.setattr(buffer_copy, "POLL_RECORDS", 2)
    monkeypatch.setattr(buffer_copy, "SETTLE_S", 0.05 if delay == "forever" else 10.0)
    source, destination = memory(10), memory(latency_s=0.01 if delay == "latency" else 0.0)
    if delay == "forever":
        destination.hold()
    reader, there = source.open_reader(), destination.open_reader()
    span = span_of(reader, ONE, None, None)
    report = CopyReport.of(span)
    with pytest.raises(type(error)):
        copy(
            _Broken(reader, 1 if delay == "forever" else 2, error),  # type: ignore[arg-type]
            there,
            destination.open_writer(),
            span,
            report,
            lambda _: None,
        )
    if delay == "forever":
        assert (report.records, report.go_on_at, report.unknown_to) == (0, 0, 2)
    else:
        assert (report.records, report.go_on_at, report.unknown_to) == (4, 4, None)
        assert len(read_all(destination)) == 4


def test_ctrl_c_right_before_a_batch_is_counted_counts_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is durable, and stays so."""
    source, destination = memory(10), memory()
    steps = iter([True, False])

    def interrupted() -> Any:
        if next(steps, True):
            return interrupts_held()
        raise KeyboardInterrupt

    monkeypatch.setattr(buffer_copy, "interrupts_held", interrupted)
    reader = source.open_reader()
    span = span_of(reader, ONE, None, None)
    report = CopyReport.of(span)
    with pytest.raises(KeyboardInterrupt):
        copy(reader, destination.open_reader(), destination.open_writer(), span, report, lambda _: None)
    assert (report.records, report.left_out, report.go_on_at, report.unknown_to) == (10, 0, 10, None)


def test_a_refused_batch_leaves_nothing_in_doubt() -> None:
    """The error says that it was not written."""
    source, destination = memory(10), memory(capacity_bytes=10)
    reader = source.open_reader()
    span = span_of(reader, ONE, None, None)
    report = CopyReport.of(span)
    with pytest.raises(Unavailable, match="do not fit"):
        copy(reader, destination.open_reader(), destination.open_writer(), span, report, lambda _: None)
    assert (report.go_on_at, report.unknown_to) == (0, None)


@pytest.mark.parametrize(
    ("faults", "way_on"),
    [
        (Faults(refused=0.5), "go on with --append --sequencer 0 --from-offset {stands}"),
        (
            Faults(lost_acknowledgement=0.5),
            "whether {before} to {last} stand was not heard: go on with --resume --sequencer 0 --from-offset 3",
        ),
    ],
)
def test_an_interrupted_append_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults, way_on: str
) -> None:
    """Exactly, and doing so brings the rest once: nothing that stands is written again."""
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
    stands = 3 + len(read_all(backend)) - 5
    assert 3 < stands < 40
    said = way_on.format(stands=stands, before=stands - 4, last=stands - 1)
    assert said in result.stdout
    options = said.partition("go on with ")[2].split()
    result = run("copy", source, destination, *options)
    assert result.exit_code == 0, result.output
    assert [each for _, each in read_all(backend)] == records([*range(100, 105), *range(3, 40)])


def test_what_the_destination_knew_already_is_counted_apart() -> None:
    """Some backends store a producer's record once: the report tells what was stored, and where."""
    source, destination = memory(), memory()
    sequences = [0, 1, 0, 2, 2, 3, 1]
    for sequence in sequences:
        source.open_writer().append(ONE, record(sequence))
    reader, there = source.open_reader(), destination.open_reader()
    for stored in (4, 0):
        span = span_of(reader, ONE, None, None)
        report = CopyReport.of(span)
        copy(reader, there, _Once(destination), span, report, lambda _: None)  # type: ignore[arg-type]
        assert (report.records, report.left_out) == (stored, 7 - stored)
        assert report.bytes == sum(len(record(number)) for number in range(stored))
        assert report.is_complete
    assert (report.destination_first, report.source_first) == (None, None)
    assert [each for _, each in read_all(destination)] == records(range(4))


class _Once:
    """A writer that stores each producer's record once, and answers a repeat with where it stands."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._writer = backend.open_writer()

    def append_many(self, sequencer: SequencerId, asked: list[Record]) -> Future[AppendedRange]:
        places = []
        for one in asked:
            stands = {each: Appended(Offset(offset), each.append_time_ns) for offset, each in read_all(self._backend)}
            places.append(stands.get(one) or self._writer.append(sequencer, one).result(0))
        done: Future[AppendedRange] = Future()
        done.set_result(AppendedRange(places[0], places[-1]))
        return done
