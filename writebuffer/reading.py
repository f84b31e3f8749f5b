"""A Reader and its cursors over two questions: what state a stream is in, and which records it has from an offset on.

For a backend whose readers have to look for news, such as a table in a database. It answers the questions for one
stream, each on its own (StoredStream); PolledReader makes of them what the contract promises: positions, seeks, limits,
waiting, closing, and that no record is skipped silently and no other history mistaken for this one.

Invariant: a cursor reads first and looks afterwards. First and next offset of a history only grow, and an identity
never comes back: where the look shows the same identity and a first offset not above the cursor, nothing was trimmed
and nothing replaced when the records were read. The two need not be answered from one state. What was durable at one
look is found by the next read: where that finds nothing, there is nothing.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from common.values.clock import Clock, SystemClock
from common.values.errors import DataCorrupt, Forked, PenstockError
from common.values.ids import Offset, SequencerId
from writebuffer.checks import check_limits, check_sequencer
from writebuffer.contract import Batch, Offsets, SequencedRecord
from writebuffer.errors import Closed, OffsetInFuture, OffsetTrimmed
from writebuffer.waiting import Deadline

LOOK_EVERY_S = 0.01
"""How soon a waiting cursor sees a record, and what that costs the store."""
_SYSTEM_CLOCK = SystemClock()


class StreamState(NamedTuple):
    """Which history a stream is, and its offsets as contract.Offsets says."""

    identity: str
    first_offset: Offset
    next_offset: Offset


class StoredStream(Protocol):
    """One sequencer as the backend stores it. Called from any thread, one call at a time for each cursor."""

    def look(self) -> StreamState:
        """Raises Unavailable (asked again later), DataCorrupt, and Forked where the buffer does not exist any more."""
        ...

    def read(self, offset: Offset, max_records: int) -> Iterable[SequencedRecord]:
        """The durable records at or above `offset`, in order of offsets, at most so many. Errors as for `look`.

        Only what fits into a batch is asked for, and a generator is closed then: one that reads lazily keeps memory
        bounded.
        """
        ...


class PolledReader:
    """A Reader over one StoredStream for each sequencer. A backend adds what its powers need (size)."""

    def __init__(
        self,
        url: str,
        streams: Sequence[StoredStream],
        release: Callable[[], None] = lambda: None,
        *,
        dense: bool = False,
        look_every_s: float = LOOK_EVERY_S,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        """Looks at each stream once, and from then on for the same history. Raises what that raises.

        release: gives back what the streams use, called by `close`; a cursor that still asks then gets Closed.
        dense: whether the backend declares Dense. Then a missing record is DataCorrupt; else it is a gap, and passed.
        """
        self._url = url
        self._streams = streams
        self._release = release
        self._dense = dense
        self._look_every_s = look_every_s
        self._clock = clock
        self._closed = threading.Event()
        self._identities = [stream.look().identity for stream in streams]

    def sequencers(self) -> Sequence[SequencerId]:
        return [SequencerId(number) for number in range(len(self._streams))]

    def cursor(self, sequencer: SequencerId) -> "PolledCursor":
        self.check(sequencer)
        return PolledCursor(
            sequencer,
            self._streams[sequencer],
            self.look,
            self._closed,
            dense=self._dense,
            look_every_s=self._look_every_s,
            clock=self._clock,
        )

    def offsets(self, sequencer: SequencerId) -> Offsets:
        state = self.look(sequencer)
        return Offsets(state.first_offset, state.next_offset)

    def identity(self, sequencer: SequencerId) -> str:
        return self.look(sequencer).identity

    def look(self, sequencer: SequencerId) -> StreamState:
        """Its state, in the history it had when this reader was opened. Raises Forked where it has another."""
        self.check(sequencer)
        state, known = self._streams[sequencer].look(), self._identities[sequencer]
        if state.identity != known:
            raise Forked(
                f"{self._url}: sequencer {sequencer} was made again since it was opened: its identity was {known} and "
                f"is {state.identity}; stop, open the buffer again and read from its first offset",
                sequencer=sequencer,
                known=known,
                found=state.identity,
            )
        return state

    def check(self, sequencer: SequencerId) -> None:
        """For calls that a backend adds. Raises Closed, UnknownSequencer."""
        if self._closed.is_set():
            raise Closed(f"{self._url}: the reader was closed")
        check_sequencer(sequencer, len(self._streams))

    def close(self) -> None:
        """Cursors raise Closed from now on, those that wait in a poll too."""
        if not self._closed.is_set():
            self._closed.set()
            self._release()


class PolledCursor:
    """A Cursor made by PolledReader. It moves past records that a poll has returned, and past gaps."""

    def __init__(
        self,
        sequencer: SequencerId,
        stream: StoredStream,
        look: Callable[[SequencerId], StreamState],
        reader_closed: threading.Event,
        *,
        dense: bool,
        look_every_s: float,
        clock: Clock,
    ) -> None:
        self._sequencer = sequencer
        self._stream = stream
        self._look = look
        self._reader_closed = reader_closed
        self._dense = dense
        self._look_every_s = look_every_s
        self._clock = clock
        self._closed = False
        self._offset = Offset(0)
        self._end_seen = Offset(0)
        """The next offset as the last look had it: every record below it is found by a read."""
        self.seek_to_first()

    def seek(self, offset: Offset) -> None:
        state = self._looked()
        if offset < state.first_offset:
            raise OffsetTrimmed(self._sequencer, offset, state.first_offset)
        if offset > state.next_offset:
            raise OffsetInFuture(self._sequencer, offset, state.next_offset)
        self._offset = offset

    def seek_to_first(self) -> None:
        self._offset = self._looked().first_offset

    def seek_to_next(self) -> None:
        self._offset = self._looked().next_offset

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        check_limits(max_records, max_bytes)
        deadline = Deadline(timeout_s, self._clock)
        while not (records := self._read(max_records, max_bytes)):
            left_s = deadline.left_s()
            if left_s <= 0:
                break
            self._reader_closed.wait(min(left_s, self._look_every_s))
        return Batch(records, self._offset)

    def close(self) -> None:
        self._closed = True

    def _read(self, max_records: int, max_bytes: int) -> list[SequencedRecord]:
        end_before = self._end_seen
        with self._asking():
            records = _fitting(self._stream.read(self._offset, max_records), max_bytes)
        self._check(self._looked())
        if self._dense:
            records = self._up_to_a_hole(records, end_before)
        if records:
            self._offset = Offset(records[-1].offset + 1)
        else:
            self._offset = max(self._offset, end_before)
        return records

    def _check(self, state: StreamState) -> None:
        """Raises OffsetTrimmed or Forked where the cursor's offset is not in the stream any more."""
        if self._offset < state.first_offset:
            raise OffsetTrimmed(self._sequencer, self._offset, state.first_offset)
        if self._offset > state.next_offset:
            raise Forked(
                f"sequencer {self._sequencer}: the next offset is {state.next_offset}, records were read up to "
                f"{self._offset}: acknowledged records were lost; replay into a new store",
                sequencer=self._sequencer,
                asked=self._offset,
                next_offset=state.next_offset,
            )

    def _up_to_a_hole(self, records: list[SequencedRecord], end_before: Offset) -> list[SequencedRecord]:
        """The records before the first hole. Raises DataCorrupt where that is at the cursor's offset."""
        whole = 0
        while whole < len(records) and records[whole].offset == self._offset + whole:
            whole += 1
        if whole == 0 and (records or self._offset < end_before):
            raise DataCorrupt(
                f"sequencer {self._sequencer}: offset {self._offset}: the record is missing, but it was not trimmed, "
                "and there are later ones: somebody removed it. Restore it from a copy, or seek past it and count what "
                "is missing",
                sequencer=self._sequencer,
                offset=self._offset,
            )
        return records[:whole]

    def _looked(self) -> StreamState:
        with self._asking():
            state = self._look(self._sequencer)
        self._end_seen = state.next_offset
        return state

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Once the reader is closed, every error of the store becomes Closed."""
        self._check_open()
        try:
            yield
        except PenstockError:
            self._check_open()
            raise

    def _check_open(self) -> None:
        if self._closed or self._reader_closed.is_set():
            raise Closed(f"sequencer {self._sequencer}: the cursor or its reader was closed")


def _fitting(records: Iterable[SequencedRecord], max_bytes: int) -> list[SequencedRecord]:
    """The first of `records` in any case, and those after it that fit. What was read lazily is closed."""
    fitting: list[SequencedRecord] = []
    left_bytes = max_bytes
    for one in records:
        left_bytes -= len(one.record)
        if fitting and left_bytes < 0:
            break
        fitting.append(one)
    if isinstance(records, Generator):
        records.close()
    return fitting
