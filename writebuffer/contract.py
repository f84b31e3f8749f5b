"""The write buffer's contract: what every backend promises and every caller may rely on.

A buffer has a fixed number of sequencers, each one ordered stream of records. It is written through a Writer or read
through a Reader, never both by one object; a Backend (connect.py gives one for a URL) makes either.

Rules (the conformance suite proves them on every backend):
- Offsets strictly increase within a sequencer and are never reused, also not after trimming everything or a restart.
  Where the backend declares Dense none is left out, and a hole is DataCorrupt; else there may be gaps, which a cursor
  passes: an offset that never held a record is not trimmed. Of a Salvageable stream cursors also pass what was given
  up as lost, and only that.
- A future of `append` resolves only once the record is durable by the backend's stated rule (`Durable.durability`).
  Of the appends of one writer to one sequencer, those that succeed keep their order, and their futures resolve in it.
  A failure says `written: no | unknown`.
- `poll` returns only durable records, as soon as one is there. A cursor moves only past records it has returned and
  offsets that can hold none. Cursors share nothing.
- `seek(next)` is legal and waits; `seek(next + 1)` raises OffsetInFuture; below first raises OffsetTrimmed, at the seek
  or at the next poll. Nothing is ever skipped silently. After an error the cursor stays where it was.
- A buffer that was deleted is over for whoever had it open, also where another was made at its URL: writers and
  cursors opened before get Forked. They neither write into the new one nor return a record of it.
- A backend whose own thread dies fails every pending and later call, no future hangs: with the cause where that is
  DataCorrupt or Forked, else with WriterDied. Stop and start again: this writer answers nothing any more.
- A timeout is a number of seconds (waiting.py): negative is 0, infinite never ends, nan and None are InvalidRequest.
- Futures are concurrent.futures.Future; callbacks run on the backend's thread and must be short; cancelling one changes
  nothing about the record.

An optional power is a Protocol of its own, checked with isinstance, never a method that raises "not implemented".
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from common.values.ids import Offset, SequencerId
from writebuffer.record import Record


class Appended(NamedTuple):
    """One record's offset and its append time (the header's). A tuple: it is made at each append."""

    offset: Offset
    append_time_ns: int


@dataclass(frozen=True, slots=True)
class AppendedRange:
    """The first and the last record of one append_many. Other writers' records, or gaps, may lie in between."""

    first: Appended
    last: Appended


class SequencedRecord(NamedTuple):
    """A record and its offset. A tuple: one is made for each record that is read."""

    offset: Offset
    record: Record


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll returned, in order of offsets; `next_offset` is the cursor's position, also when it is empty."""

    records: Sequence[SequencedRecord]
    next_offset: Offset


@dataclass(frozen=True, slots=True)
class Offsets:
    """The oldest offset still readable, and one past the newest durable one. Equal when nothing is readable.

    All that was removed is below first_offset, all records that exist are at or above it. Where offsets have gaps it is
    one past the newest record that was removed, 0 where none was, and not the oldest record's: else a cursor in a gap
    would get OffsetTrimmed although no record that it needs was removed.
    """

    first_offset: Offset
    next_offset: Offset


class Stretch(NamedTuple):
    """The offsets from first_offset up to and without next_offset."""

    first_offset: Offset
    next_offset: Offset


