"""The memory backend: a twin of the durable ones for tests, simulations and one process.

It keeps the real rules: records are bytes, copied out at each read; capacity is limited, offsets are never reused, what
was trimmed raises, a reader sees only what was acknowledged. Retention and latency can be added (memory_options.py).
Without a latency an append resolves before the call returns (unless held back), and a poll with timeout 0 never waits,
so that a single-threaded simulation is deterministic. Nothing survives the process.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from common.values.clock import Clock, SystemClock
from common.values.errors import Forked, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.checks import check_append, check_count, check_found_count, check_limits, check_sequencer
from writebuffer.contract import (
    Appended,
    AppendedRange,
    Batch,
    Dense,
    Measurable,
    Offsets,
    SeekableByTime,
    SequencedRecord,
    Size,
    Trimmable,
)
from writebuffer.errors import BufferNotFound, Closed, OffsetInFuture, OffsetTrimmed
from writebuffer.memory_latency import Later, LaterThread
from writebuffer.memory_options import CAPACITY_BYTES, MemoryOptions
from writebuffer.memory_stream import MemoryStream
from writebuffer.proving import HoldsBack
from writebuffer.record import Record
from writebuffer.waiting import await_appends, bounded_s

_SYSTEM_CLOCK = SystemClock()


class MemoryBackend:
    """Implements Provable and HoldsBack. Any number of writers and readers; those of one backend share one buffer."""

    powers: frozenset[type] = frozenset({Dense, Trimmable, Measurable, SeekableByTime, HoldsBack})

    def __init__(
        self,
        url: str = "memory:",
        *,
        capacity_bytes: int = CAPACITY_BYTES,
        retention_bytes: int | None = None,
        retention_records: int | None = None,
        retention_s: float | None = None,
        latency_s: float = 0.0,
        clock: Clock = _SYSTEM_CLOCK,
        later: Later | None = None,
    ) -> None:
        """The options are those of memory_options.py.

        clock: what retention_s counts by. later: who calls back after latency_s; a thread by default.
        """
        self.url = url
        self.options = MemoryOptions(capacity_bytes, retention_bytes, retention_records, retention_s, latency_s)
        self._clock = clock
        self._later = later or LaterThread()
        self._lock = threading.Lock()
        self._streams: list[MemoryStream] = []

    def create(self, sequencers: int) -> None:
        check_count(self.url, sequencers)
        with self._lock:
            if not self._streams:
                self._streams = [self._stream(number) for number in range(sequencers)]
            check_found_count(self.url, len(self._streams), sequencers, "a name")

    def beside(self, name: str) -> "MemoryBackend":
        """Known to nobody else: a buffer of a proof is not found by its name."""
        return MemoryBackend(f"{self.url}{name}", **asdict(self.options), clock=self._clock, later=self._later)

    def delete(self) -> None:
        """Remove the buffer, as an operator would; whoever still reads it or waits for an append gets Forked."""
        with self._lock:
            streams, self._streams = self._streams, []
        for stream in streams:
            stream.delete()

    def hold(self) -> None:
        """From now on what is appended is neither acknowledged nor readable."""
        for stream in self._created():
            with stream.changed:
                stream.holding = True

    def await_held(self, timeout_s: float) -> None:
        """A record waits for its durability from its append on."""

    def release(self) -> None:
        """What was held back is durable now, and resolves in order; hold nothing any more."""
        with self._lock:
            streams = self._streams
        for stream in streams:
            stream.release()

    def open_writer(self) -> "MemoryWriter":
        return MemoryWriter(self.url, self._created(), self.options.latency_s, self._later)

    def open_reader(self) -> "MemoryReader":
        return MemoryReader(self.url, self._created())

    def _stream(self, number: int) -> MemoryStream:
        return MemoryStream(SequencerId(number), self.options, self._clock)

    def _created(self) -> list[MemoryStream]:
        with self._lock:
            if not self._streams:
                raise BufferNotFound(
                    f"{self.url}: there is no write buffer of this name in this process; make it by create(sequencers)",
                    url=self.url,
                )
            return self._streams


class MemoryWriter:
    """Implements Writer and Trimmable."""

    def __init__(self, url: str, streams: Sequence[MemoryStream], latency_s: float, later: Later) -> None:
        self._url = url
        self._streams = streams
        self._count = len(streams)
        self._latency_s = latency_s
        self._later = later
        self._waiting: set[Future[Any]] = set()
        self._closed = False

    def sequencers(self) -> Sequence[SequencerId]:
        return [stream.sequencer for stream in self._streams]

    def append(self, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        return self._append(sequencer, (record,), single=True)

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        return self._append(sequencer, records, single=False)

    def flush(self, timeout_s: float) -> None:
        self._check_open()
        await_appends(list(self._waiting), timeout_s, self._url)

    def close(self) -> None:
        """As the contract says; what only the latency keeps back is acknowledged at once."""
        self._closed = True
        for stream in self._streams:
            stream.acknowledge()
        for future in list(self._waiting):
            with suppress(InvalidStateError):
                future.set_exception(Unavailable(f"{self._url}: the writer was closed", written="unknown"))

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        """Removes exactly what lies below `before`, at most up to the next offset."""
        self._check_open()
        check_sequencer(sequencer, self._count)
        with self._streams[sequencer].changed:
            return self._streams[sequencer].trim(before)

    def _append(self, sequencer: SequencerId, records: Sequence[Record], *, single: bool) -> "Future[Any]":
        if self._closed:
            self._check_open()
        added_bytes = check_append(sequencer, self._count, records)
        future: Future[Any] = Future()
        stream = self._streams[sequencer]
        with stream.lock:
            try:
                result = _result(stream.add(records, added_bytes), records, single=single)
            except (Forked, Unavailable) as error:
                future.set_exception(error)
                return future
            if stream.holding or stream.resolving or self._latency_s:
                self._resolve_later(stream, future, result)
                return future
            stream.settle(stream.written_end)
        future.set_result(result)
        return future

    def _resolve_later(self, stream: MemoryStream, future: "Future[Any]", result: Appended | AppendedRange) -> None:
        future.set_running_or_notify_cancel()  # a caller's cancel() changes nothing
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        end = stream.wait(future, result)
        if self._latency_s:
            self._later(self._latency_s, lambda: stream.acknowledge(end))

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self._url}: the writer was closed")


def _result(first_offset: Offset, records: Sequence[Record], *, single: bool) -> Appended | AppendedRange:
    first = Appended(first_offset, records[0].append_time_ns)
    if single:
        return first
    return AppendedRange(first, Appended(Offset(first_offset + len(records) - 1), records[-1].append_time_ns))


class MemoryReader:
    """Implements Reader and Measurable."""

    def __init__(self, url: str, streams: Sequence[MemoryStream]) -> None:
        self._url = url
        self._streams = streams
        self.closed = False

    def sequencers(self) -> Sequence[SequencerId]:
        return [stream.sequencer for stream in self._streams]

    def cursor(self, sequencer: SequencerId) -> "MemoryCursor":
        return MemoryCursor(self, self._stream(sequencer))

    def offsets(self, sequencer: SequencerId) -> Offsets:
        stream = self._stream(sequencer)
        with stream.reading():
            return Offsets(stream.first_offset, stream.durable_end)

    def identity(self, sequencer: SequencerId) -> str:
        return self._stream(sequencer).identity

    def size(self, sequencer: SequencerId) -> Size:
        stream = self._stream(sequencer)
        with stream.reading():
            return Size(stream.kept_bytes, stream.kept_bytes)

    def close(self) -> None:
        """Cursors raise Closed from now on, those that wait in a poll too."""
        self.closed = True
        for stream in self._streams:
            with stream.changed:
                stream.changed.notify_all()

    def _stream(self, sequencer: SequencerId) -> MemoryStream:
        if self.closed:
            raise Closed(f"{self._url}: the reader was closed")
        check_sequencer(sequencer, len(self._streams))
        return self._streams[sequencer]


class MemoryCursor:
    """Implements Cursor and SeekableByTime."""

    def __init__(self, reader: MemoryReader, stream: MemoryStream) -> None:
        self._reader = reader
        self._stream = stream
        self._closed = False
        self._offset = Offset(0)
        self.seek_to_first()

    def seek(self, offset: Offset) -> None:
        with self._open() as stream:
            if offset < stream.first_offset:
                raise OffsetTrimmed(stream.sequencer, offset, stream.first_offset)
            if offset > stream.durable_end:
                raise OffsetInFuture(stream.sequencer, offset, stream.durable_end)
            self._offset = offset

    def seek_to_first(self) -> None:
        with self._open() as stream:
            self._offset = stream.first_offset

    def seek_to_next(self) -> None:
        with self._open() as stream:
            self._offset = stream.durable_end

    def seek_to_time(self, time_ns: int) -> None:
        with self._open() as stream:
            at_or_after = (
                Offset(offset)
                for offset in range(stream.first_offset, stream.durable_end)
                if stream.record(offset).append_time_ns >= time_ns
            )
            self._offset = next(at_or_after, stream.durable_end)

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        check_limits(max_records, max_bytes)
        if wait_s := bounded_s(timeout_s):
            self._await_news(wait_s)
        with self._open() as stream:
            if self._offset < stream.first_offset:
                raise OffsetTrimmed(stream.sequencer, self._offset, stream.first_offset)
            records = self._take(stream, max_records, max_bytes)
            self._offset = Offset(self._offset + len(records))
            return Batch(records, self._offset)

    def close(self) -> None:
        self._closed = True

    def _await_news(self, timeout_s: float) -> None:
        with self._open() as stream:
            stream.polls_waiting += 1
            try:
                stream.changed.wait_for(self._has_news, timeout_s)
            finally:
                stream.polls_waiting -= 1

    def _has_news(self) -> bool:
        stream = self._stream
        return stream.durable_end > self._offset or stream.deleted or self._reader.closed

    def _take(self, stream: MemoryStream, max_records: int, max_bytes: int) -> list[SequencedRecord]:
        records: list[SequencedRecord] = []
        room = max_bytes
        for offset in range(self._offset, min(stream.durable_end, self._offset + max_records)):
            record = stream.record(offset)
            room -= record.checked_bytes
            if records and room < 0:
                break
            records.append(SequencedRecord(Offset(offset), record))
        return records

    @contextmanager
    def _open(self) -> Iterator[MemoryStream]:
        if self._closed or self._reader.closed:
            raise Closed(f"sequencer {self._stream.sequencer}: the cursor or its reader was closed")
        with self._stream.reading():
            yield self._stream
