"""Checking a whole log against itself: every checksum, link and length, from the first offset to the durable end.

Damage does not end it: it goes on after the bad batch where the segment's index names a later one, else in the next
segment, and says which offsets lie between. Nothing is locked, made or changed; a live log is checked up to the durable
end of the moment at which it began.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np

from common.values.errors import DataCorrupt, Forked, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.contract import Stretch
from writebuffer.file.batch import LoadedBatch
from writebuffer.file.format import BATCH_MAGIC, HEADER_BYTES, BatchHeader, Body, Horizon, Place, SegmentHeader
from writebuffer.file.horizon import current_horizon, read_horizon
from writebuffer.file.index import index_name, read_index
from writebuffer.file.segments import Segments
from writebuffer.file.walk import BatchBoundary, Walk
from writebuffer.record import Record


@dataclass(frozen=True, slots=True)
class Readable:
    """Records that can be read, from `first_offset` on: those of a batch, or a part where others of it are damaged."""

    first_offset: Offset
    body: Body

    @property
    def next_offset(self) -> Offset:
        return Offset(self.first_offset + self.body.count)

    def record(self, offset: Offset) -> Record:
        lengths = np.frombuffer(self.body.data, "<u4", self.body.count)
        at = offset - self.first_offset
        start = lengths.nbytes + int(lengths[:at].sum())
        return Record.from_bytes(self.body.data[start : start + int(lengths[at])])


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a byte of a segment: the records first_offset..next_offset - 1 cannot be read."""

    sequencer: SequencerId
    segment: str
    at_byte: int
    first_offset: Offset
    next_offset: Offset
    what: str


Content = Problem | Readable | Stretch
"""A Stretch is of offsets that a salvage gave up."""


