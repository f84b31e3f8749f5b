"""Faults on purpose: wrappers around a Writer and a Reader that lose, delay, repeat and refuse, by a seeded generator.

What they do is what a real backend may do within the contract. A fault never changes what is stored but by storing it
twice: a refused append was not written, one whose acknowledgement is lost was, one sent twice is there twice unless the
backend knows repeats, a poll that fails or comes back empty leaves the cursor where it was.

The wrapped object's optional powers stay: a faulty Trimmable is Trimmable, and a faulty reader that is not is not.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from common.values.clock import Clock, SystemClock
from common.values.errors import PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.contract import (
    Appended,
    AppendedRange,
    Batch,
    Cursor,
    Durable,
    Measurable,
    Offsets,
    Reader,
    Salvageable,
    SeekableByTime,
    Trimmable,
    Writer,
)
from writebuffer.record import Record
from writebuffer.waiting import Deadline


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities, 0..1, and what goes with them.

    Of each append: refused; full, which begins a run of `full_appends` refusals; sent_twice; lost_acknowledgement;
    delayed. The first of the last two that strikes counts.
    disconnected: of each question to a reader, those of its optional powers included, and poll of its cursors.
    Of each poll: empty, short (one record at most), and slow, which waits slow_s before it looks.
    """

    refused: float = 0.0
    full: float = 0.0
    full_appends: int = 10
    sent_twice: float = 0.0
    lost_acknowledgement: float = 0.0
    delayed: float = 0.0
    disconnected: float = 0.0
    empty: float = 0.0
    short: float = 0.0
    slow: float = 0.0
    slow_s: float = 0.01


FaultsNow = Faults | Callable[[], Faults]
"""The faults, or who says at each call what they are: a simulation has quiet times."""

_POWERS: dict[type, str] = {
    Durable: "durability",
    Trimmable: "trim",
    Measurable: "size",
    Salvageable: "lost",
    SeekableByTime: "seek_to_time",
}
"""Each optional power and its one method."""


_SYSTEM_CLOCK = SystemClock()


