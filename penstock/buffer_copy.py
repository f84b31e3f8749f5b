"""One sequencer's records from a write buffer to another, in order and in bounded memory.

One append is under way at a time: were a second one sent before the first is durable, the first could fail and the
second stand, and the copy would have a hole. So whatever ends a copy, what stands at the destination is a prefix of it,
and going on means to compare that prefix with the source, record by record, and to append what follows.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from typing import Any

from common.errors import InvalidRequest, Misconfigured, Unavailable
from common.ids import Offset, SequencerId
from ingester.producers import Producers
from writebuffer.contract import AppendedRange, Reader, SequencedRecord, Writer
from writebuffer.errors import OffsetInFuture, OffsetTrimmed

POLL_RECORDS = 2_000
POLL_BYTES = 4 * 2**20
POLL_TIMEOUT_S = 10.0
GAPS_TOLD = 20


@dataclass(frozen=True, slots=True)
class Span:
    """What to copy: offsets [from_offset, to_offset) of one sequencer of the source."""

    sequencer: SequencerId
    from_offset: Offset
    to_offset: Offset


@dataclass
class CopyReport:
    """Counts so far, right also when an error ends the copy half way. Offsets are None where there is no record.

    found: records that an earlier copy had brought. left_out: repeats among them that the destination did not store, as
    it knew the producer's record already. records, bytes: appended and durable at the destination.
    source_first..source_last → destination_first..destination_last: of these. gaps: offsets [first, next) of the source
    that hold no record, the first GAPS_TOLD of `gaps_count`. go_on_at: the first source offset that is not copied.
    """

    sequencer: int
    from_offset: int
    to_offset: int
    go_on_at: int
    found: int = 0
    left_out: int = 0
    records: int = 0
    bytes: int = 0
    source_first: int | None = None
    source_last: int | None = None
    destination_first: int | None = None
    destination_last: int | None = None
    gaps_count: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, span: Span) -> "CopyReport":
        return cls(span.sequencer, span.from_offset, span.to_offset, span.from_offset)

    @property
    def is_complete(self) -> bool:
        return self.go_on_at >= self.to_offset

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "complete": self.is_complete}

    def found_repeat(self, record: SequencedRecord) -> None:
        """`record` repeats an earlier one, and the destination holds that one alone."""
        self._passed(record.offset)
        self.left_out += 1

    def found_again(self, record: SequencedRecord) -> None:
        """`record` stands at the destination already."""
        self._passed(record.offset)
        self.found += 1

    def copied(self, records: list[SequencedRecord], appended: AppendedRange) -> None:
        """They are durable at the destination."""
        for record in records:
            self._passed(record.offset)
        self.records += len(records)
        self.bytes += sum(len(one.record) for one in records)
        if self.source_first is None:
            self.source_first, self.destination_first = records[0].offset, appended.first.offset
        self.source_last, self.destination_last = records[-1].offset, appended.last.offset

    def ended(self) -> None:
        """Nothing is left up to to_offset."""
        self._gap(self.to_offset)
        self.go_on_at = max(self.go_on_at, self.to_offset)

    def _passed(self, offset: Offset) -> None:
        self._gap(offset)
        self.go_on_at = offset + 1

    def _gap(self, next_offset: int) -> None:
        if next_offset > self.go_on_at:
            self.gaps_count += 1
            if len(self.gaps) < GAPS_TOLD:
                self.gaps.append((self.go_on_at, next_offset))


def span_of(reader: Reader, sequencer: SequencerId, from_offset: int | None, to_offset: int | None) -> Span:
    """What is asked for, by what there is: from the first to the next offset where none is given.

    Raises OffsetTrimmed, OffsetInFuture, InvalidRequest.
    """
    offsets = reader.offsets(sequencer)
    first = offsets.first_offset if from_offset is None else Offset(from_offset)
    end = offsets.next_offset if to_offset is None else Offset(to_offset)
    if first < offsets.first_offset:
        raise OffsetTrimmed(sequencer, first, offsets.first_offset)
    for asked in (first, end):
        if asked > offsets.next_offset:
            raise OffsetInFuture(sequencer, asked, offsets.next_offset)
    if end < first:
        raise InvalidRequest(f"sequencer {sequencer}: --to-offset {end} is below the first offset to copy, {first}")
    return Span(sequencer, first, end)


def check_different(source: Reader, destination: Reader, sequencer: SequencerId) -> None:
    """Raises Misconfigured where both are one buffer under two names."""
    if source.identity(sequencer) == destination.identity(sequencer):
        raise Misconfigured(
            "source and destination are the same write buffer: a copy would append its records to themselves; give "
            "another destination"
        )


def check_empty(destination: Reader, sequencer: SequencerId) -> None:
    """Raises Misconfigured where anything was ever appended."""
    offsets = destination.offsets(sequencer)
    if offsets.next_offset > 0:
        raise Misconfigured(
            f"sequencer {sequencer} of the destination is not empty (offsets {offsets.first_offset} to "
            f"{offsets.next_offset}): give --resume to go on with a copy that was interrupted, --append to put the "
            "records behind what stands there, or another destination",
            sequencer=sequencer,
            next_offset=offsets.next_offset,
        )


def copy(source: Reader, writer: Writer, span: Span, report: CopyReport, progress: Callable[[int], None]) -> None:
    """Append the records of `span` from report.go_on_at on, counting into `report`.

    progress: told the offsets passed. Raises what reading the source and appending to the destination raise.
    """
    pending: tuple[list[SequencedRecord], Future[AppendedRange]] | None = None
    for records in _batches(source, span, Offset(report.go_on_at)):
        if pending:
            _await(pending, report, progress)
        pending = records, writer.append_many(span.sequencer, [one.record for one in records])
    if pending:
        _await(pending, report, progress)
    report.ended()


def _await(
    pending: tuple[list[SequencedRecord], "Future[AppendedRange]"],
    report: CopyReport,
    progress: Callable[[int], None],
) -> None:
    records, appending = pending
    before = report.go_on_at
    report.copied(records, appending.result())
    progress(report.go_on_at - before)


def find_resumption(
    source: Reader, destination: Reader, span: Span, report: CopyReport, progress: Callable[[int], None]
) -> None:
    """Count into `report` what of `span` stands at the destination already, so that `copy` goes on behind it.

    A repeat in the source may be missing there: some backends store a producer's record once. Raises InvalidRequest
    where the destination holds something else than the beginning of this copy.
    """
    offsets = destination.offsets(span.sequencer)
    if offsets.first_offset > 0:
        raise InvalidRequest(
            f"sequencer {span.sequencer} of the destination begins at {offsets.first_offset}: its oldest records were "
            "removed, and what was copied cannot be compared any more. Copy the rest with --append --from-offset"
        )
    seen = Producers()
    originals = _records(source, span, span.from_offset)
    for copied in _records(destination, Span(span.sequencer, Offset(0), offsets.next_offset), Offset(0)):
        before = report.go_on_at
        original = _next_original(originals, copied, seen, report)
        if original is None:
            raise InvalidRequest(
                f"sequencer {span.sequencer}: the destination's record at {copied.offset} is not the one that a copy "
                f"of {span.from_offset} to {span.to_offset} has there: give the same --from-offset as before, or "
                "--append to put the records behind what stands",
                destination_offset=copied.offset,
            )
        report.found_again(original)
        progress(report.go_on_at - before)


def _next_original(
    originals: Iterator[SequencedRecord], copied: SequencedRecord, seen: Producers, report: CopyReport
) -> SequencedRecord | None:
    """The source's next record, where it is the one that was copied; repeats that were left out are passed over."""
    for original in originals:
        headers = original.record.headers
        if original.record == copied.record:
            seen.add(headers.producer_id, headers.producer_sequence, 0)
            return original
        if not seen.seen(headers.producer_id, headers.producer_sequence, 0):
            return None
        report.found_repeat(original)
    return None


def _records(reader: Reader, span: Span, start: Offset) -> Iterator[SequencedRecord]:
    for records in _batches(reader, span, start):
        yield from records


def _batches(reader: Reader, span: Span, start: Offset) -> Iterator[list[SequencedRecord]]:
    """Records of [start, span.to_offset), none of the lists empty. Raises Unavailable when the buffer stays silent."""
    cursor = reader.reader(span.sequencer)
    try:
        cursor.seek(start)
        at = start
        while at < span.to_offset:
            batch = cursor.poll(POLL_RECORDS, POLL_BYTES, POLL_TIMEOUT_S)
            if batch.next_offset == at:
                raise Unavailable(f"sequencer {span.sequencer}: nothing came at {at} in {POLL_TIMEOUT_S:g} s")
            at = batch.next_offset
            if records := [one for one in batch.records if one.offset < span.to_offset]:
                yield records
    finally:
        cursor.close()
