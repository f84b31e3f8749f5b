"""The one history that a cursor follows: walks over it, from whichever offset is asked for, and refuses any other.

Going from segment to segment the walk compares the links. Where a new walk starts, the batch that was read last has to
be there still, with the same records, or else the segment that is entered has to follow the one before.
"""

from contextlib import suppress

from common.store.disk_errors import plain
from common.values.errors import DataCorrupt, Forked, PenstockError, Unavailable
from common.values.ids import Offset
from writebuffer.errors import SALVAGE, OffsetTrimmed
from writebuffer.file.buffer_json import check_same_buffer
from writebuffer.file.format import NO_EPOCH, BatchHeader, Horizon, Place
from writebuffer.file.index import check_follows, walk_near
from writebuffer.file.segments import Segments
from writebuffer.file.walk import Walk, named_far_ahead, prove

_NEAR = 4096
"""Offsets that a walk goes on to header by header, one group's at most; beyond, the index is faster."""


class History:
    """Keeps one walk, which goes on where the next offset is near. `segments` is the folder as it was last seen."""

    def __init__(self, place: Place) -> None:
        self.segments = Segments(place)
        self._place = place
        self._walk: Walk | None = None
        self._read: BatchHeader | None = None

    def walk_at(self, offset: Offset, horizon: Horizon) -> Walk:
        """A walk that has peeked the batch with `offset`, which lies below the durable end."""
        if self._walk and self._is_near(self._walk, offset):
            # What it meets may be how the folder was: only a walk that starts now reports damage and forks.
            with suppress(DataCorrupt, Forked):
                if _reach(self._walk, offset, horizon):
                    return self._walk
        walk = self._start_walk(offset, horizon)
        if not _reach(walk, offset, horizon):
            raise self.corrupt(walk, horizon)
        return walk

    def _is_near(self, walk: Walk, offset: Offset) -> bool:
        """Whether `offset` comes next, be it in the next segment, or lies a little ahead in the walk's own."""
        if self._read and offset == self._read.end_offset == walk.next_offset:
            return True
        holding = self.segments.holding(offset)
        ahead = offset - walk.end.offset
        return 0 <= ahead <= _NEAR and (holding is None or holding.base_offset <= walk.end.offset)

    def _start_walk(self, offset: Offset, horizon: Horizon) -> Walk:
        self.drop_walk()
        self.segments.refresh()
        read = self._read
        if read and read.base_offset <= offset <= read.end_offset:
            if walk := self._walk_from(read, horizon):
                return walk
            # It may be gone because everything is: there may be other segments under the same names.
            self.segments.refresh(reread=True)
            if walk := self._walk_from(read, horizon):
                return walk
        segment = self.segments.holding(offset)
        if segment is None:
            raise self.missing(offset)
        check_follows(self._place, self.segments, segment, horizon)
        self._walk = walk_near(self._place, self.segments, segment, offset, horizon)
        return self._walk

    def _walk_from(self, read: BatchHeader, horizon: Horizon) -> Walk | None:
        """A walk from the batch that was read last; None where it is gone, or rotted.

        Raises Forked when there are other records in its place.
        """
        segment = self.segments.holding(read.base_offset)
        if segment is None:
            return None
        try:
            walk = self._walk = walk_near(self._place, self.segments, segment, read.base_offset, horizon)
            found = walk.peek() if _reach(walk, read.base_offset, horizon) else None
        except FileNotFoundError:  # trimmed since it was listed
            found = None
        if found is None:
            self.drop_walk()
            return None
        if not found.holds_the_same(read):
            raise self._forked(
                f"the batch with offset {read.base_offset} ends at {found.end_offset} and is not the one that was read "
                f"here, which ended at {read.end_offset}",
                read.end_offset,
            )
        return walk

    def read(self, batch: BatchHeader) -> None:
        """`batch` was read: what is read after it has to follow it."""
        self._read = batch

    def drop_walk(self) -> None:
        if self._walk:
            self._walk.close()
            self._walk = None

    def check_reaches(self, offset: Offset, horizon: Horizon) -> None:
        """What was durable stays so: a log that ends before the cursor is not the one that it followed."""
        end = horizon.durable_end
        if horizon.segment.epoch == NO_EPOCH:  # proven by the segments, which leaves the newest batch out
            self.segments.refresh()
            end = prove(self._place, self.segments).valid_end
        if offset > end:
            raise self._forked(f"its next offset is {end}, but this reader was given what is below {offset}", offset)

    def _forked(self, difference: str, offset: Offset) -> Forked:
        return Forked(
            f"{self._place}: {difference}: the folder was emptied, or put back to an older state and written to since. "
            "Bring the right one back, or start its readers from the first offset",
            sequencer=self._place.sequencer,
            offset=offset,
        )

    def missing(self, offset: Offset) -> PenstockError:
        """What it means that no segment holds `offset`, as `segments` was seen last."""
        try:
            check_same_buffer(self._place)
        except OSError as error:
            reason = plain(error, self._place.folder)
            return Unavailable(f"{self._place}: cannot be read: {reason}", sequencer=self._place.sequencer)
        except PenstockError as error:
            return error
        sequencer, first_offset = self._place.sequencer, self.segments.first_offset
        if offset < first_offset:
            return OffsetTrimmed(sequencer, offset, first_offset)
        what = f"{self._place}: the segment with offset {offset} is not there"
        if self.segments.newest():
            return Unavailable(f"{what} any more; poll again", sequencer=sequencer)
        if self.segments.names:
            name = self.segments.names[-1]
            return DataCorrupt(
                f"{self._place}: offset {offset} was durable, but {name} at byte 0: no valid segment header. Nothing "
                "was cut; restore the segment from a copy of this very log",
                sequencer=sequencer,
                segment=str(name),
                at_byte=0,
                offset=offset,
            )
        return DataCorrupt(
            f"{what}, nor any other; restore the folder from a copy. Without one: {SALVAGE}", sequencer=sequencer
        )

    def corrupt(self, walk: Walk, horizon: Horizon) -> PenstockError:
        """What it means that `walk` ends below the durable end."""
        return DataCorrupt(
            f"{self._place}: offsets below {horizon.durable_end} were durable, but the log reads only up to "
            f"{walk.end.offset}: {walk.segment.name} at byte {walk.at_byte}: {walk.fault}"
            f"{named_far_ahead(self.segments, horizon.durable_end)}. Nothing was cut; "
            f"restore the segment from a copy of this very log. Without one: {SALVAGE}",
            sequencer=self._place.sequencer,
            segment=str(walk.segment.name),
            at_byte=walk.at_byte,
            offset=walk.end.offset,
        )


def _reach(walk: Walk, offset: Offset, horizon: Horizon) -> bool:
    """Walk until the batch with `offset` is peeked; False where there is none, for the reason that the walk has."""
    walk.see(horizon)
    while (header := walk.peek()) and header.end_offset <= offset:
        walk.advance()
    return header is not None
