"""One independent reading position in a log that another process may be writing.

It never returns what lies above the horizon, and never skips: what was trimmed raises OffsetTrimmed, what is bad below
the horizon raises DataCorrupt, and the cursor stands where it stood.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.clock import Clock
from common.errors import DataCorrupt, PenstockError, Unavailable
from common.ids import Offset
from writebuffer.checks import check_limits
from writebuffer.contract import Batch, SequencedRecord
from writebuffer.errors import Closed, OffsetInFuture, OffsetTrimmed
from writebuffer.file.format import NO_EPOCH, Horizon, Place, record_bounds
from writebuffer.file.horizon import current_horizon
from writebuffer.file.segments import Segments
from writebuffer.file.walk import Walk, prove
from writebuffer.record import Record

_TICK_FIRST_S = 0.002
_TICK_MAX_S = 0.150
"""An idle cursor looks at the horizon 7 times a second, about 0.1 % of a core in a process that does nothing else. More
seldom would be cheaper, but a query may wait for the record."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One batch: record i stands at bytes bounds[i]..bounds[i + 1] of the body."""

    base_offset: Offset
    end_offset: Offset
    body: memoryview
    bounds: list[int]

    def record(self, offset: int) -> Record:
        index = offset - self.base_offset
        return Record.from_bytes(bytes(self.body[self.bounds[index] : self.bounds[index + 1]]))


