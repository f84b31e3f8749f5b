"""Where an interrupted copy goes on: found by comparing what stands at the destination with the source.

The destination's records are searched for the first one to copy; from there to the destination's end they must be the
source's, one by one, and behind the last of them the copy goes on. What stands before is left as it is: records that
the source no longer has, or that others had put there before a copy with --append.

A repeat in the source may be missing at the destination: some backends store a producer's record once. A record may
stand at the destination once more than in the source: some store it again when an acknowledgement was lost.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from common.errors import InvalidRequest
from common.ids import Offset
from ingester.producers import Producers
from penstock.buffer_copy import CopyReport, Span, batches
from writebuffer.contract import Reader, SequencedRecord
from writebuffer.errors import OffsetTrimmed
from writebuffer.record import Record


def find_resumption(
    source: Reader, destination: Reader, span: Span, report: CopyReport, progress: Callable[[int], None]
) -> None:
    """Count into `report` what of `span` stands at the destination already, so that `copy` goes on behind it.

    Raises InvalidRequest, with what can be done, where the destination holds something else; OffsetTrimmed where it
    holds nothing, and the beginning of what was asked for is there no more.
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
            raise _refused(source, destination, span, there, f"does not hold the source's record at {span.from_offset}")
        _count(first, report, seen, progress)
        original = next(originals, None)
        for copied in copies:
            if original and original.record != copied.record and not _was_seen(copied, seen):
                original = _behind_repeats(original, originals, copied, seen, report)
            if original and original.record == copied.record:
                _count(original, report, seen, progress)
                original = next(originals, None)
            elif not _was_seen(copied, seen):
                what = f"holds a record at {copied.offset} that is not the one that a copy of {_named(span)} has there"
                raise _refused(source, destination, span, there, what)


def _find(wanted: Record, copies: Iterator[SequencedRecord], seen: Producers, report: CopyReport) -> bool:
    """Take `copies` up to and with the first that is `wanted`; the others before it are counted and seen."""
    for copied in copies:
        if copied.record == wanted:
            return True
        report.before += 1
        _see(copied.record, seen)
    return False


def _behind_repeats(
    original: SequencedRecord,
    originals: Iterator[SequencedRecord],
    copied: SequencedRecord,
    seen: Producers,
    report: CopyReport,
) -> SequencedRecord | None:
    """The source's first record from `original` on that is `copied`, or no repeat: repeats may have been left out."""
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
    """Why it cannot be gone on with, and the way out: by where the destination's last record stands in the source."""
    last: SequencedRecord | None = None
    with closing(_records(destination, there)) as copies:
        for copied in copies:
            last = copied
    place = f"sequencer {span.sequencer}: the destination {what}"
    if last is None:
        return InvalidRequest(
            f"{place}: its records below {there.to_offset} were removed, so that nothing can be compared. Go on with "
            "--append and --from-offset, the offset at which the report of the interrupted copy ends",
            destination_offset=there.to_offset,
        )
    end = _last_offset_of(last.record, source, span)
    if end is None:
        advice = (
            f"Its last record, at {last.offset}, is none of the source's either. If it is a copy of what the source no "
            f"longer has, --append --from-offset {span.from_offset} puts the rest behind it, and what lay between is "
            "missing"
        )
    else:
        advice = (
            f"Its last record, at {last.offset}, is the source's at {end}: give the --from-offset that the copy began "
            f"with, or --append --from-offset {end + 1} to go on behind it"
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
