"""One sequencer of the memory backend: its records as bytes, what of them is durable, and what it keeps.

A record is two byte strings. Those are kept, uncopied, and a new record is made at each read.
"""

import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from common.values.clock import Clock
from common.values.errors import Forked, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.memory_options import MemoryOptions
from writebuffer.record import Record

_REMOVED = Record(b"", b"")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An append that is not acknowledged yet; `end` is one past its last record."""

    end: Offset
    future: "Future[Any]"
    result: Any


class MemoryStream:
    """Used under `lock` or `changed`, which share it. Readers see first_offset..durable_end.

    `acknowledge`, `release` and `delete` take the lock themselves: futures resolve outside of it, as their callbacks
    may append and read. One thread at a time resolves them, and as long as it does new appends queue up after them.
    """

    def __init__(self, sequencer: SequencerId, options: MemoryOptions, clock: Clock) -> None:
        self.sequencer = sequencer
        self.identity = uuid.uuid4().hex
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.polls_waiting = 0
        self.first_offset = Offset(0)
        self.written_end = Offset(0)
        self.durable_end = Offset(0)
        self.deleted = False
        self.holding = False
        self.resolving = False
        """A thread is resolving futures, and will come to those that wait."""
        self.kept_bytes = 0
        self._options = options
        self._capacity_bytes = options.capacity_bytes
        self._retains = (options.retention_bytes, options.retention_records, options.retention_s) != (None, None, None)
        self._clock = clock
        self._kept: list[Record] = []
        """From `_kept_from` on; below first_offset there is _REMOVED, until half of the list is."""
        self._kept_from = 0
        self._delayed = options.latency_s > 0
        self._unacknowledged: deque[_Waiting] = deque()
        self._unresolved: deque[_Waiting] = deque()
        """Durable, and their futures are about to resolve."""

    def add(self, records: Sequence[Record], added_bytes: int) -> Offset:
        """Keep them; returns the first one's offset. Raises Unavailable when there is no room."""
        if self._retains:
            self._retain(added_bytes)
        kept_bytes = self.kept_bytes + added_bytes
        if self.deleted or kept_bytes > self._capacity_bytes:
            self._refuse(added_bytes)
        first_offset = self.written_end
        self._kept += records
        self.kept_bytes = kept_bytes
        self.written_end = Offset(first_offset + len(records))
        return first_offset

    def settle(self, end: Offset) -> None:
        """Everything below `end` is durable now."""
        self.durable_end = end
        if self._retains:
            self._retain()
        if self.polls_waiting:
            self.changed.notify_all()

    def wait(self, future: "Future[Any]", result: Any) -> Offset:
        """Keep the append just added unacknowledged and unread; returns what to `acknowledge` it by."""
        self._unacknowledged.append(_Waiting(self.written_end, future, result))
        return self.written_end

    def acknowledge(self, end: Offset | None = None) -> None:
        """Appends that end at or below `end` are durable now, and resolve in order; all of them by default.

        Nothing while the buffer is held back.
        """
        with self.changed:
            self._acknowledge(end)
        self._resolve()

    def release(self) -> None:
        """What was held back is durable now, and resolves; hold nothing any more."""
        with self.changed:
            self.holding = False
            self._acknowledge(None)
        self._resolve()

    def delete(self) -> None:
        """Whoever waits for an append or a record gets Forked."""
        with self.changed:
            self.deleted = True
            waiting, self._unacknowledged = self._unacknowledged, deque()
            self.changed.notify_all()
        for one in waiting:
            with suppress(InvalidStateError):  # its writer was closed
                one.future.set_exception(self._forked())

    def trim(self, before: Offset) -> Offset:
        count = max(0, min(before, self.durable_end) - self.first_offset)
        at = self.first_offset - self._kept_from
        self.kept_bytes -= sum(record.checked_bytes for record in self._kept[at : at + count])
        self._kept[at : at + count] = [_REMOVED] * count
        self.first_offset = Offset(self.first_offset + count)
        self._compact()
        return self.first_offset

    def record(self, offset: int) -> Record:
        kept = self._kept[offset - self._kept_from]
        return Record(kept.header_block, kept.payload, checked_bytes=kept.checked_bytes)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Under `changed`. Raises Forked once the buffer was deleted."""
        with self.changed:
            self.check_not_deleted()
            if self._retains:
                self._retain()
            yield

    def check_not_deleted(self) -> None:
        if self.deleted:
            raise self._forked()

    def _retain(self, coming_bytes: int = 0) -> None:
        """Remove what is durable and beyond the retention, once `coming_bytes` have come."""
        end = self.first_offset
        left_bytes = self.kept_bytes + coming_bytes
        while end < self.durable_end and self._is_beyond(end, left_bytes):
            left_bytes -= self._kept[end - self._kept_from].checked_bytes
            end = Offset(end + 1)
        if end > self.first_offset:
            self.trim(end)

    def _is_beyond(self, offset: Offset, left_bytes: int) -> bool:
        options = self._options
        if options.retention_bytes is not None and left_bytes > options.retention_bytes:
            return True
        if options.retention_records is not None and self.written_end - offset > options.retention_records:
            return True
        if options.retention_s is None:
            return False
        return self._clock.now_ns() - self.record(offset).append_time_ns > options.retention_s * 1e9

    def _acknowledge(self, end: Offset | None) -> None:
        before = self.durable_end
        while not self.holding and self._unacknowledged and (end is None or self._unacknowledged[0].end <= end):
            acknowledged = self._unacknowledged.popleft()
            self._unresolved.append(acknowledged)
            self.durable_end = acknowledged.end
        if self.durable_end > before:
            self.settle(self.durable_end)

    def _resolve(self) -> None:
        with self.lock:
            if self.resolving:
                return
            self.resolving = True
        try:
            while waiting := self._next_unresolved():
                with suppress(InvalidStateError):  # its writer was closed
                    waiting.future.set_result(waiting.result)
        except BaseException:  # Ctrl-C: the next one goes on
            self.resolving = False
            raise

    def _next_unresolved(self) -> _Waiting | None:
        with self.lock:
            if not self._delayed:
                self._acknowledge(None)  # what queued up after those that are being resolved
            if not self._unresolved:
                self.resolving = False
                return None
            return self._unresolved.popleft()

    def _forked(self) -> Forked:
        return Forked(
            f"sequencer {self.sequencer}: the buffer was deleted since it was opened; open it again, and start its "
            "readers from the first offset",
            sequencer=self.sequencer,
        )

    def _refuse(self, added_bytes: int) -> None:
        self.check_not_deleted()
        raise Unavailable(
            f"sequencer {self.sequencer}: {self.kept_bytes} of {self._capacity_bytes} bytes are used, "
            f"{added_bytes} more do not fit; trim it, writing then resumes",
            written="no",
            sequencer=self.sequencer,
        )

    def _compact(self) -> None:
        """Each record is moved once at most on average, however often a little is removed."""
        removed = self.first_offset - self._kept_from
        if removed > len(self._kept) // 2:
            del self._kept[:removed]
            self._kept_from = self.first_offset