class Writer(Protocol):
    """Appends. Safe to call from any thread; the order of calls of one thread is the order of its offsets."""

    def sequencers(self) -> Sequence[SequencerId]:
        """0..N-1, the same for every writer and reader of the buffer."""
        ...

    def append(self, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        """Append `record`; the future resolves once it is durable.

        Raises, at the call: UnknownSequencer, RecordTooLarge, MalformedRecord (fix the call), Closed. The future
        fails with Unavailable (retry, `written` says whether the record may exist), its kind WriterDied (stop: no
        retry helps), Fenced, Forked or DataCorrupt.
        """
        ...

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        """Append `records` (at least one) in order, resolved once the last is durable. Errors as for append.

        Not a transaction: after a failure a prefix may exist. `written: no` means that none of the records does.
        """
        ...

    def flush(self, timeout_s: float) -> None:
        """Return when every append called before has resolved. Raises Unavailable at the timeout, InvalidRequest."""
        ...

    def close(self) -> None:
        """Flush as far as possible, fail what is left, release what is held. A second call does nothing.

        Returns within CLOSE_S_MAX (waiting.py) although the backend hangs, for all sequencers together. What a hanging
        call to the backend may still write is not released.
        """
        ...


class Cursor(Protocol):
    """One independent reading position in one sequencer. Starts at the first offset. Not shared between threads."""

    def seek(self, offset: Offset) -> None:
        """Move to `offset`, first..next. Raises OffsetInFuture, or OffsetTrimmed (here or at the next poll)."""
        ...

    def seek_to_first(self) -> None: ...

    def seek_to_next(self) -> None: ...

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        """Up to `max_records` durable records, waiting at most `timeout_s` for the first.

        Stops before the record that would bring the batch over `max_bytes`, but always returns at least one. Raises
        OffsetTrimmed (seek again), Unavailable (poll again), DataCorrupt (a person looks), InvalidRequest.
        """
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """Opens cursors and answers about sequencers. Safe to call from any thread."""

    def sequencers(self) -> Sequence[SequencerId]: ...

    def cursor(self, sequencer: SequencerId) -> Cursor:
        """A new cursor at the first offset. Raises UnknownSequencer."""
        ...

    def offsets(self, sequencer: SequencerId) -> Offsets: ...

    def identity(self, sequencer: SequencerId) -> str:
        """Names the stream's history: the same over reopen and restart, another once it was deleted and made again."""
        ...

    def close(self) -> None: ...


class Backend(Protocol):
    """What a URL names (connect.py).

    url: opens the same buffer again; fit for logs, so without a password.
    powers: which of the Protocols below its objects offer, whether its offsets are Dense, and, of a backend made for a
    proof, which of proving.py's it offers itself. What is declared is proven by the conformance suite; what is offered
    undeclared is a fault.
    """

    @property
    def url(self) -> str: ...

    @property
    def powers(self) -> frozenset[type]: ...

    def create(self, sequencers: int) -> None:
        """Make the buffer with that many sequencers; fine when it exists already with the same number.

        Raises SequencersDiffer when it exists with another, Unavailable, Misconfigured.
        """
        ...

    def open_writer(self) -> Writer:
        """Raises BufferNotFound (the message says how to create it), HeldByAnother, Unavailable, DataCorrupt."""
        ...

    def open_reader(self) -> Reader:
        """Raises BufferNotFound, Unavailable."""
        ...


class Dense(Protocol):
    """Of a backend whose offsets are dense: each record's is one above that of the record before it.

    Declared in `powers`, and nothing that an object offers: it says what a hole is. A record that is missing between
    first and next offset is DataCorrupt, raised before anything after it is returned; but see Salvageable.
    """


@runtime_checkable
class Durable(Protocol):
    """A writer whose acknowledged records survive its process, killed or not; it says how."""

    def durability(self) -> str:
        """One sentence for a log line, e.g. "fdatasync of each group before it is acknowledged"."""
        ...


@runtime_checkable
class Trimmable(Protocol):
    """Who can remove old records: the writer where it owns what it writes (a folder under its lock), else the reader.

    Whoever holds such an object trims by policy: the router by its writer, the ingester by its reader.
    """

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        """Remove at most what lies below `before`, in the backend's own units; returns the first offset left."""
        ...


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of data, and bytes used on disk (allocated blocks), of one sequencer."""

    data_bytes: int
    disk_bytes: int


@runtime_checkable
class Measurable(Protocol):
    """A reader that can say how large a sequencer is."""

    def size(self, sequencer: SequencerId) -> Size: ...


@runtime_checkable
class Salvageable(Protocol):
    """A reader of streams that a person may have salvaged: made whole again without the records that were lost."""

    def lost(self, sequencer: SequencerId) -> Sequence[Stretch]:
        """The offsets that were given up, in order, as far as they were not trimmed. Cursors pass them."""
        ...


@runtime_checkable
class SeekableByTime(Protocol):
    """A cursor that finds offsets by append time."""

    def seek_to_time(self, time_ns: int) -> None:
        """Move to the first record whose append time is at or after `time_ns`, or at next where there is none."""
        ...