class FileCursor:
    """Implements Cursor and SeekableByTime."""

    def __init__(self, place: Place, clock: Clock, reader_closed: threading.Event) -> None:
        self._place = place
        self._clock = clock
        self._reader_closed = reader_closed
        self._closed = False
        self._segments = Segments(place)
        self._walk: Walk | None = None
        self._loaded: _Loaded | None = None
        self._unbounded = False
        """Without a horizon file nothing said up to where the blocks that the walk keeps were final."""
        self._tick_s = _TICK_FIRST_S
        self._offset = Offset(0)
        self.seek_to_first()

    def seek(self, offset: Offset) -> None:
        with self._reading():
            horizon = current_horizon(self._place)
            if offset < horizon.first_offset:
                raise OffsetTrimmed(self._place.sequencer, offset, horizon.first_offset)
            if offset > horizon.durable_end:
                raise self._beyond(offset, horizon)
        self._offset = offset

    def seek_to_first(self) -> None:
        with self._reading():
            self._offset = current_horizon(self._place).first_offset

    def seek_to_next(self) -> None:
        with self._reading():
            self._offset = current_horizon(self._place).durable_end

    def seek_to_time(self, time_ns: int) -> None:
        """Reads the headers of the log from its first offset, and the one batch that holds the record."""
        with self._reading():
            horizon = current_horizon(self._place)
            offset = horizon.first_offset
            while offset < horizon.durable_end:
                walk = self._walk_at(offset, horizon)
                header = walk.peek()
                assert header is not None
                if header.greatest_time_ns >= time_ns:
                    loaded = self._load(offset, horizon)
                    self._offset = next(
                        Offset(at)
                        for at in range(loaded.base_offset, loaded.end_offset)
                        if loaded.record(at).append_time_ns >= time_ns
                    )
                    return
                offset = header.end_offset
            self._offset = horizon.durable_end

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        check_limits(max_records, max_bytes)
        deadline_s = self._clock.monotonic_s() + timeout_s
        while True:
            with self._reading():
                records = self._take(max_records, max_bytes)
            if records:
                self._tick_s = _TICK_FIRST_S
                return Batch(records, self._offset)
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0:
                return Batch((), self._offset)
            self._reader_closed.wait(min(self._tick_s, left_s))
            self._tick_s = min(1.5 * self._tick_s, _TICK_MAX_S)

    def close(self) -> None:
        self._closed = True
        self._drop_walk()

    def _take(self, max_records: int, max_bytes: int) -> list[SequencedRecord]:
        horizon = current_horizon(self._place)
        if self._offset < horizon.first_offset:
            raise OffsetTrimmed(self._place.sequencer, self._offset, horizon.first_offset)
        if self._unbounded:
            self._drop_walk()
        self._unbounded = horizon.segment.epoch == NO_EPOCH
        taken: list[SequencedRecord] = []
        room = max_bytes
        try:
            for one in self._records(horizon):
                room -= len(one.record)
                if taken and room < 0:
                    break
                taken.append(one)
                if len(taken) == max_records:
                    break
        except (PenstockError, OSError):
            if not taken:
                raise
            self._drop_walk()  # the next poll meets the error again, and raises it
        if taken:
            self._offset = Offset(taken[-1].offset + 1)
        return taken

    def _records(self, horizon: Horizon) -> Iterator[SequencedRecord]:
        offset = self._offset
        while offset < horizon.durable_end:
            loaded = self._loaded
            if loaded is None or not loaded.base_offset <= offset < loaded.end_offset:
                loaded = self._loaded = self._load(offset, horizon)
            for at in range(offset, min(loaded.end_offset, horizon.durable_end)):
                yield SequencedRecord(Offset(at), loaded.record(at))
            offset = loaded.end_offset

    def _load(self, offset: Offset, horizon: Horizon) -> _Loaded:
        walk = self._walk_at(offset, horizon)
        header = walk.peek()
        assert header is not None
        body = walk.body()
        if body is None:
            raise self._corrupt(walk, horizon)
        bounds = record_bounds(body, header.count)
        if bounds is None:
            walk.fault = "the batch's lengths do not add up to its body"
            raise self._corrupt(walk, horizon)
        return _Loaded(header.base_offset, header.end_offset, body, bounds)

    def _walk_at(self, offset: Offset, horizon: Horizon) -> Walk:
        """A walk that has peeked the batch with `offset`, which lies below the durable end."""
        walk = self._walk if self._walk and self._is_near(self._walk, offset) else self._start_walk(offset)
        walk.see(horizon)
        while (header := walk.peek()) and header.end_offset <= offset:
            walk.advance()
        if header is None:
            raise self._corrupt(walk, horizon)
        return walk

    def _is_near(self, walk: Walk, offset: Offset) -> bool:
        """Whether `offset` lies ahead in the walk's segment, or starts the next one."""
        holding = self._segments.holding(offset)
        return walk.end.offset <= offset and (holding is None or holding.base_offset <= walk.end.offset)

    def _start_walk(self, offset: Offset) -> Walk:
        self._drop_walk()
        self._segments.refresh()
        start = self._segments.holding(offset)
        if start is None:
            raise self._missing(offset)
        self._walk = Walk(self._place, self._segments, start)
        return self._walk

    def _drop_walk(self) -> None:
        if self._walk:
            self._walk.close()
            self._walk = None
        self._loaded = None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """After any error the next call starts from the folder again; segments may have been sealed or trimmed."""
        if self._closed or self._reader_closed.is_set():
            raise Closed(f"{self._place}: the cursor or its reader was closed")
        try:
            yield
        except FileNotFoundError as error:
            self._drop_walk()
            self._segments.refresh()
            raise self._missing(self._offset) from error
        except OSError as error:
            self._drop_walk()
            raise Unavailable(f"{self._place}: cannot be read: {error}", sequencer=self._place.sequencer) from error
        except PenstockError:
            self._drop_walk()
            raise

    def _missing(self, offset: Offset) -> PenstockError:
        sequencer, first_offset = self._place.sequencer, self._segments.first_offset
        if offset < first_offset:
            return OffsetTrimmed(sequencer, offset, first_offset)
        what = f"{self._place}: the segment with offset {offset} is not there"
        if self._segments.names:
            return Unavailable(f"{what} any more; poll again", sequencer=sequencer)
        return DataCorrupt(f"{what}, nor any other; restore the folder from a copy", sequencer=sequencer)

    def _beyond(self, offset: Offset, horizon: Horizon) -> PenstockError:
        """Past the durable end. After a power cut the newest batch counts again once the writer has opened the log."""
        self._segments.refresh()
        if offset > prove(self._place, self._segments).valid_end:
            return OffsetInFuture(self._place.sequencer, offset, horizon.durable_end)
        return Unavailable(
            f"{self._place}: offset {offset} is written but not yet proven durable (up to {horizon.durable_end} is); "
            "it is once the log's writer has synced it, or was started again",
            sequencer=self._place.sequencer,
        )

    def _corrupt(self, walk: Walk, horizon: Horizon) -> PenstockError:
        return DataCorrupt(
            f"{self._place}: offsets below {horizon.durable_end} were durable, but the log reads only up to "
            f"{walk.end.offset}: {walk.segment.name} at byte {walk.at_byte}: {walk.fault}. Nothing was cut; "
            "restore the segment from a copy, or seek past it and count what is missing",
            sequencer=self._place.sequencer,
            segment=str(walk.segment.name),
            at_byte=walk.at_byte,
            offset=walk.end.offset,
        )
