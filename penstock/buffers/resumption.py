"""Where an interrupted copy continues: found by comparing the destination's records with the source's.

The destination is searched for the first record to copy. From there to its end its records must be the source's, one by
one; the copy continues after the last of them. Records before that are left as they are: the source no longer has them,
or others appended them before a copy with --append.

A repeat in the source may be missing at the destination, because some backends store a producer's record once. A record
may be at the destination once more than in the source, because some store it again when an acknowledgement was lost.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from common.catalog.manifest.producers import Producers
from common.values.errors import InvalidRequest
from common.values.ids import Offset
from penstock.buffers.copy import CopyReport, Span, batches
from writebuffer.contract import Reader, SequencedRecord
from writebuffer.errors import OffsetTrimmed
from writebuffer.record import Record


def find_resumption(
    source: Reader, destination: Reader, span: Span, report: CopyReport, progress: Callable[[int], None]
) -> None:
    """Count into `report` the records of `span` that are at the destination already, so that `copy` continues there.

    Raises InvalidRequest, with what can be done, where the destination has other records; OffsetTrimmed where it is
    empty and the first records asked for no longer exist.
    """
    offsets = destination.offsets(span.sequencer)
    if offsets.next_offset == 0:
        if span.asked_from is not None:
            raise OffsetTrimmed(span.sequencer, span.asked_from, span.from_offset)
        return
    there = Span(span.sequencer, offsets.first_offset, offsets.next_offset)
    with closing(_records(source, span)) as originals, closing(_records(destination, there)) as copies:
        first = next(originals, None)
        if first is None or not _find(first.record, copies, seen := Producers(), report):
            raise _refused(source, destination, span, there, f"does not have the source's record at {span.from_offset}")
        _count(first, report, seen, progress)
        original = next(originals, None)
        for copied in copies:
            if original and original.record != copied.record and not _was_seen(copied, seen):
                original = _after_repeats(original, originals, copied, seen, report)
            if original and original.record == copied.record:
                _count(original, report, seen, progress)
                original = next(originals, None)
            elif not _was_seen(copied, seen):
                what = f"has another record at {copied.offset} than a copy of {_named(span)} would have"
                raise _refused(source, destination, span, there, what)


def _find(wanted: Record, copies: Iterator[SequencedRecord], seen: Producers, report: CopyReport) -> bool:
    """Read `copies` up to the first that is `wanted`, that one included. Those before it are counted and seen."""
    for copied in copies:
        if copied.record == wanted:
            return True
        report.before += 1
        _see(copied.record, seen)
    return False


def _after_repeats(
    original: SequencedRecord,
    originals: Iterator[SequencedRecord],
    copied: SequencedRecord,
    seen: Producers,
    report: CopyReport,
) -> SequencedRecord | None:
    """The source's first record from `original` on that is `copied`, or that is no repeat: repeats may be left out."""
    left: SequencedRecord | None = original
    while left and left.record != copied.record and _was_seen(left, seen):
        report.found_repeat(left)
        left = next(originals, None)
    return left


def _was_seen(one: SequencedRecord, seen: Producers) -> bool:
    headers = one.record.headers
    return seen.seen(headers.producer_id, headers.producer_sequence, 0)


def _count(original: SequencedRecord, report: CopyReport, seen: Producers, progress: Callable[[int], None]) -> None:
    before = report.go_on_at
    _see(original.record, seen)
    report.found_again(original)
    progress(report.go_on_at - before)


def _see(record: Record, seen: Producers) -> None:
    headers = record.headers
    seen.add(headers.producer_id, headers.producer_sequence, 0)


def _refused(source: Reader, destination: Reader, span: Span, there: Span, what: str) -> InvalidRequest:
    """Why the copy cannot be resumed, and what to do: by where the source has the destination's last record."""
    last: SequencedRecord | None = None
    with closing(_records(destination, there)) as copies:
        for copied in copies:
            last = copied
    place = f"sequencer {span.sequencer}: the destination {what}"
    if last is None:
        return InvalidRequest(
            f"{place}: its records below {there.to_offset} were removed, so nothing can be compared. Continue with "
            "--append and --from-offset: the offset at which the report of the interrupted copy ends",
            destination_offset=there.to_offset,
        )
    end = _last_offset_of(last.record, source, span)
    if end is None:
        advice = (
            f"Its last record, at {last.offset}, is not in the source either. If it is a copy of what the source no "
            f"longer has, --append --from-offset {span.from_offset} puts the rest after it; the records between are "
            "missing then"
        )
    else:
        advice = (
            f"Its last record, at {last.offset}, is the source's at {end}: give the --from-offset that the copy began "
            f"with, or --append --from-offset {end + 1} to continue after it"
        )
    return InvalidRequest(f"{place}. {advice}", destination_offset=last.offset)


def _last_offset_of(record: Record, source: Reader, span: Span) -> Offset | None:
    """Anywhere in the source below span.to_offset."""
    found: Offset | None = None
    first_offset = source.offsets(span.sequencer).first_offset
    with closing(_records(source, Span(span.sequencer, first_offset, span.to_offset))) as originals:
        for original in originals:
            if original.record == record:
                found = original.offset
    return found


def _named(span: Span) -> str:
    return f"{span.from_offset} to {span.to_offset}"


def _records(reader: Reader, span: Span) -> Generator[SequencedRecord]:
    for records in batches(reader, span, span.from_offset):
        yield from records
