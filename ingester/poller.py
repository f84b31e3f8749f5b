"""The thread that polls the write buffer and decodes, ahead of the core by at most a few batches."""

import threading
from collections.abc import Callable
from contextlib import closing

from common.errors import Forked, Unavailable
from common.ids import Offset, SequencerId
from common.logs import Logger
from ingester.decode import decode
from ingester.events import Polled
from ingester.followed import checksum_at
from ingester.persist.manifest_state import StreamMark
from writebuffer.contract import Cursor, Reader
from writebuffer.errors import OffsetInFuture

POLL_RECORDS = 2_000
POLL_BYTES = 8 * 1024 * 1024
POLL_TIMEOUT_S = 0.5
BATCHES_AHEAD = 2
RETRY_S_MAX = 10.0


class Poller:
    """Owns the cursor. `deliver` gets each Polled; `fail` gets what ends the ingester."""

    def __init__(
        self,
        reader: Reader,
        sequencer: SequencerId,
        start: Offset,
        followed: StreamMark,
        deliver: Callable[[Polled], None],
        fail: Callable[[BaseException], None],
        logger: Logger,
    ) -> None:
        self.reachable = True
        self.next_offset: Offset | None = None
        self._reader = reader
        self._sequencer = sequencer
        self._at = start
        self._followed = followed
        self._deliver = deliver
        self._fail = fail
        self._logger = logger
        self._ahead = threading.Semaphore(BATCHES_AHEAD)
        self._running = threading.Event()
        self._running.set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poller-{sequencer}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def taken(self) -> None:
        """One delivered batch was applied: another may come."""
        self._ahead.release()

    def pause(self) -> None:
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        self._stop.set()
        self._running.set()
        self._ahead.release()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._follow()
        except BaseException as error:  # noqa: BLE001  the thread's end is the ingester's, whatever the cause
            self._fail(error)

    def _follow(self) -> None:
        """Poll until the buffer is away; then wait and make sure, once it is back, that it is the same stream."""
        retry_s = 0.1
        while not self._stop.is_set():
            try:
                with closing(self._reader.reader(self._sequencer)) as cursor:
                    self._go_on(cursor)
                    while not self._stop.is_set():
                        self._poll(cursor)
                        retry_s = 0.1
            except Unavailable as error:
                if self.reachable:
                    self._logger.warning("write buffer is away", reason=error.message)
                self.reachable = False
                self._stop.wait(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)

    def _go_on(self, cursor: Cursor) -> None:
        """Move a new cursor to where the last one stood.

        Raises Forked where the stream is another one: by its identity, because it has not got that far, or because
        the record that was polled last is another. A buffer that lost its tail may have been filled again since.
        """
        identity = self._reader.identity(self._sequencer)
        try:
            cursor.seek(self._at)
        except OffsetInFuture as error:
            raise self._forked(f"its next offset is {error.next_offset}") from None
        if identity != self._followed.identity:
            raise self._forked(f"its identity is {identity}, it was {self._followed.identity}")
        last_offset = self._followed.last_offset
        if checksum_at(self._reader, self._sequencer, last_offset) not in (None, self._followed.last_checksum):
            raise self._forked(f"the record at {last_offset} is another one than was read there")
        self.next_offset = self._reader.offsets(self._sequencer).next_offset
        if not self.reachable:
            self._logger.info("write buffer is back", next_offset=self.next_offset)
        self.reachable = True

    def _forked(self, difference: str) -> Forked:
        return Forked(
            f"sequencer {self._sequencer}: the write buffer came back as another stream than the one followed up to "
            f"{self._at}: {difference}. Bring the right one back",
            sequencer=self._sequencer,
        )

    def _poll(self, cursor: Cursor) -> None:
        self._running.wait()
        batch = cursor.poll(POLL_RECORDS, POLL_BYTES, POLL_TIMEOUT_S)
        self.next_offset = self._reader.offsets(self._sequencer).next_offset
        polled = Polled(tuple(map(decode, batch.records)), batch.next_offset, batch.next_offset >= self.next_offset)
        self._ahead.acquire()
        if not self._stop.is_set():
            self._at = batch.next_offset
            if polled.records:
                last = polled.records[-1]
                self._followed = StreamMark(self._followed.identity, last.offset, last.checksum)
            self._deliver(polled)
