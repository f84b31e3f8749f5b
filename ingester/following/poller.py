"""The thread that polls the write buffer and decodes, ahead of the core by at most a few batches."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType

from common.entry.decoding import Packed
from common.logs import Logger
from common.values.errors import Forked, InvalidRequest, PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from ingester.core.events import Polled
from ingester.following.decode import Opened, opened_together
from ingester.following.followed import Followed
from ingester.following.joining import Joining, Known
from ingester.following.suspects import Suspects
from writebuffer.contract import Batch, Cursor, Reader, SequencedRecord
from writebuffer.errors import OffsetTrimmed

POLL_RECORDS = 4_000
"""What a poll costs beside its records is worth 200 small ones: some milliseconds for nine tables."""

POLL_BYTES = 8 * 1024 * 1024
POLL_TIMEOUT_S = 0.5
DECODED_BYTES_MAX = 64 * 1024 * 1024
"""A Polled is delivered once it holds so much: rows that compress well must not all be in memory at once."""

GATHER_S = 0.25
"""After a poll that found all the records there were, the next begins so long after it began: under a steady stream it
then finds several records. A poll costs for each of its tables as much as for a hundred rows. Who waits for rows calls
`hurry`, and then waits for what a quarter of a second brought: at 30,000 rows a second 20 milliseconds."""

BATCHES_AHEAD = 2
NOTHING: Mapping[Offset, str] = MappingProxyType({})
RETRY_S_MAX = 10.0


class Poller:
    """Owns the cursor. `deliver` gets each Polled; `fail` gets what ends it: Forked, OffsetTrimmed, DataCorrupt.

    Both are called on its thread.
    """

    def __init__(
        self,
        reader: Reader,
        sequencer: SequencerId,
        followed: Followed,
        deliver: Callable[[Polled], None],
        fail: Callable[[BaseException], None],
        logger: Logger,
        gather_s: float = GATHER_S,
        suspects: Suspects | None = None,
    ) -> None:
        """suspects: notes which records are about to be applied, so that a death over them is counted."""
        self.reachable = True
        self.next_offset: Offset | None = None
        self._reader = reader
        self._sequencer = sequencer
        self._followed = followed
        self._deliver = deliver
        self._fail = fail
        self._logger = logger
        self._gather_s = gather_s
        self._next_poll_s = 0.0
        self._hurried = threading.Event()
        self._known = Known()
        self._suspects = suspects
        self._ahead = threading.Semaphore(BATCHES_AHEAD)
        self._running = threading.Event()
        self._running.set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poller-{sequencer}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def applied(self, applied_offset: Offset) -> None:
        """One delivered batch was applied, and all below that offset: another may come."""
        if self._suspects:
            self._suspects.applied(applied_offset)
        self._ahead.release()

    def pause(self) -> None:
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def hurry(self) -> None:
        """Somebody waits for what is in the buffer now: poll at once."""
        self._hurried.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        self._stop.set()
        self.hurry()
        self._running.set()
        self._ahead.release()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._follow()
        except OffsetTrimmed as error:
            self._fail(error)
        except InvalidRequest as error:
            # There is no such buffer or sequencer any more: nothing that a correct call would change.
            self._fail(Forked(f"sequencer {self._sequencer}: the write buffer is gone: {error.message}"))
        except BaseException as error:  # noqa: BLE001  the thread's end is the ingester's, for any cause
            self._fail(error)

    def _follow(self) -> None:
        """Poll until the buffer is away; then wait and make sure, once it is back, that it is the same stream."""
        retry_s = 0.1
        while not self._stop.is_set():
            try:
                cursor, found = self._followed.open(self._reader)
                with closing(cursor):
                    self._is_back(found.offsets.next_offset)
                    while not self._stop.is_set():
                        self._poll(cursor)
                        retry_s = 0.1
            except Unavailable as error:
                if self.reachable:
                    self._logger.warning("write buffer is away", reason=error.message)
                self.reachable = False
                self._stop.wait(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)

    def _is_back(self, next_offset: Offset) -> None:
        self.next_offset = next_offset
        if not self.reachable:
            self._logger.info("write buffer is back", next_offset=next_offset)
        self.reachable = True

    def _poll(self, cursor: Cursor) -> None:
        self._running.wait()
        self._hurried.wait(max(0.0, self._next_poll_s - time.monotonic()))
        self._hurried.clear()  # first: who hurries from here on has what this poll misses read by the next
        began_s = time.monotonic()
        batch = cursor.poll(POLL_RECORDS, POLL_BYTES, POLL_TIMEOUT_S)
        try:
            self.next_offset = self._reader.offsets(self._sequencer).next_offset
        except Unavailable:
            raise  # the batch does not count as read: it is polled again
        except PenstockError:
            self._pass_on(batch, caught_up=False)  # the stream is lost, and these records are nowhere else any more
            raise
        caught_up = batch.next_offset >= self.next_offset
        self._next_poll_s = began_s + self._gather_s if batch.records and caught_up else 0.0
        self._pass_on(batch, caught_up=caught_up)

    def _pass_on(self, batch: Batch, *, caught_up: bool) -> None:
        first = self._followed.next_offset
        records, condemned = self._followed.read(batch), NOTHING
        if self._suspects and records:
            self._suspects.begin(first, batch.next_offset)
            condemned = self._suspects.condemned
        for polled in decoded_steps(records, batch.next_offset, caught_up, known=self._known, condemned=condemned):
            self._ahead.acquire()
            if self._stop.is_set():
                return
            self._deliver(polled)


def decoded_steps(
    records: Sequence[SequencedRecord],
    next_offset: Offset,
    caught_up: bool,
    bytes_max: int = DECODED_BYTES_MAX,
    known: Known | None = None,
    condemned: Mapping[Offset, str] = NOTHING,
) -> Iterator[Polled]:
    """All records of a poll, decoded: usually in one Polled, in several where they decode to more than `bytes_max`.

    A poll is bounded by bytes as they are stored, which may be a thousandth of what they decode to.
    """
    known = known or Known()
    step, held = Joining(known), 0
    for record, opened in zip(records, _opened(records, condemned), strict=True):
        held += step.add(record, condemned.get(record.offset), opened)
        if held >= bytes_max:
            for decoded, joined in step.finish(bytes_max):
                yield Polled(decoded, Offset(decoded[-1].offset + 1), False, joined)
            step, held = Joining(known), 0
    for decoded, joined in step.finish(bytes_max):
        is_last = not decoded or decoded[-1].offset == records[-1].offset
        at = next_offset if is_last else Offset(decoded[-1].offset + 1)
        yield Polled(decoded, at, caught_up and is_last, joined)


def _opened(records: Sequence[SequencedRecord], condemned: Mapping[Offset, str]) -> Sequence[Opened[Packed] | None]:
    """As opened_together; of none where one is condemned, whose payload may not be looked at."""
    if condemned and any(record.offset in condemned for record in records):
        return [None] * len(records)
    return opened_together([record.record for record in records])


def read_between(reader: Reader, sequencer: SequencerId, first: Offset, end: Offset) -> Iterator[SequencedRecord]:
    """The records from `first` on, below `end`, as far as they are there. Raises OffsetTrimmed, Unavailable."""
    with closing(reader.cursor(sequencer)) as cursor:
        cursor.seek(first)
        at = first
        while at < end and (batch := cursor.poll(POLL_RECORDS, POLL_BYTES, POLL_TIMEOUT_S)).next_offset > at:
            yield from (record for record in batch.records if record.offset < end)
            at = batch.next_offset
