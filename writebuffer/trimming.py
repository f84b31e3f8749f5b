"""Trimming by policy: who owns a buffer removes what every consumer has made durable, but keeps some history.

Nothing at or above the least of the replay offset and every registered cursor is ever removed. Below it, records stay
for replays as long as both `keep_age_s` and `keep_bytes` allow. A router does this with a Trimmable writer (a log
folder), an ingester with a Trimmable reader, for its own sequencer (a broker); so exactly one of them does.

Age is that of append times, which every record carries. They need not grow with offsets, as every router has a clock of
its own. With SeekableByTime no record younger than keep_age_s is removed. Without it the place is found by bisection,
reading a record for each step: then none is removed that is younger than keep_age_s less the clocks' disorder, which is
the most by which a record's append time lies after that of a later one.
Size is known where the reader is Measurable; else keep_bytes has no effect (`limits_not_kept` says so at the start).
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing

from common.logs import Logger
from common.values.clock import Clock
from common.values.config import RetentionConfig
from common.values.errors import Forked, PenstockError
from common.values.ids import Offset, SequencerId
from writebuffer.contract import Cursor, Measurable, Offsets, Reader, SeekableByTime, Trimmable
from writebuffer.waiting import TRIM_STOP_S

_TIME_MIN_NS = -(2**63)
"""The least append time there is."""


class Trimmer:
    """Trims its sequencers now and then, on a thread of its own. What fails is logged, and tried at the next turn."""

    def __init__(
        self,
        trimmable: Trimmable,
        reader: Reader,
        sequencers: Sequence[SequencerId],
        consumed: Callable[[SequencerId, str], Offset],
        retention: RetentionConfig,
        clock: Clock,
        logger: Logger,
    ) -> None:
        """consumed(sequencer, identity): below it nobody needs a record of the stream (common/catalog/cursors.py)."""
        self._trimmable = trimmable
        self._reader = reader
        self._sequencers = sequencers
        self._consumed = consumed
        self._retention = retention
        self._clock = clock
        self._logger = logger
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="trim", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Start no further trim, and wait at most TRIM_STOP_S for the one that is under way."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(TRIM_STOP_S)
            if self._thread.is_alive():
                self._logger.warning("stopped while a trim was under way; the write buffer does not answer")

    def trim(self, sequencer: SequencerId) -> Offset:
        """Trim one sequencer now; returns its first offset. Raises what the buffer and the store raise."""
        # First what was consumed: more may come and be consumed at any time, which would look like a lost end.
        consumed = self._consumed(sequencer, self._reader.identity(sequencer))
        offsets = self._reader.offsets(sequencer)
        before = self._before(sequencer, consumed, offsets)
        if before <= offsets.first_offset:
            return offsets.first_offset
        first_offset = self._trimmable.trim(sequencer, before)
        if first_offset > offsets.first_offset:
            self._logger.info("trimmed", sequencer=sequencer, first_offset=first_offset, was=offsets.first_offset)
        return first_offset

    def _before(self, sequencer: SequencerId, consumed: Offset, offsets: Offsets) -> Offset:
        if consumed > offsets.next_offset:
            raise Forked(
                f"sequencer {sequencer}: offsets below {consumed} were consumed, but the buffer ends at "
                f"{offsets.next_offset}: it lost records, and what it holds may not be what was consumed",
                sequencer=sequencer,
                consumed=consumed,
                next_offset=offsets.next_offset,
            )
        if consumed <= offsets.first_offset:
            return offsets.first_offset
        kept_from = max(self._first_young(sequencer, offsets, consumed), self._first_within_bytes(sequencer, offsets))
        return min(consumed, kept_from)

    def _first_young(self, sequencer: SequencerId, offsets: Offsets, consumed: Offset) -> Offset:
        """Below it lies what is older than keep_age_s; at most `consumed` where it is found by reading."""
        oldest_kept_ns = self._oldest_kept_ns()
        with closing(self._reader.cursor(sequencer)) as cursor:
            if not isinstance(cursor, SeekableByTime):
                return _first_young_by_reading(cursor, offsets.first_offset, consumed, oldest_kept_ns)
            cursor.seek_to_time(oldest_kept_ns)
            batch = cursor.poll(1, 1, 0)
            return batch.records[0].offset if batch.records else batch.next_offset

    def _oldest_kept_ns(self) -> int:
        now_ns, keep_ns = self._clock.now_ns(), self._retention.keep_age_s * 1e9
        return now_ns - int(keep_ns) if keep_ns < now_ns - _TIME_MIN_NS else _TIME_MIN_NS

    def _first_within_bytes(self, sequencer: SequencerId, offsets: Offsets) -> Offset:
        """Below it lies what is over keep_bytes, taking all records for equally large; repeated turns come close."""
        if not isinstance(self._reader, Measurable):
            return offsets.first_offset
        data_bytes = self._reader.size(sequencer).data_bytes
        over_bytes = data_bytes - self._retention.keep_bytes
        if over_bytes <= 0:
            return offsets.first_offset
        count = offsets.next_offset - offsets.first_offset
        return Offset(offsets.first_offset + count * over_bytes // data_bytes)

    def _run(self) -> None:
        while not self._stopped.wait(self._retention.trim_interval_s):
            for sequencer in self._sequencers:
                if self._stopped.is_set():
                    return
                self._try_to_trim(sequencer)

    def _try_to_trim(self, sequencer: SequencerId) -> None:
        try:
            self.trim(sequencer)
        except Exception as error:  # noqa: BLE001  were the thread to end, the disk would fill in silence
            if not self._stopped.is_set():  # else the writer or reader may be closed already
                self._logger.warning("not trimmed; tried again later", sequencer=sequencer, reason=_reason(error))


def limits_not_kept(powers: frozenset[type], retention: RetentionConfig) -> str | None:
    """What of the retention a backend with these powers cannot keep, for the log of a process that starts."""
    if Trimmable not in powers:
        return (
            "nothing trims this write buffer: its backend is not Trimmable, so it grows until its server removes "
            "records by itself; keep_age_s and keep_bytes have no effect"
        )
    if Measurable not in powers and retention.keep_age_s:
        return (
            "keep_bytes has no effect: this write buffer does not report its size, so history is kept for keep_age_s "
            f"({retention.keep_age_s:g} s) however large it becomes; lower keep_age_s if it must be smaller"
        )
    return None


def _first_young_by_reading(cursor: Cursor, first: Offset, end: Offset, oldest_kept_ns: int) -> Offset:
    """Bisects first..end, one record read for each step. Every record below the result is at or below an old one."""
    while first < end:
        middle = Offset((first + end) // 2)
        cursor.seek(middle)
        found = next(iter(cursor.poll(1, 1, 0).records), None)
        if found is None or found.offset >= end or found.record.append_time_ns >= oldest_kept_ns:
            end = middle
        else:
            first = Offset(found.offset + 1)
    return first


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, PenstockError) else repr(error)
