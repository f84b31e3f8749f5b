"""A fresh, isolated buffer of the backend under test, and what every test does with one.

Reading waits for what must come and then compares: an empty poll never counts as the end. Each poll is checked against
what the contract says of every batch. At the end everything that was opened is closed, and the buffer is deleted.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from common.values.ids import Offset, SequencerId
from writebuffer.conformance import child
from writebuffer.conformance.background import in_background
from writebuffer.conformance.samples import number_of, records
from writebuffer.conformance.subject import Subject
from writebuffer.contract import (
    Appended,
    AppendedRange,
    Backend,
    Batch,
    Cursor,
    Durable,
    Reader,
    SeekableByTime,
    SequencedRecord,
    Trimmable,
    Writer,
)
from writebuffer.proving import Breakable, HoldsBack, Provable
from writebuffer.record import Record

T = TypeVar("T")

ONE = SequencerId(0)
PLENTY = 2**30
TRIM_BYTES_MAX = 8 * 2**20
"""Until trimming must have moved the first offset; a backend that trims in larger units makes smaller ones `beside`."""
_TRIM_STEP_BYTES = 20_000


class Buffer:
    """Not made yet; `create` makes it."""

    def __init__(self, subject: Subject, patience_s: float) -> None:
        """patience_s: how long to wait for what must come soon."""
        self.subject = subject
        self.patience_s = patience_s
        self.name = f"proof-{uuid.uuid4().hex[:12]}"
        self.backend: Provable = subject.beside(self.name)
        self._opened: list[Writer | Reader] = []
        self._children: list[child.Child] = []
        self._number = 0

    # Opening

    def create(self, sequencers: int = 1) -> "Buffer":
        self.backend.create(sequencers)
        return self

    def writer(self, backend: Backend | None = None) -> Writer:
        self._opened.append(writer := (backend or self.backend).open_writer())
        return writer

    def reader(self, backend: Backend | None = None) -> Reader:
        self._opened.append(reader := (backend or self.backend).open_reader())
        return reader

    def cursor(self, sequencer: int = 0) -> Cursor:
        return self.reader().cursor(SequencerId(sequencer))

    def again(self) -> Backend:
        """Another object for the same buffer, by its name; where that means nothing elsewhere, the same object."""
        return self.subject.beside(self.name) if Durable in self.backend.powers else self.backend

    def child(self, act: str, *arguments: object) -> child.Child:
        """A process of its own that opens this buffer (child.py)."""
        process = child.Child(self.subject, act, self.name, *arguments)
        self._children.append(process)
        return process

    def trimmer(self, writer: Writer, reader: Reader) -> Trimmable:
        """Whichever of the two can trim."""
        for one in (writer, reader):
            if isinstance(one, Trimmable):
                return one
        pytest.fail("the backend declares Trimmable, but neither its writer nor its reader has `trim`")

    def by_time(self, cursor: Cursor) -> SeekableByTime:
        assert isinstance(cursor, SeekableByTime), (
            "the backend declares SeekableByTime, but its cursors have no `seek_to_time`"
        )
        return cursor

    @property
    def gate(self) -> HoldsBack:
        assert isinstance(self.backend, HoldsBack), (
            "the backend declares HoldsBack, but lacks some of its methods (writebuffer/proving.py)"
        )
        return self.backend

    @property
    def breaker(self) -> Breakable:
        assert isinstance(self.backend, Breakable), "the backend declares Breakable, but has no `break_writer`"
        return self.backend

    # Writing

    def next_numbers(self, count: int) -> range:
        """Numbers of records that this buffer has not seen."""
        start, self._number = self._number, self._number + count
        return range(start, start + count)

    def append(self, writer: Writer, count: int = 1, *, sequencer: int = 0) -> list[tuple[Offset, Record]]:
        """Append `count` new records one by one without waiting between; each with its offset, once all are durable."""
        sent = records(self.next_numbers(count))
        futures = [writer.append(SequencerId(sequencer), one) for one in sent]
        return [(self.result(future).offset, one) for future, one in zip(futures, sent, strict=True)]

    def append_many(self, writer: Writer, count: int, payload_bytes: int = 20) -> AppendedRange:
        return self.result(writer.append_many(ONE, records(self.next_numbers(count), payload_bytes)))

    def trim_until_moved(self, writer: Writer, reader: Reader) -> Offset:
        """Write and trim all until the first offset has moved; returns it. At least one record was written."""
        trimmer = self.trimmer(writer, reader)
        start = reader.offsets(ONE).first_offset
        for _ in range(TRIM_BYTES_MAX // _TRIM_STEP_BYTES):
            self.append_many(writer, 20, _TRIM_STEP_BYTES // 20)
            next_offset = reader.offsets(ONE).next_offset
            first_offset = trimmer.trim(ONE, next_offset)
            after = reader.offsets(ONE).next_offset
            assert after == next_offset, (
                f"trimming moved the next offset from {next_offset} to {after}; only appends may move it"
            )
            if first_offset > start:
                return first_offset
        pytest.fail(
            f"trimming everything never moved the first offset from {start}, with {TRIM_BYTES_MAX} bytes written: "
            "trim must remove each unit that is whole below `before`; if yours are larger, make them small in `beside`"
        )

    # Waiting and reading

    def result(self, future: "Future[T]") -> T:
        self.settled([future])
        return future.result()

    def error(self, future: "Future[Any]") -> BaseException | None:
        self.settled([future])
        return future.exception()

    def settled(self, futures: "Sequence[Future[Any]]") -> None:
        """Wait until all have resolved or failed."""
        hanging = wait(futures, self.patience_s).not_done
        if hanging:
            pytest.fail(
                f"{len(hanging)} of {len(futures)} futures neither resolved nor failed in {self.patience_s} s: each "
                "call must end with a result or an error"
            )

    def bounded(self, act: "Callable[[], T]") -> T:
        """Call `act`; returns or raises what it does. Fails where that lasts longer than `patience_s`."""
        return self.result(in_background(act))

    def poll(self, cursor: Cursor, max_records: int = 10_000, max_bytes: int = PLENTY, timeout_s: float = 0) -> Batch:
        batch = cursor.poll(max_records, max_bytes, timeout_s)
        check_batch(batch, max_records, max_bytes)
        return batch

    def read(
        self, cursor: Cursor, count: int, max_records: int = 10_000, max_bytes: int = PLENTY
    ) -> list[tuple[Offset, Record]]:
        """Poll until `count` records came; each with its offset."""
        found: list[SequencedRecord] = []
        deadline_s = time.monotonic() + self.patience_s
        while len(found) < count and (left_s := deadline_s - time.monotonic()) > 0:
            found += self.poll(cursor, min(max_records, count - len(found)), max_bytes, left_s).records
        if len(found) < count:
            pytest.fail(
                f"only {len(found)} of {count} durable records came in {self.patience_s} s of polling: a poll must "
                "return every record that is durable at or after the cursor"
            )
        return [(one.offset, one.record) for one in found]

    def read_to(self, cursor: Cursor, end: Offset) -> list[tuple[Offset, Record]]:
        """Poll until the cursor is at `end` or after it. Returns every record on the way, with its offset."""
        found: list[tuple[Offset, Record]] = []
        deadline_s = time.monotonic() + self.patience_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            batch = self.poll(cursor, timeout_s=min(0.05, left_s))
            found += [(one.offset, one.record) for one in batch.records]
            if batch.next_offset >= end:
                return found
        pytest.fail(
            f"the cursor never reached offset {end} in {self.patience_s} s of polling, which returned {len(found)} "
            "records: a poll must return every record that is durable, and move the cursor past it"
        )

    def read_all(self, sequencer: int = 0) -> list[tuple[Offset, Record]]:
        """Everything from the first to the next offset."""
        reader = self.reader()
        return self.read_to(reader.cursor(SequencerId(sequencer)), reader.offsets(SequencerId(sequencer)).next_offset)

    # The end

    def remove(self) -> None:
        """Close what was opened, stop what was started, delete the buffer. Raises what deleting raises."""
        for process in self._children:
            process.kill()
        if HoldsBack in self.backend.powers and isinstance(self.backend, HoldsBack):
            try_for(self.patience_s, self.backend.release)
        for one in self._opened:
            try_for(self.patience_s, one.close)
        self.bounded(self.backend.delete)


def check_batch(batch: Batch, max_records: int, max_bytes: int) -> None:
    """What holds for every batch of every backend."""
    offsets = [one.offset for one in batch.records]
    assert all(below < above for below, above in pairwise(offsets)), (
        f"the offsets of a batch must strictly increase, got {offsets}"
    )
    assert len(offsets) <= max_records, f"a poll of max_records={max_records} returned {len(offsets)} records"
    total_bytes = sum(len(one.record) for one in batch.records)
    assert total_bytes <= max_bytes or len(offsets) == 1, (
        f"a poll of max_bytes={max_bytes} returned {len(offsets)} records of {total_bytes} bytes; only a single record "
        "may be larger"
    )
    assert not offsets or batch.next_offset > offsets[-1], (
        f"a batch whose last record is at offset {offsets[-1]} has next_offset {batch.next_offset}; it must be "
        "greater, or the record is read twice"
    )


def numbers(found: Iterable[tuple[Offset, Record]]) -> list[int]:
    return [number_of(one) for _, one in found]


def offsets(found: Iterable[tuple[Offset, Record]]) -> list[Offset]:
    return [offset for offset, _ in found]


def try_for(timeout_s: float, act: Callable[[], None]) -> None:
    """Clean up: errors and hangs of a broken backend are passed over here, the test itself has reported them."""
    wait([in_background(act)], timeout_s)


__all__ = ["ONE", "PLENTY", "Appended", "Buffer", "check_batch", "numbers", "offsets"]