class Verification:
    """Checks one log. The counts grow while `problems` is followed, and are whole at its end."""

    def __init__(self, place: Place, on_bytes: Callable[[int], None] = lambda length: None) -> None:
        """on_bytes: called with the length of each batch that was passed."""
        self._place = place
        self._on_bytes = on_bytes
        self._segments = Segments(place)
        self.records = 0
        self.batches = 0
        self.bytes = 0
        self.notes: list[str] = []
        """What is wrong with files that only help: readers do without them."""

    def problems(self) -> Iterator[Problem]:
        """Each as it is met. Raises Forked, Unavailable (it was trimmed away meanwhile, try again), OSError."""
        self._segments.refresh()
        for found in self.contents(self._horizon()):
            if isinstance(found, Problem):
                yield found

    def contents(self, horizon: Horizon) -> "Iterator[Content]":
        """What is below the horizon's durable end, in order of offsets. Raises as above."""
        self._segments.refresh()
        yield from self._beginning(horizon)
        at = self._first()
        while at:
            walk = Walk(self._place, self._segments, *at)
            walk.see(horizon)
            try:
                fault = yield from self._follow(walk, horizon)
            finally:
                walk.close()
            if walk.end.offset >= horizon.durable_end:
                return
            at, resumed = self._after(walk, horizon)
            yield self._problem(str(walk.segment.name), walk.at_byte, walk.end.offset, resumed, fault)

    def _horizon(self) -> Horizon:
        if read_horizon(self._place) is None:
            self.notes.append("the horizon file is missing or damaged; the segments prove the durable end")
        for segment in self._segments.counting():
            name = index_name(segment.name)
            if self._place.disk.stat(self._place.path(name)) and not read_index(self._place, segment):
                self.notes.append(f"{name} is damaged; readers do without it")
        return current_horizon(self._place)

    def _first(self) -> tuple[SegmentHeader, BatchBoundary | None] | None:
        counting = self._segments.counting()
        return (counting[0], None) if counting else None

    def _beginning(self, horizon: Horizon) -> Iterator[Problem]:
        """What is missing before the first segment that can be read at all."""
        first = self._first()
        start = min(first[0].base_offset if first else horizon.durable_end, horizon.durable_end)
        if start > horizon.first_offset:
            names = self._segments.names
            if names and names[0].base_offset <= horizon.first_offset:
                yield self._problem(str(names[0]), 0, horizon.first_offset, start, "no valid segment header")
            else:
                yield self._problem("", 0, horizon.first_offset, start, "the segment is not there")

    def _follow(self, walk: Walk, horizon: Horizon) -> "Generator[Content, None, str]":
        """Check batches up to the durable end or to where the chain breaks; returns why it does."""
        while walk.end.offset < horizon.durable_end:
            try:
                header = walk.peek()
            except FileNotFoundError:
                raise self._trimmed(walk) from None
            except (DataCorrupt, Forked) as error:
                return str(error)
            if header is None:
                return walk.fault
            yield from self._check(walk, header)
            walk.advance()
            self._on_bytes(HEADER_BYTES + header.body_length)
        return ""

    def _check(self, walk: Walk, header: BatchHeader) -> "Iterator[Content]":
        self.batches += 1
        self.bytes += HEADER_BYTES + header.body_length
        if header.is_lost:
            offsets = offsets_text(header.base_offset, header.end_offset)
            self.notes.append(f"{offsets}: lost, and given up by a salvage of this log")
            yield Stretch(header.base_offset, header.end_offset)
            return
        body = walk.stored()
        loaded = LoadedBatch.of(header, body) if body else None
        if body is None or loaded is None:
            what = "the batch's lengths do not add up to its body" if body else walk.fault
            yield self._problem(str(walk.segment.name), walk.at_byte, header.base_offset, header.end_offset, what)
            return
        self.records += header.count
        at = header.base_offset
        for offset, what in loaded.damaged():
            yield from _records_of(loaded, at, offset)
            yield self._problem(str(walk.segment.name), walk.at_byte, offset, Offset(offset + 1), what)
            at = Offset(offset + 1)
        if at == header.base_offset:
            yield Readable(at, Body.read(header, bytes(body.view)))
        else:
            yield from _records_of(loaded, at, header.end_offset)

    def _after(self, walk: Walk, horizon: Horizon) -> tuple[tuple[SegmentHeader, BatchBoundary | None] | None, Offset]:
        """Where checking can go on, and the offset there."""
        counting = [one for one in self._segments.counting() if one.base_offset > walk.segment.base_offset]
        end = min(counting[0].base_offset if counting else horizon.durable_end, horizon.durable_end)
        if found := self._next_batch(walk, end):
            return (walk.segment, found), found.offset
        return ((counting[0], None) if counting else None), end

    def _next_batch(self, walk: Walk, end: Offset) -> BatchBoundary | None:
        """Of the segment, below `end`, by its bytes: a header's checksum, seeded by its segment's, makes it sure."""
        file = self._place.disk.open(self._place.path(str(walk.segment.name)))
        try:
            data = file.read_at(0, file.size())
        finally:
            file.close()
        at = walk.at_byte
        while (at := data.find(BATCH_MAGIC, at)) >= 0:
            raw = data[at : at + HEADER_BYTES]
            header = BatchHeader.parse(raw, walk.segment) if len(raw) == HEADER_BYTES else None
            if header and walk.end.offset < header.base_offset < end:
                return BatchBoundary(header.base_offset, at, header.previous_link)
            at += 1
        return None

    def _trimmed(self, walk: Walk) -> Unavailable:
        return Unavailable(
            f"{self._place}: trimmed while it was checked, from offset {walk.end.offset} on; check it again",
            sequencer=self._place.sequencer,
        )

    def _problem(self, segment: str, at_byte: int, first: Offset, end: Offset, what: str) -> Problem:
        return Problem(self._place.sequencer, segment, at_byte, first, end, what)


def offsets_text(first: int, next_offset: int) -> str:
    """For a message: "offset 4", "offsets 4 to 9"."""
    return f"offset {first}" if next_offset - first == 1 else f"offsets {first} to {next_offset - 1}"


def _records_of(batch: LoadedBatch, first: Offset, end: Offset) -> Iterator[Readable]:
    if end > first:
        yield Readable(first, Body.of([one.record for one in batch.records(first, end - first)]))
