"""Trimming by policy: who owns a buffer removes what every consumer has made durable, but keeps some history.

Nothing at or above the least of the replay offset and every registered cursor is ever removed. Below it, records stay
for replays as long as both `keep_age_s` and `keep_bytes` allow. A router does this with a Trimmable writer (a log
folder), an ingester with a Trimmable reader, for its own sequencer (a broker); so exactly one of them does.
"""

import threading
from collections.abc import Callable, Sequence

from common.clock import Clock
from common.config import RetentionConfig
from common.errors import Forked, PenstockError
from common.ids import Offset, SequencerId
from common.logs import Logger
from writebuffer.contract import Measurable, Offsets, Reader, SeekableByTime, Trimmable


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
        """consumed(sequencer, identity): below that offset nobody needs a record of the stream (common/consumed.py)."""
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
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

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
        kept_from = max(self._first_younger(sequencer, offsets), self._first_within_bytes(sequencer, offsets))
        return min(consumed, kept_from)

    def _first_younger(self, sequencer: SequencerId, offsets: Offsets) -> Offset:
        """The first record younger than keep_age_s; the first of all where the backend cannot say."""
        cursor = self._reader.reader(sequencer)
        try:
            if not isinstance(cursor, SeekableByTime):
                return offsets.first_offset
            cursor.seek_to_time(self._clock.now_ns() - int(self._retention.keep_age_s * 1e9))
            batch = cursor.poll(1, 1, 0)
            return batch.records[0].offset if batch.records else batch.next_offset
        finally:
            cursor.close()

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
                try:
                    self.trim(sequencer)
                except Exception as error:  # noqa: BLE001  were the thread to end, the disk would fill in silence
                    self._logger.warning("not trimmed; tried again later", sequencer=sequencer, reason=_reason(error))


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, PenstockError) else repr(error)
