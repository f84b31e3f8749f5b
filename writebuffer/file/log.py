"""One sequencer's log, open for writing: commit a group, roll, trim. No thread of its own, only a timer now and then.

A group is durable once its fdatasync returned; only then is the horizon written with it, and `commit` returns. A failed
write closes the segment and the group is written again into a new one, once. A failed sync poisons the log: what the
disk has is unknown until it is opened again (recovery.py). A horizon that cannot be written fails no append: the
records are durable. It is written again a moment later, with every commit and trim, and at the close, which fails when
it cannot be written then.

Invariant: what is durable is one Horizon, replaced as a whole under the lock that publishes it, so that a trim on
another thread never publishes half of a commit.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from common.logs import Logger
from common.store.disk_errors import is_full, plain
from common.values.clock import Clock
from common.values.errors import Unavailable, Written
from common.values.ids import Epoch, Offset
from writebuffer.file.format import HEADER_BYTES, Body, ChainEnd, Horizon, Place, SegmentHeader, SegmentName
from writebuffer.file.horizon import HorizonFile
from writebuffer.file.index import remove_index, restore_indexes
from writebuffer.file.recovery import recover
from writebuffer.file.segment import OpenSegment
from writebuffer.file.segments import Segments
from writebuffer.record import Record

_PUBLISH_FIRST_S = 0.25
"""Until the horizon is written again; doubles up to _PUBLISH_MAX_S while it cannot be."""
_PUBLISH_MAX_S = 30.0


class LogWriter:
    """The one writer of a log. `commit` and `close` belong to one thread; `trim` may come from any."""

    def __init__(self, place: Place, clock: Clock, segment_bytes: int, logger: Logger) -> None:
        """Open the log, empty or not. Raises DataCorrupt, Forked, OSError."""
        self._place = place
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._logger = logger
        recovered = recover(place, clock, logger)
        self._link = recovered.end.link
        self._epoch = recovered.epoch
        self._segment: OpenSegment | None = None
        comes_next = SegmentName(recovered.end.offset, recovered.epoch)
        self._durable = Horizon(place.log_id, recovered.first_offset, recovered.end.offset, comes_next, 0)
        self._publishing = threading.Lock()
        """Held while `_durable` is replaced and until the file says the same."""
        self._unpublished: OSError | None = None
        """Why the file does not say what `_durable` does."""
        self._timer: threading.Timer | None = None
        self._closed = False
        self._horizon = HorizonFile(place)
        self.poison: OSError | None = None
        """Why nothing more is acknowledged here: a sync failed. The log must be opened again."""
        try:
            self._horizon.publish(self._durable)
            self._horizon.sync()
        except OSError:
            self._horizon.close()
            raise
        self._restore_indexes()

    @property
    def next_offset(self) -> Offset:
        return self._durable.durable_end

    @property
    def segment_name(self) -> SegmentName | None:
        """Of the segment that is being written, if any."""
        return self._segment.header.name if self._segment else None

    def commit(self, records: Sequence[Record]) -> Offset:
        """Make `records` (at least one) durable as one batch; returns the first one's offset.

        Raises Unavailable: written "no" when the disk is full, else "unknown". Afterwards look at `poison`.
        """
        if self.poison:
            raise self._unavailable("no", self.poison) from self.poison
        first_offset = self.next_offset
        body = Body.of(records)
        segment, end = self._write(body)
        try:
            segment.sync()
        except OSError as error:
            self.poison = error
            raise self._unavailable("unknown", error) from error
        self._link = end.link
        with self._publishing:
            before = self._durable
            self._durable = Horizon(before.log_id, before.first_offset, end.offset, segment.header.name, segment.end)
            self._publish()
        return first_offset

    def trim(self, before: Offset) -> Offset:
        """Remove whole sealed segments below `before`; returns the first offset left.

        Each removal is synced before the next, so that a crash never leaves a hole. The segment with the last durable
        record stays: one that was just started after it may be lost in a crash, and the log's end with it.
        """
        segments = Segments(self._place)
        segments.refresh()
        kept = segments.holding(min(before, Offset(self.next_offset - 1)))
        if kept is None:
            return self._durable.first_offset
        for name in segments.names:
            if name.base_offset >= kept.base_offset:
                break
            remove_index(self._place, name)
            self._place.disk.remove(self._place.path(str(name)))
            self._place.disk.sync_folder(self._place.folder)
        with self._publishing:
            self._durable = replace(self._durable, first_offset=kept.base_offset)
            self._publish()
        return kept.base_offset

    def close(self) -> None:
        """Seal the open segment. No error here loses anything that was written. A second call does nothing.

        Raises Unavailable when readers cannot yet see all that was acknowledged; everything is closed even then.
        """
        if self._closed:
            return
        self._seal(indexed=not self.poison)
        with self._publishing:
            self._closed = True
            if self._timer:
                self._timer.cancel()
            try:
                if not self.poison:  # else the log is opened again, and publishes all of it
                    self._publish_last()
            finally:
                self._horizon.close()

    def _write(self, body: Body) -> tuple[OpenSegment, ChainEnd]:
        written: Written = "no"
        for last in (False, True):
            try:
                segment = self._segment_for(body)
                return segment, segment.write(self.next_offset, body, 0)
            except OSError as error:
                # A batch that met a full disk is never whole; after another error it may be, and be found again.
                written = written if is_full(error) else "unknown"
                self._abandon(error)
                if last:
                    raise self._unavailable(written, error) from error
        raise AssertionError("unreachable")

    def _segment_for(self, body: Body) -> OpenSegment:
        """The open segment when the batch fits into it, else a new one, large enough for this batch at least."""
        if self._segment and not self._segment.has_room(body):
            self._seal(indexed=True)
        if self._segment is None:
            created_ms = self._clock.now_ns() // 1_000_000
            start = ChainEnd(self.next_offset, self._link)
            header = SegmentHeader.make(self._place.log_id, start, self._epoch, created_ms)
            least = 2 * HEADER_BYTES + len(body.data)
            self._segment = OpenSegment(self._place, header, max(self._segment_bytes, least), least=least)
        return self._segment

    def _abandon(self, error: OSError) -> None:
        """Leave the segment as it is; the next one may have the same base offset, hence a new epoch."""
        self._seal(indexed=False)
        self._epoch = Epoch(self._epoch + 1)
        self._logger.warning("write failed", place=str(self._place), next_offset=self.next_offset, error=str(error))

    def _seal(self, *, indexed: bool) -> None:
        if self._segment:
            self._segment.seal()
            if indexed:
                self._segment.write_index()
            self._segment = None

    def _restore_indexes(self) -> None:
        segments = Segments(self._place)
        with suppress(OSError):  # readers need no index
            segments.refresh()
            restore_indexes(self._place, segments, self._clock)

    def _publish(self) -> None:
        """Call it with `_publishing` held, like the methods below. The records are durable even where it fails."""
        if not self._write_horizon() and self._timer is None:
            self._plan_publishing(_PUBLISH_FIRST_S)

    def _plan_publishing(self, wait_s: float) -> None:
        self._timer = threading.Timer(wait_s, self._publish_again, (wait_s,))
        self._timer.daemon = True
        self._timer.start()

    def _publish_again(self, waited_s: float) -> None:
        """The timer's own call."""
        with self._publishing:
            self._timer = None
            if self._unpublished and not self._closed and not self._write_horizon():
                self._plan_publishing(min(2 * waited_s, _PUBLISH_MAX_S))

    def _publish_last(self) -> None:
        if self._unpublished and not self._write_horizon():
            raise Unavailable(
                f"{self._place}: offsets below {self._durable.durable_end} are durable, but readers cannot see "
                f"all of them: the horizon cannot be written ({self._unpublished}). They see them once the log is "
                "opened for writing again",
                written="unknown",
                sequencer=self._place.sequencer,
            )
        try:
            self._horizon.sync()
        except OSError as error:
            self._logger.warning("the horizon was not synced", place=str(self._place), error=str(error))

    def _write_horizon(self) -> bool:
        try:
            self._horizon.publish(self._durable)
        except OSError as error:
            if self._unpublished is None:
                self._logger.error("the horizon was not written", place=str(self._place), error=str(error))
            self._unpublished = error
        else:
            self._unpublished = None
        return self._unpublished is None

    def _unavailable(self, written: Written, error: OSError) -> Unavailable:
        reason = plain(error, self._place.folder)
        if is_full(error) and not self.poison:
            what = reason
        elif self.poison:
            what = f"a sync failed: {reason}. The log is opened again before anything more is acknowledged"
        else:
            what = f"writing failed twice: {reason}. It is tried again with the next append"
        return Unavailable(f"{self._place}: {what}", written=written, sequencer=self._place.sequencer)
