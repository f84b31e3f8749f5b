"""Copying between write buffers beneath the command: equal in the end, however it breaks, and counted right."""

import random
from concurrent.futures import Future
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.signals import interrupts_held
from common.values.errors import InvalidRequest, Unavailable
from common.values.ids import Offset, SequencerId
from penstock.buffers import copy as buffer_copy
from penstock.buffers.copy import CopyReport, copy, span_of
from penstock.buffers.resumption import find_resumption
from tests.support.buffer_records import read_all, record, records
from writebuffer.contract import Appended, AppendedRange, Batch, Reader
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
    with pytest.raises(
        InvalidRequest, match=r"does not have the source's|has another record at \d+ than a copy of 0 to 4 "
    ):
        copied(source, destination, Faults(), 0)
    assert len(read_all(destination)) == len(held)


def test_gaps_in_the_source_are_reported() -> None:
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
        (5, "its records below 5 were removed, so nothing can be compared. Continue with --append and"),
    ],
)
def test_a_destination_whose_beginning_was_trimmed_is_reported_with_the_way_out(removed: int, advice: str) -> None:
    """By what is left of it, if anything is."""
    source, destination = memory(9), memory(5)
    destination.open_writer().trim(ONE, Offset(removed))
    with pytest.raises(InvalidRequest, match=advice):
        copied(source, destination, Faults(), 0)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.lists(st.integers(100, 103), max_size=3))
def test_a_copy_goes_on_although_the_source_was_trimmed(
    begun: int, copied_to: int, trimmed_to: int, others: list[int]
) -> None:
    """After its last record, wherever it began, after any earlier records; or it is refused, and nothing appended."""
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


class _Broken:
    """A reader whose cursors fail at their poll number `at`, with `error`, once what was appended has come through."""

    def __init__(self, reader: Reader, at: int, error: BaseException) -> None:
        self._reader = reader
        self._at = at
        self._error = error

    def cursor(self, sequencer: SequencerId) -> Any:
        cursor = self._reader.cursor(sequencer)
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


def test_what_the_destination_knew_already_is_counted_apart() -> None:
    """Some backends store a producer's record once: the report says what was stored, and where."""
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
    """A writer that stores each producer's record once, and answers a repeat with its place."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._writer = backend.open_writer()

    def append_many(self, sequencer: SequencerId, asked: list[Record]) -> Future[AppendedRange]:
        places = []
        for one in asked:
            found = {each: Appended(Offset(offset), each.append_time_ns) for offset, each in read_all(self._backend)}
            places.append(found.get(one) or self._writer.append(sequencer, one).result(0))
        done: Future[AppendedRange] = Future()
        done.set_result(AppendedRange(places[0], places[-1]))
        return done