class FaultyWriter:
    """A Writer. A delayed acknowledgement arrives with the next append that is not delayed, a flush or the close."""

    def __init__(self, writer: Writer, rng: random.Random, faults: FaultsNow, clock: Clock = _SYSTEM_CLOCK) -> None:
        """clock: what the timeout of a flush is measured by."""
        self._writer = writer
        self._clock = clock
        self._dice = _Dice(rng, faults)
        self._lock = threading.Lock()
        self._full_left = 0
        self._delayed: deque[Callable[[], None]] = deque()
        self._unresolved: set[Future[Any]] = set()
        _keep_powers(self, writer)

    def sequencers(self) -> Sequence[SequencerId]:
        return self._writer.sequencers()

    def append(self, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        return self._append(lambda: self._writer.append(sequencer, record))

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        return self._append(lambda: self._writer.append_many(sequencer, records))

    def flush(self, timeout_s: float) -> None:
        deadline = Deadline(timeout_s, self._clock)
        self._deliver()
        self._writer.flush(timeout_s)
        late = wait(list(self._unresolved), deadline.left_s()).not_done
        if late:
            raise Unavailable(f"injected: {len(late)} acknowledgements did not come", written="unknown")

    def close(self) -> None:
        self._writer.close()
        self._deliver()

    def _append(self, append: "Callable[[], Future[Any]]") -> "Future[Any]":
        refusal, twice, lost, delayed = self._drawn()
        seen: Future[Any] = Future()
        seen.set_running_or_notify_cancel()
        if refusal:
            seen.set_exception(Unavailable(f"injected: {refusal}", written="no"))
            return seen
        real = _sent_twice(append) if twice else append()
        self._unresolved.add(seen)
        seen.add_done_callback(self._unresolved.discard)
        resolve = _lose if lost else _copy
        if delayed and not lost:
            with self._lock:
                self._delayed.append(lambda: real.add_done_callback(lambda done: resolve(done, seen)))
        else:
            self._deliver()
            real.add_done_callback(lambda done: resolve(done, seen))
        return seen

    def _drawn(self) -> tuple[str, bool, bool, bool]:
        """All dice are thrown each time, so that one fault's probability does not shift the others."""
        with self._lock:
            faults = self._dice.faults
            refused, full, twice, lost, delayed = map(
                self._dice.strikes,
                (faults.refused, faults.full, faults.sent_twice, faults.lost_acknowledgement, faults.delayed),
            )
            if full and not self._full_left:
                self._full_left = faults.full_appends
            if self._full_left:
                self._full_left -= 1
                return "full", twice, lost, delayed
        return "append refused" if refused else "", twice, lost, delayed

    def _deliver(self) -> None:
        with self._lock:
            delayed, self._delayed = self._delayed, deque()
        for deliver in delayed:
            deliver()


class FaultyReader:
    """A Reader that loses its connection now and then, and so do its cursors."""

    def __init__(self, reader: Reader, rng: random.Random, faults: FaultsNow) -> None:
        self._reader = reader
        self._dice = _Dice(rng, faults)
        _keep_powers(self, reader, self._dice.disconnect)

    def sequencers(self) -> Sequence[SequencerId]:
        return self._reader.sequencers()

    def cursor(self, sequencer: SequencerId) -> "FaultyCursor":
        self._dice.disconnect()
        return FaultyCursor(self._reader.cursor(sequencer), self._dice)

    def offsets(self, sequencer: SequencerId) -> Offsets:
        self._dice.disconnect()
        return self._reader.offsets(sequencer)

    def identity(self, sequencer: SequencerId) -> str:
        self._dice.disconnect()
        return self._reader.identity(sequencer)

    def close(self) -> None:
        self._reader.close()


class FaultyCursor:
    """A Cursor."""

    def __init__(self, cursor: Cursor, dice: "_Dice") -> None:
        self._cursor = cursor
        self._dice = dice
        self._next_offset: Offset | None = None
        """Its position, as the last poll said: what an empty batch has to say again."""
        _keep_powers(self, cursor)
        if isinstance(cursor, SeekableByTime):
            self.seek_to_time = self._seek_to_time

    def seek(self, offset: Offset) -> None:
        self._next_offset = None
        self._cursor.seek(offset)

    def seek_to_first(self) -> None:
        self._next_offset = None
        self._cursor.seek_to_first()

    def seek_to_next(self) -> None:
        self._next_offset = None
        self._cursor.seek_to_next()

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        self._dice.disconnect()
        faults = self._dice.faults
        slow, empty, short = map(self._dice.strikes, (faults.slow, faults.empty, faults.short))
        if slow:
            time.sleep(faults.slow_s)
        if empty and self._next_offset is not None:
            return Batch((), self._next_offset)
        batch = self._cursor.poll(1 if short else max_records, max_bytes, timeout_s)
        self._next_offset = batch.next_offset
        return batch

    def close(self) -> None:
        self._cursor.close()

    def _seek_to_time(self, time_ns: int) -> None:
        self._next_offset = None
        assert isinstance(self._cursor, SeekableByTime)
        self._cursor.seek_to_time(time_ns)


class _Dice:
    """Whether a fault strikes."""

    def __init__(self, rng: random.Random, faults: FaultsNow) -> None:
        self._rng = rng
        self._faults = faults

    @property
    def faults(self) -> Faults:
        return self._faults() if callable(self._faults) else self._faults

    def strikes(self, probability: float) -> bool:
        return self._rng.random() < probability

    def disconnect(self) -> None:
        if self.strikes(self.faults.disconnected):
            raise Unavailable("injected: disconnected")


def _keep_powers(wrapper: object, wrapped: object, before: Callable[[], None] = lambda: None) -> None:
    """As attributes of the object, where isinstance looks for a protocol's methods in every Python.

    before: called first at each call of such a method; what it raises is raised.
    """
    for power, method in _POWERS.items():
        if isinstance(wrapped, power):
            setattr(wrapper, method, _preceded(before, getattr(wrapped, method)))


def _preceded(before: Callable[[], None], method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        before()
        return method(*arguments)

    return call


def _sent_twice(append: "Callable[[], Future[Any]]") -> "Future[Any]":
    """As for a client that heard nothing of the first sending: with the second's place, or where that failed with what
    is known of both."""
    first = append()
    try:
        second = append()
    except PenstockError:  # closed in between
        return first
    heard: Future[Any] = Future()
    heard.set_running_or_notify_cancel()
    first.add_done_callback(lambda _: second.add_done_callback(lambda _: _copy(_what_is_known(first, second), heard)))
    return heard


def _what_is_known(first: "Future[Any]", second: "Future[Any]") -> "Future[Any]":
    """The one that says most: an offset, else that it may exist."""
    failed = second.exception()
    if failed is None or (first.exception() and getattr(failed, "written", "unknown") == "unknown"):
        return second
    return first


def _copy(done: "Future[Any]", seen: "Future[Any]") -> None:
    error = done.exception()
    if error is None:
        seen.set_result(done.result())
    else:
        seen.set_exception(error)


def _lose(done: "Future[Any]", seen: "Future[Any]") -> None:
    """What failed has no acknowledgement to lose."""
    if done.exception() is None:
        seen.set_exception(Unavailable("injected: acknowledgement lost", written="unknown"))
    else:
        _copy(done, seen)
