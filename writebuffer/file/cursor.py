"""One independent reading position in a log that another process may be writing.

It never returns what lies above the horizon, and never skips: what was trimmed raises OffsetTrimmed, what is bad below
the horizon raises DataCorrupt, what does not follow what was read raises Forked (history.py), and the cursor stays
where it was. It passes the offsets that a salvage gave up as lost: FileReader.lost names them, and whoever follows a
stream asks there before it starts.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.store.disk_errors import plain
from common.values.clock import Clock
from common.values.errors import DataCorrupt, PenstockError, Unavailable
from common.values.ids import Offset
from writebuffer.checks import check_limits
from writebuffer.contract import Batch, SequencedRecord
from writebuffer.errors import SALVAGE, Closed, OffsetInFuture, OffsetTrimmed
from writebuffer.file.batch import LoadedBatch
from writebuffer.file.format import NO_EPOCH, Horizon, Place, SegmentHeader
from writebuffer.file.history import History
from writebuffer.file.horizon import current_horizon
from writebuffer.file.index import read_index
from writebuffer.file.walk import prove
from writebuffer.waiting import Deadline

_TICK_FIRST_S = 0.002
_TICK_LIVELY_S = 0.005
"""While records come, their reader wakes up within this time: 200 looks a second cost about 1 % of a core."""
_LIVELY_S = 1.0
"""How long after the last record another one is expected soon: a stream of a few records a second is never idle."""
_TICK_MAX_S = 0.250
"""An idle cursor looks at the horizon 4 times a second, about 0.1 % of a core in a process that does nothing else. More
seldom would be cheaper, but a query may wait for the record."""


class FileCursor:
    """Implements Cursor and SeekableByTime."""

    def __init__(self, place: Place, clock: Clock, reader_closed: threading.Event) -> None:
        self._place = place
        self._clock = clock
        self._reader_closed = reader_closed
        self._closed = False
        self._history = History(place)
        self._loaded: LoadedBatch | None = None
        self._unbounded = False
        """Without a horizon file nothing said up to where the blocks that the walk keeps were final."""
        self._tick_s = _TICK_FIRST_S
        self._lively_until_s = clock.monotonic_s() + _LIVELY_S
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
        """Reads the index of each segment from the first one on, then headers, then the one batch with the record.

        Where append times step back, a later record may be older: the first in order of offsets counts. Where a
        damaged one comes first, the cursor stays at it, and the next poll names it.
        """
        with self._reading():
            horizon = current_horizon(self._place)
            while True:
                try:
                    found = self._first_at(time_ns, horizon)
                    break
                except FileNotFoundError:  # trimmed meanwhile; what is left is looked through again
                    self._drop_walk()
            self._offset = horizon.durable_end if found is None else found

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        check_limits(max_records, max_bytes)
        deadline = Deadline(timeout_s, self._clock)
        while True:
            with self._reading():
                records = self._take(max_records, max_bytes)
            now_s = self._clock.monotonic_s()
            if records:
                self._tick_s, self._lively_until_s = _TICK_FIRST_S, now_s + _LIVELY_S
                return Batch(records, self._offset)
            if (left_s := deadline.left_s()) <= 0:
                return Batch((), self._offset)
            self._reader_closed.wait(min(self._tick_s, left_s))
            tick_max_s = _TICK_LIVELY_S if now_s < self._lively_until_s else _TICK_MAX_S
            self._tick_s = min(1.5 * self._tick_s, tick_max_s)

    def close(self) -> None:
        self._closed = True
        self._drop_walk()

    def _take(self, max_records: int, max_bytes: int) -> list[SequencedRecord]:
        horizon = current_horizon(self._place)
        if self._offset < horizon.first_offset:
            raise OffsetTrimmed(self._place.sequencer, self._offset, horizon.first_offset)
        if self._offset > horizon.durable_end:
            self._history.check_reaches(self._offset, horizon)
        if self._unbounded:
            self._drop_walk()
        self._unbounded = horizon.segment.epoch == NO_EPOCH
        records: list[SequencedRecord] = []
        try:
            for of_a_batch in self._records(horizon, max_records, max_bytes):
                records += of_a_batch
        except (PenstockError, OSError):
            if not records:
                raise
            self._drop_walk()  # the next poll meets the error again, and raises it
        if records:
            self._offset = Offset(records[-1].offset + 1)
        return records

    def _records(self, horizon: Horizon, room: int, room_bytes: int) -> Iterator[list[SequencedRecord]]:
        """What is durable from the cursor's offset on, batch by batch: the first record, and what has room with it."""
        offset = self._offset
        while room and offset < horizon.durable_end:
            loaded = self._loaded
            if loaded is None or not loaded.base_offset <= offset < loaded.end_offset:
                loaded = self._loaded = self._load(offset, horizon)
            if loaded.is_lost:
                if offset > self._offset:
                    return
                offset = self._offset = min(loaded.end_offset, horizon.durable_end)
                continue
            end = min(loaded.end_offset, horizon.durable_end)
            count = min(end - offset, loaded.fitting(offset, room, room_bytes))
            if count < 1 and offset > self._offset:
                return
            try:
                records = loaded.records(offset, max(1, count))
            except DataCorrupt as error:
                raise DataCorrupt(
                    f"{self._place}: {error}. Restore the log from a copy; without one: {SALVAGE}",
                    sequencer=self._place.sequencer,
                    offset=offset,
                ) from None
            yield records
            room -= len(records)
            room_bytes -= loaded.bytes(offset, len(records))
            offset = Offset(offset + len(records))
            if offset < end:
                return

    def _first_at(self, time_ns: int, horizon: Horizon) -> Offset | None:
        self._history.segments.refresh()
        segment = self._history.segments.holding(max(horizon.first_offset, self._history.segments.first_offset))
        while segment and segment.base_offset < horizon.durable_end:
            following = self._history.segments.after(segment)
            end = min(following.base_offset, horizon.durable_end) if following else horizon.durable_end
            found = self._first_in(segment, end, time_ns, horizon)
            if found is not None:
                return found
            segment = following
        return None

    def _first_in(self, segment: SegmentHeader, end: Offset, time_ns: int, horizon: Horizon) -> Offset | None:
        """The first record of `segment` below `end` appended at or after `time_ns`."""
        index = read_index(self._place, segment)
        entry = index.before_time(time_ns) if index else None
        offset = entry.offset if entry else segment.base_offset
        while offset < end:
            walk = self._history.walk_at(offset, horizon)
            header = walk.peek()
            assert header is not None
            if header.greatest_time_ns >= time_ns and not header.is_lost:
                found = self._load(offset, horizon).first_at(time_ns)
                if found is not None:
                    return found
            offset = header.end_offset
        return None

    def _load(self, offset: Offset, horizon: Horizon) -> LoadedBatch:
        walk = self._history.walk_at(offset, horizon)
        header = walk.peek()
        assert header is not None
        body = walk.stored()
        if body is None:
            raise self._history.corrupt(walk, horizon)
        loaded = LoadedBatch.of(header, body)
        if loaded is None:
            walk.fault = "the batch's lengths do not add up to its body"
            raise self._history.corrupt(walk, horizon)
        self._history.read(header)
        return loaded

    def _drop_walk(self) -> None:
        self._history.drop_walk()
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
            self._history.segments.refresh()
            raise self._history.missing(self._offset) from error
        except OSError as error:
            self._drop_walk()
            raise self._unreadable(error) from error
        except PenstockError:
            self._drop_walk()
            raise

    def _unreadable(self, error: OSError) -> Unavailable:
        reason = plain(error, self._place.folder)
        return Unavailable(f"{self._place}: cannot be read: {reason}", sequencer=self._place.sequencer)

    def _beyond(self, offset: Offset, horizon: Horizon) -> PenstockError:
        """Past the durable end. After a power cut the newest batch counts again once the writer has opened the log."""
        self._history.segments.refresh()
        if offset > prove(self._place, self._history.segments).valid_end:
            return OffsetInFuture(self._place.sequencer, offset, horizon.durable_end)
        return Unavailable(
            f"{self._place}: offset {offset} is written but not yet proven durable (up to {horizon.durable_end} is); "
            "it is once the log's writer has synced it, or was started again",
            sequencer=self._place.sequencer,
        )
