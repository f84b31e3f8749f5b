"""One sequencer's records from a write buffer to another, in order and in bounded memory.

One append is under way at a time: were a second one sent before the first is durable, the first could fail and the
second stand, and the copy would have a hole. So whatever ends a copy, what stands at the destination is a prefix of it,
and going on means to compare that prefix with the source, record by record, and to append what follows
(buffer_resumption.py).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from common.errors import InvalidRequest, Misconfigured, PenstockError, Unavailable
from common.ids import Offset, SequencerId
from penstock.interrupts import interrupts_held
from writebuffer.contract import AppendedRange, Reader, SequencedRecord, Writer
from writebuffer.errors import OffsetInFuture, OffsetTrimmed
from writebuffer.record import Record

POLL_RECORDS = 2_000
POLL_BYTES = 4 * 2**20
POLL_TIMEOUT_S = 10.0
SETTLE_S = 10.0
"""So long an interrupted copy waits to hear what became of its last batch."""
GAPS_TOLD = 20


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets [from_offset, to_offset) of one sequencer.

    asked_from: what was asked for, where it lies below from_offset and is there no more.
    """

    sequencer: SequencerId
    from_offset: Offset
    to_offset: Offset
    asked_from: Offset | None = None


@dataclass
class CopyReport:
    """Counts so far, right also when an error ends the copy half way. Offsets are None where there is no record.

    before: records at the destination that stand before what is compared. found: records that an earlier copy had
    brought. left_out: those that the destination did not store, as it knew the producer's record already.
    records, bytes: appended and durable at the destination. source_first..source_last →
    destination_first..destination_last: of these. gaps: offsets [first, next) of the source that hold no record, the
    first GAPS_TOLD of `gaps_count`. go_on_at: the first source offset that is not copied, as far as is known; of the
    records of [go_on_at, unknown_to) the first ones may stand all the same: they were sent, and no answer came.
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
        """`record` repeats an earlier one, and the destination holds that one alone."""
        self._passed(record.offset)
        self.left_out += 1

    def found_again(self, record: SequencedRecord) -> None:
        """`record` stands at the destination already."""
        self._passed(record.offset)
        self.found += 1

    def sending(self, records: list[SequencedRecord]) -> None:
        """From now on they may stand at the destination."""
        self.unknown_to = records[-1].offset + 1

    def refused(self) -> None:
        """None of those that were being sent stands."""
        self.unknown_to = None

    def copied(
        self, sent: list[SequencedRecord], stored: list[Record], first_offset: Offset, last_offset: Offset
    ) -> None:
        """`sent` are durable at the destination: `stored` of them since now, there at first_offset..last_offset."""
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


def span_of(
    reader: Reader, sequencer: SequencerId, from_offset: int | None, to_offset: int | None, *, resume: bool = False
) -> Span:
    """What is asked for, by what there is: from the first to the next offset where none is given.

    resume: what is there no more may have been copied already. Raises OffsetTrimmed, OffsetInFuture, InvalidRequest.
    """
    offsets = reader.offsets(sequencer)
    first = offsets.first_offset if from_offset is None else Offset(from_offset)
    end = offsets.next_offset if to_offset is None else Offset(to_offset)
    if first < offsets.first_offset and not resume:
        raise OffsetTrimmed(sequencer, first, offsets.first_offset)
    asked_from = first if first < offsets.first_offset else None
    first = max(first, offsets.first_offset)
    for asked in (first, end):
        if asked > offsets.next_offset:
            raise OffsetInFuture(sequencer, asked, offsets.next_offset)
    if end < first:
        raise InvalidRequest(f"sequencer {sequencer}: --to-offset {end} is below the first offset to copy, {first}")
    return Span(sequencer, first, end, asked_from)


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


def copy(
    source: Reader,
    destination: Reader,
    writer: Writer,
    span: Span,
    report: CopyReport,
    progress: Callable[[int], None],
) -> None:
    """Append the records of `span` from report.go_on_at on, counting into `report`.

    progress: told the offsets passed. Raises what reading the source and appending to the destination raise. Whatever
    ends it, Ctrl-C included: what was sent is waited for, SETTLE_S at most, and counted.
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
        """What of it was stored anew, with first and last offset; records that the destination knew were not."""
        records = [one.record for one in self._records]
        first_offset, last_offset = appended.first.offset, appended.last.offset
        if first_offset < self._next_offset or last_offset - first_offset + 1 < len(records):
            end = self._destination.offsets(self._sequencer).next_offset
            new = Span(self._sequencer, self._next_offset, end)
            records = [one.record for each in batches(self._destination, new, new.from_offset) for one in each]
            first_offset, last_offset = new.from_offset, Offset(end - 1)
        return records, first_offset, last_offset


def batches(reader: Reader, span: Span, start: Offset) -> Iterator[list[SequencedRecord]]:
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
