"""Checking a whole log against itself: every checksum, link and length, from the first offset to the durable end.

Damage does not end it: it goes on after the bad batch where the segment's index names a later one, else in the next
segment, and says which offsets lie between. Nothing is locked, made or changed; a live log is checked up to the durable
end of the moment at which it began.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from common.values.errors import DataCorrupt, Forked, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.file.batch import LoadedBatch
from writebuffer.file.format import HEADER_BYTES, BatchHeader, Horizon, Place, SegmentHeader
from writebuffer.file.horizon import current_horizon, read_horizon
from writebuffer.file.index import index_name, read_index
from writebuffer.file.segments import Segments
from writebuffer.file.walk import BatchBoundary, Walk


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a byte of a segment: the records first_offset..next_offset - 1 cannot be read."""

    sequencer: SequencerId
    segment: str
    at_byte: int
    first_offset: Offset
    next_offset: Offset
    what: str


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
        horizon = self._horizon()
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

    def _follow(self, walk: Walk, horizon: Horizon) -> Generator[Problem, None, str]:
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

    def _check(self, walk: Walk, header: BatchHeader) -> Iterator[Problem]:
        self.batches += 1
        self.bytes += HEADER_BYTES + header.body_length
        body = walk.stored()
        loaded = LoadedBatch.of(header, body) if body else None
        if loaded is None:
            what = "the batch's lengths do not add up to its body" if body else walk.fault
            yield self._problem(str(walk.segment.name), walk.at_byte, header.base_offset, header.end_offset, what)
            return
        for offset, what in loaded.damaged():
            yield self._problem(str(walk.segment.name), walk.at_byte, offset, Offset(offset + 1), what)
        self.records += header.count

    def _after(self, walk: Walk, horizon: Horizon) -> tuple[tuple[SegmentHeader, BatchBoundary | None] | None, Offset]:
        """Where checking can go on, and the offset there."""
        counting = [one for one in self._segments.counting() if one.base_offset > walk.segment.base_offset]
        end = min(counting[0].base_offset if counting else horizon.durable_end, horizon.durable_end)
        index = read_index(self._place, walk.segment)
        for entry in index.after(walk.at_byte) if index else ():
            if walk.end.offset < entry.offset < end and self._is_batch_at(walk.segment, entry.boundary):
                return (walk.segment, entry.boundary), entry.offset
        return ((counting[0], None) if counting else None), end

    def _is_batch_at(self, segment: SegmentHeader, at: BatchBoundary) -> bool:
        walk = Walk(self._place, self._segments, segment, at)
        try:
            return walk.peek() is not None
        finally:
            walk.close()

    def _trimmed(self, walk: Walk) -> Unavailable:
        return Unavailable(
            f"{self._place}: trimmed while it was checked, from offset {walk.end.offset} on; check it again",
            sequencer=self._place.sequencer,
        )

    def _problem(self, segment: str, at_byte: int, first: Offset, end: Offset, what: str) -> Problem:
        return Problem(self._place.sequencer, segment, at_byte, first, end, what)
