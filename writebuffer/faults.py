"""Faults on purpose: wrappers around a Writer and a Reader that lose, delay and refuse, by a seeded random generator.

What they do is what a real backend may do within the contract. A fault never changes what is stored: a refused append
was not written, one whose acknowledgement is lost was, a poll that fails leaves the cursor where it stood.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from common.errors import Unavailable
from common.ids import Offset, SequencerId
from writebuffer.contract import Appended, AppendedRange, Batch, Cursor, Offsets, Reader, Writer
from writebuffer.record import Record


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities, 0..1, of each append (the first three, tried in this order) or poll (the last)."""

    refused: float = 0.0
    lost_acknowledgement: float = 0.0
    delayed: float = 0.0
    disconnected: float = 0.0


class FaultyWriter:
    """A Writer. A delayed acknowledgement arrives with the next append that is not delayed, a flush or the close."""

    def __init__(self, writer: Writer, rng: random.Random, faults: Faults) -> None:
        self._writer = writer
        self._rng = rng
        self._faults = faults
        self._lock = threading.Lock()
        self._delayed: deque[Callable[[], None]] = deque()

    def sequencers(self) -> Sequence[SequencerId]:
        return self._writer.sequencers()

    def append(self, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        return self._append(lambda: self._writer.append(sequencer, record))

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        return self._append(lambda: self._writer.append_many(sequencer, records))

    def flush(self, timeout_s: float) -> None:
        self._writer.flush(timeout_s)
        self._deliver()

    def close(self) -> None:
        self._writer.close()
        self._deliver()

    def _append(self, append: "Callable[[], Future[Any]]") -> "Future[Any]":
        refused, lost, delayed = self._dice()
        seen: Future[Any] = Future()
        seen.set_running_or_notify_cancel()
        if refused:
            seen.set_exception(Unavailable("injected: append refused", written="no"))
            return seen
        real = append()
        if lost:
            real.add_done_callback(lambda done: _lose(done, seen))
        elif delayed:
            with self._lock:
                self._delayed.append(lambda: real.add_done_callback(lambda done: _copy(done, seen)))
        else:
            self._deliver()
            real.add_done_callback(lambda done: _copy(done, seen))
        return seen

    def _dice(self) -> tuple[bool, bool, bool]:
        """Three throws whatever their outcome, so that one fault's probability does not shift the others."""
        faults = self._faults
        with self._lock:
            refused, lost, delayed = (self._rng.random() for _ in range(3))
        return refused < faults.refused, lost < faults.lost_acknowledgement, delayed < faults.delayed

    def _deliver(self) -> None:
        with self._lock:
            delayed, self._delayed = self._delayed, deque()
        for deliver in delayed:
            deliver()


class FaultyReader:
    """A Reader whose cursors lose their connection now and then."""

    def __init__(self, reader: Reader, rng: random.Random, faults: Faults) -> None:
        self._reader = reader
        self._rng = rng
        self._faults = faults

    def sequencers(self) -> Sequence[SequencerId]:
        return self._reader.sequencers()

    def reader(self, sequencer: SequencerId) -> "FaultyCursor":
        return FaultyCursor(self._reader.reader(sequencer), self._rng, self._faults)

    def offsets(self, sequencer: SequencerId) -> Offsets:
        return self._reader.offsets(sequencer)

    def identity(self, sequencer: SequencerId) -> str:
        return self._reader.identity(sequencer)

    def close(self) -> None:
        self._reader.close()


class FaultyCursor:
    """A Cursor."""

    def __init__(self, cursor: Cursor, rng: random.Random, faults: Faults) -> None:
        self._cursor = cursor
        self._rng = rng
        self._faults = faults

    def seek(self, offset: Offset) -> None:
        self._cursor.seek(offset)

    def seek_to_first(self) -> None:
        self._cursor.seek_to_first()

    def seek_to_next(self) -> None:
        self._cursor.seek_to_next()

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        if self._rng.random() < self._faults.disconnected:
            raise Unavailable("injected: disconnected during a poll")
        return self._cursor.poll(max_records, max_bytes, timeout_s)

    def close(self) -> None:
        self._cursor.close()


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
