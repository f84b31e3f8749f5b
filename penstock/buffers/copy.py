"""One sequencer's records from a write buffer to another, in order and in bounded memory.

One append is under way at a time. If a second one were sent before the first is durable, the first could fail and the
second succeed, and the copy would have a hole. So the destination always has a prefix of the copy, however the copy
ends. To resume means to compare that prefix with the source, record by record, and to append what follows
(resumption.py).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from common.signals import interrupts_held
from common.values.errors import InvalidRequest, Misconfigured, PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from penstock.terminal.offsets import check_within
from writebuffer.contract import AppendedRange, Reader, SequencedRecord, Writer
from writebuffer.errors import OffsetTrimmed
from writebuffer.record import Record

POLL_RECORDS = 2_000
POLL_BYTES = 4 * 2**20
POLL_TIMEOUT_S = 10.0
SETTLE_S = 10.0
"""How long an interrupted copy waits for the answer to its last batch."""
GAPS_LISTED = 20


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets [from_offset, to_offset) of one sequencer.

    asked_from: the first offset asked for, where it is below from_offset because it no longer exists.
    """

    sequencer: SequencerId
    from_offset: Offset
    to_offset: Offset
    asked_from: Offset | None = None


@dataclass
class CopyReport:
    """Counts so far, right also when an error ends the copy half way. Offsets are None where there is no record.

    before: records at the destination before those that are compared. found: records that an earlier copy appended.
    left_out: records that the destination did not store, because it had the producer's record already.
    records, bytes: appended and durable at the destination. source_first..source_last →
    destination_first..destination_last: of these. gaps: offsets [first, next) of the source without a record, the
    first GAPS_LISTED of `gaps_count`. go_on_at: the first source offset that is not copied, as far as is known. The
    records of [go_on_at, unknown_to) were sent and no answer came: some of the first may be at the destination.
    """

    sequencer: int
    from_offset: int
    to_offset: int
    go_on_at: int
    unknown_to: int | None = None
    before: int = 0
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
        """`record` repeats an earlier one; the destination has only the earlier one."""
        self._passed(record.offset)
        self.left_out += 1

    def found_again(self, record: SequencedRecord) -> None:
        """`record` is at the destination already."""
        self._passed(record.offset)
        self.found += 1

    def sending(self, records: list[SequencedRecord]) -> None:
        """From now on `records` may be at the destination."""
        self.unknown_to = records[-1].offset + 1

    def refused(self) -> None:
        """None of the records that were being sent was appended."""
        self.unknown_to = None

    def copied(
        self, sent: list[SequencedRecord], stored: list[Record], first_offset: Offset, last_offset: Offset
    ) -> None:
        """`sent` are durable at the destination; `stored` of them only now, at first_offset..last_offset there."""
        for record in sent:
            self._passed(record.offset)
        self.unknown_to = None
        self.records += len(stored)
        self.left_out += len(sent) - len(stored)
        self.bytes += sum(map(len, stored))
        if stored and self.source_first is None:
            self.source_first = next(one.offset for one in sent if one.record == stored[0])
            self.destination_first = first_offset
        if stored:
            self.source_last = next(one.offset for one in reversed(sent) if one.record == stored[-1])
            self.destination_last = last_offset

    def ended(self) -> None:
        """Everything up to to_offset is copied."""
        self._gap(self.to_offset)
        self.go_on_at = max(self.go_on_at, self.to_offset)

    def _passed(self, offset: Offset) -> None:
        self._gap(offset)
        self.go_on_at = offset + 1

    def _gap(self, next_offset: int) -> None:
        if next_offset > self.go_on_at:
            self.gaps_count += 1
            if len(self.gaps) < GAPS_LISTED:
                self.gaps.append((self.go_on_at, next_offset))


def span_of(
    reader: Reader, sequencer: SequencerId, from_offset: int | None, to_offset: int | None, *, resume: bool = False
) -> Span:
    """The offsets to copy: from the first to the next offset of the source where none are given.

    resume: offsets that no longer exist may have been copied already.

    Raises OffsetTrimmed, InvalidRequest.
    """
    offsets = reader.offsets(sequencer)
    first = offsets.first_offset if from_offset is None else Offset(from_offset)
    end = offsets.next_offset if to_offset is None else Offset(to_offset)
    if first < offsets.first_offset and not resume:
        raise OffsetTrimmed(sequencer, first, offsets.first_offset)
    asked_from = first if first < offsets.first_offset else None
    first = max(first, offsets.first_offset)
    check_within("--from-offset", first, sequencer, offsets.next_offset)
    check_within("--to-offset", end, sequencer, offsets.next_offset)
    if end < first:
        raise InvalidRequest(f"sequencer {sequencer}: --to-offset {end} is below the first offset to copy, {first}")
    return Span(sequencer, first, end, asked_from)


