"""A Reader and its cursors over two questions: how a stream stands, and which records there are from an offset on.

For a backend whose readers have to look for news, such as a table in a database. It answers the questions for one
stream, each on its own (StoredStream); PolledReader makes of them what the contract promises: positions, seeks, limits,
waiting, closing, and that nothing is passed over silently and no other history taken for this one.

Invariant: a cursor reads first and looks afterwards. First and next offset of a history only grow, and an identity
never comes back: where the look shows the same identity and a first offset not above the cursor, nothing was trimmed
and nothing replaced when the records were read. The two need not be answered from one state.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from common.clock import Clock, SystemClock
from common.errors import Forked, PenstockError
from common.ids import Offset, SequencerId
from writebuffer.checks import check_limits, check_sequencer
from writebuffer.contract import Batch, Offsets, SequencedRecord
from writebuffer.errors import Closed, OffsetInFuture, OffsetTrimmed

LOOK_EVERY_S = 0.01
"""How soon a waiting cursor sees a record, and what that costs the store."""
_SYSTEM_CLOCK = SystemClock()


class Stands(NamedTuple):
    """How a stream stands: which history it is, the oldest offset left, and one past the newest durable record."""

    identity: str
    first_offset: Offset
    next_offset: Offset


class StoredStream(Protocol):
    """One sequencer as the backend stores it. Called from any thread, one call at a time for each cursor."""

    def look(self) -> Stands:
        """Raises Unavailable (asked again later), DataCorrupt, and Forked where the buffer is there no more."""
        ...

    def read(self, offset: Offset, max_records: int) -> Iterable[SequencedRecord]:
        """The durable records at or above `offset` that are there, by offset, at most so many. Errors as for `look`.

        Of what it gives no more is taken than fits into a batch, and a generator is closed then: one that reads lazily
        keeps memory bounded.
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
        look_every_s: float = LOOK_EVERY_S,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        """Looks at each stream once, and from then on for the same history. Raises what that raises.

        release: gives back what the streams use, called by `close`; a cursor that still asks then gets Closed.
        """
        self._url = url
        self._streams = streams
        self._release = release
        self._look_every_s = look_every_s
        self._clock = clock
        self._closed = threading.Event()
        self._identities = [stream.look().identity for stream in streams]

    def sequencers(self) -> Sequence[SequencerId]:
        return [SequencerId(number) for number in range(len(self._streams))]

    def reader(self, sequencer: SequencerId) -> "PolledCursor":
        self.check(sequencer)
        return PolledCursor(
            sequencer, self._streams[sequencer], self.look, self._closed, self._look_every_s, self._clock
        )

    def offsets(self, sequencer: SequencerId) -> Offsets:
        stands = self.look(sequencer)
        return Offsets(stands.first_offset, stands.next_offset)

    def identity(self, sequencer: SequencerId) -> str:
        return self.look(sequencer).identity

    def look(self, sequencer: SequencerId) -> Stands:
        """How it stands, in the history it had when this reader was opened. Raises Forked where it has another."""
        self.check(sequencer)
        stands, known = self._streams[sequencer].look(), self._identities[sequencer]
        if stands.identity != known:
            raise Forked(
                f"{self._url}: sequencer {sequencer} was made again since it was opened: its identity was {known} and "
                f"is {stands.identity}; stop, and read it anew from its first offset",
                sequencer=sequencer,
                known=known,
                found=stands.identity,
            )
        return stands

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
    """A Cursor made by PolledReader. It moves only past records that a poll has returned."""

    def __init__(
        self,
        sequencer: SequencerId,
        stream: StoredStream,
        look: Callable[[SequencerId], Stands],
        reader_closed: threading.Event,
        look_every_s: float,
        clock: Clock,
    ) -> None:
        self._sequencer = sequencer
        self._stream = stream
        self._look = look
        self._reader_closed = reader_closed
        self._look_every_s = look_every_s
        self._clock = clock
        self._closed = False
        self._offset = Offset(0)
        self.seek_to_first()

    def seek(self, offset: Offset) -> None:
        with self._asking():
            stands = self._look(self._sequencer)
        if offset < stands.first_offset:
            raise OffsetTrimmed(self._sequencer, offset, stands.first_offset)
        if offset > stands.next_offset:
            raise OffsetInFuture(self._sequencer, offset, stands.next_offset)
        self._offset = offset

    def seek_to_first(self) -> None:
        with self._asking():
            self._offset = self._look(self._sequencer).first_offset

    def seek_to_next(self) -> None:
        with self._asking():
            self._offset = self._look(self._sequencer).next_offset

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        check_limits(max_records, max_bytes)
        deadline_s = self._clock.monotonic_s() + timeout_s
        while not (records := self._take(max_records, max_bytes)):
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0:
                break
            self._reader_closed.wait(min(left_s, self._look_every_s))
        return Batch(records, self._offset)

    def close(self) -> None:
        self._closed = True

    def _take(self, max_records: int, max_bytes: int) -> list[SequencedRecord]:
        with self._asking():
            taken = _taken(self._stream.read(self._offset, max_records), max_bytes)
            stands = self._look(self._sequencer)
        if self._offset < stands.first_offset:
            raise OffsetTrimmed(self._sequencer, self._offset, stands.first_offset)
        if self._offset > stands.next_offset:
            raise Forked(
                f"sequencer {self._sequencer}: the next offset is {stands.next_offset}, records were read up to "
                f"{self._offset}: acknowledged records were lost; replay into a new store",
                sequencer=self._sequencer,
                asked=self._offset,
                next_offset=stands.next_offset,
            )
        if taken:
            self._offset = Offset(taken[-1].offset + 1)
        return taken

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """What a question meets after its reader was closed is Closed, whatever the store makes of it."""
        self._check_open()
        try:
            yield
        except PenstockError:
            self._check_open()
            raise

    def _check_open(self) -> None:
        if self._closed or self._reader_closed.is_set():
            raise Closed(f"sequencer {self._sequencer}: the cursor or its reader was closed")


def _taken(records: Iterable[SequencedRecord], max_bytes: int) -> list[SequencedRecord]:
    """The first of `records` in any case, and those behind it that fit. What was read lazily is let go."""
    taken: list[SequencedRecord] = []
    left_bytes = max_bytes
    for one in records:
        left_bytes -= len(one.record)
        if taken and left_bytes < 0:
            break
        taken.append(one)
    if isinstance(records, Generator):
        records.close()
    return taken