def check_different(source: Reader, destination: Reader, sequencer: SequencerId) -> None:
    """Raises Misconfigured where both are the same buffer under two names."""
    if source.identity(sequencer) == destination.identity(sequencer):
        raise Misconfigured(
            "source and destination are the same write buffer: a copy would append its records to itself; give "
            "another destination"
        )


def check_empty(destination: Reader, sequencer: SequencerId) -> None:
    """Raises Misconfigured where anything was ever appended to the destination."""
    offsets = destination.offsets(sequencer)
    if offsets.next_offset > 0:
        raise Misconfigured(
            f"sequencer {sequencer} of the destination is not empty (offsets {offsets.first_offset} to "
            f"{offsets.next_offset}): give --resume to continue a copy that was interrupted, --append to put the "
            "records after those that are there, or another destination",
            sequencer=sequencer,
            next_offset=offsets.next_offset,
        )


def copy(
    source: Reader,
    destination: Reader,
    writer: Writer,
    span: Span,
    report: CopyReport,
    progress: Callable[[int], None],
) -> None:
    """Append the records of `span` from report.go_on_at on, counting into `report`.

    progress: called with the number of offsets passed. Raises what reading the source and appending to the destination
    raise. However it ends, Ctrl-C included, it waits for the answer to what was sent, SETTLE_S at most, and counts it.
    """
    sent = _Sent(destination, writer, span.sequencer, report, progress)
    try:
        for records in batches(source, span, Offset(report.go_on_at)):
            sent.settle()
            sent.send(records)
        sent.settle()
    except BaseException:
        with suppress(PenstockError, TimeoutError):
            sent.settle(SETTLE_S)
        raise
    report.ended()


class _Sent:
    """The batch that is under way."""

    def __init__(
        self,
        destination: Reader,
        writer: Writer,
        sequencer: SequencerId,
        report: CopyReport,
        progress: Callable[[int], None],
    ) -> None:
        self._destination = destination
        self._writer = writer
        self._sequencer = sequencer
        self._report = report
        self._progress = progress
        self._next_offset = destination.offsets(sequencer).next_offset
        self._records: list[SequencedRecord] = []
        self._appending: Future[AppendedRange] | None = None

    def send(self, records: list[SequencedRecord]) -> None:
        self._records = records
        with interrupts_held():
            self._report.sending(records)
            try:
                self._appending = self._writer.append_many(self._sequencer, [one.record for one in records])
            except PenstockError:
                self._report.refused()
                raise

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until it is durable, and count it. Raises what its append raised; TimeoutError."""
        if self._appending is None:
            return
        before = self._report.go_on_at
        try:
            appended = self._appending.result(timeout_s)
        except Unavailable as error:
            if error.written == "no":
                self._report.refused()
            raise
        stored, first_offset, last_offset = self._stored(appended)
        with interrupts_held():
            self._report.copied(self._records, stored, first_offset, last_offset)
            self._next_offset = Offset(last_offset + 1)
            self._appending = None
        self._progress(self._report.go_on_at - before)

    def _stored(self, appended: AppendedRange) -> tuple[list[Record], Offset, Offset]:
        """The records of it that the destination did not have before, with their first and last offset."""
        records = [one.record for one in self._records]
        first_offset, last_offset = appended.first.offset, appended.last.offset
        if first_offset < self._next_offset or last_offset - first_offset + 1 < len(records):
            end = self._destination.offsets(self._sequencer).next_offset
            new = Span(self._sequencer, self._next_offset, end)
            records = [one.record for each in batches(self._destination, new, new.from_offset) for one in each]
            first_offset, last_offset = new.from_offset, Offset(end - 1)
        return records, first_offset, last_offset


def batches(reader: Reader, span: Span, start: Offset) -> Iterator[list[SequencedRecord]]:
    """Records of [start, span.to_offset), in lists that are not empty. Raises Unavailable when none come in time."""
    cursor = reader.cursor(span.sequencer)
    try:
        cursor.seek(start)
        at = start
        while at < span.to_offset:
            batch = cursor.poll(POLL_RECORDS, POLL_BYTES, POLL_TIMEOUT_S)
            if batch.next_offset == at:
                raise Unavailable(f"sequencer {span.sequencer}: no record came at offset {at} in {POLL_TIMEOUT_S:g} s")
            at = batch.next_offset
            if records := [one for one in batch.records if one.offset < span.to_offset]:
                yield records
    finally:
        cursor.close()
