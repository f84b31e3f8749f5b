"""Backends that break the contract on purpose, one rule each: `broken:NAME`, of the memory, file or example backend.

A fault wraps calls of the backend it is over: `on_poll(cursor, poll, ...)` stands before the cursor's own `poll`. Its
`group` is the one that has to catch it. `broken:nothing:BASE` is the twin without a fault.
"""

import inspect
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from common.errors import PenstockError
from common.ids import Offset, SequencerId
from docs.examples.sqlite_buffer import SqliteBackend
from writebuffer.contract import Appended, Batch, Durable, Offsets, SeekableByTime
from writebuffer.errors import OffsetInFuture, OffsetTrimmed, SequencersDiffer
from writebuffer.file.proving import ProofBackend
from writebuffer.memory import MemoryBackend
from writebuffer.record import Record

BIG = 2**40


class Fault:
    group: ClassVar[str]
    base: ClassVar[str] = "memory"
    hangs: ClassVar[bool] = False
    """Whether the suite has to wait in vain until it notices."""

    def __init__(self, backend: Any) -> None:
        """One for each buffer."""
        self.backend = backend

    def break_into(self, target: Any) -> Any:
        """Put every `on_NAME` of the fault before `target`'s own NAME, where it has one."""
        for name, hook in inspect.getmembers(self, inspect.ismethod):
            real = getattr(target, name.removeprefix("on_"), None)
            if name.startswith("on_") and real is not None:
                setattr(target, name.removeprefix("on_"), partial(hook, target, real))
        return target


class Nothing(Fault):
    """The twin."""


class SkipsARecordAtTheEdgeOfABatch(Fault):
    group = "cursors"
    hangs = True

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, max_bytes, timeout_s)
        if len(batch.records) == max_records > 1:
            return Batch(batch.records, poll(1, 1, 0).next_offset)
        return batch


class RepeatsARecordThatWasReadAhead(Fault):
    group = "cursors"

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, max_bytes, timeout_s)
        if len(batch.records) == max_records > 1:
            cursor.seek(batch.records[-1].offset)
        return batch


class IgnoresMaxBytes(Fault):
    group = "cursors"

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, BIG, timeout_s)
        return batch


class SharesItsPositionBetweenCursors(Fault):
    group = "cursors"
    hangs = True

    def on_reader(self, reader: Any, open_cursor: Any, sequencer: SequencerId) -> Any:
        if not hasattr(reader, "only_cursor"):
            reader.only_cursor = open_cursor(sequencer)
        return reader.only_cursor


class BlocksASecondReader(Fault):
    group = "cursors"
    hangs = True

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self.turn = threading.Lock()

    def on_poll(self, cursor: Any, poll: Any, *limits: Any) -> Batch:
        with self.turn:
            batch: Batch = poll(*limits)
            return batch


class ReusesOffsetsAfterTrimming(Fault):
    group = "never_reused"
    base = "sqlite"

    def on_trim(self, writer: Any, trim: Any, sequencer: SequencerId, before: Offset) -> Offset:
        first_offset: Offset = trim(sequencer, before)
        with writer.transaction() as run:
            run("UPDATE stream SET next_offset = (SELECT ifnull(max(offset) + 1, 1) FROM record WHERE sequencer = 0)")
            run("UPDATE stream SET first_offset = min(first_offset, next_offset)")
        return first_offset


class ResolvesBeforeDurable(Fault):
    group = "durable_only"

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        end = writer.ends = max(getattr(writer, "ends", 0), self.backend.open_reader().offsets(sequencer).next_offset)
        append(sequencer, record)
        writer.ends += 1
        future: Future[Appended] = Future()
        future.set_result(Appended(end, record.append_time_ns))
        return future


class ReturnsWhatIsNotDurable(Fault):
    group = "durable_only"

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        future: Future[Appended] = append(sequencer, record)
        if not future.done():
            stream = writer._streams[sequencer]
            with stream.changed:
                stream.settle(stream.written_end)
                stream.changed.notify_all()
        return future


class LosesTheTraceContext(Fault):
    group = "headers"

    def on_poll(self, cursor: Any, poll: Any, *limits: Any) -> Batch:
        batch = poll(*limits)
        return Batch([replace(one, record=_without_trace(one.record)) for one in batch.records], batch.next_offset)


class TellsTheServersTime(Fault):
    group = "headers"

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        return _then(append(*call), lambda appended: Appended(appended.offset, time.time_ns()))


class MovesTheCursorOnAFailedPoll(Fault):
    group = "trim"
    hangs = True

    def on_poll(self, cursor: Any, poll: Any, *limits: Any) -> Batch:
        try:
            batch: Batch = poll(*limits)
        except OffsetTrimmed:
            cursor.seek_to_first()
            raise
        return batch


class JumpsOverWhatWasTrimmed(Fault):
    group = "trim"
    hangs = True

    def on_poll(self, cursor: Any, poll: Any, *limits: Any) -> Batch:
        try:
            batch: Batch = poll(*limits)
        except OffsetTrimmed:
            cursor.seek_to_first()
            batch = poll(*limits)
        return batch


class TrimsMoreThanAsked(Fault):
    group = "trim"

    def on_trim(self, writer: Any, trim: Any, sequencer: SequencerId, before: Offset) -> Offset:
        first_offset: Offset = trim(sequencer, Offset(before + 1) if before else before)
        return first_offset


class AcceptsASeekPastNext(Fault):
    group = "seek"

    def on_seek(self, cursor: Any, seek: Any, offset: Offset) -> None:
        try:
            seek(offset)
        except OffsetInFuture:
            cursor.seek_to_next()


class RefusesASeekToNext(Fault):
    group = "seek"

    def on_seek(self, cursor: Any, seek: Any, offset: Offset) -> None:
        end = self.backend.open_reader().offsets(SequencerId(0)).next_offset
        if offset == end:
            raise OffsetInFuture(SequencerId(0), offset, end)
        seek(offset)


class MovesTheCursorOnARefusedSeek(Fault):
    group = "seek"
    hangs = True

    def on_seek(self, cursor: Any, seek: Any, offset: Offset) -> None:
        try:
            seek(offset)
        except OffsetInFuture:
            cursor.seek_to_next()
            raise


class WakesOnlyAtTheTimeout(Fault):
    group = "waking"
    hangs = True

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, max_bytes, 0)
        if not batch.records and timeout_s:
            time.sleep(timeout_s)
            batch = poll(max_records, max_bytes, 0)
        return batch


class ReturnsBeforeItsTimeout(Fault):
    group = "waking"

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, max_bytes, timeout_s / 10)
        return batch


class DropsLargePayloads(Fault):
    group = "batching"

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        kept = record if len(record) < 70_000 else Record(record.header_block, b"")
        future: Future[Appended] = append(sequencer, kept)
        return future


class LetsAFutureBeCancelled(Fault):
    group = "batching"

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        real: Future[Appended] = append(*call)
        if threading.current_thread() is not threading.main_thread():
            return real
        future: Future[Appended] = Future()

        def resolve() -> None:
            if future.set_running_or_notify_cancel():
                future.set_result(real.result())

        threading.Timer(0.02, resolve).start()
        return future


class ReordersTheAppendsOfOneWriter(Fault):
    group = "one_stream"

    def on_append_many(self, writer: Any, append_many: Any, sequencer: SequencerId, records: Any) -> "Future[Any]":
        kept = list(records)
        future: Future[Any] = append_many(sequencer, kept[:1] + kept[1:][::-1])
        return future


class MixesSequencers(Fault):
    group = "sequencers"

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        last = len(writer.sequencers()) - 1
        future: Future[Appended] = append(SequencerId(0) if sequencer == last == 15 else sequencer, record)
        return future


class HangsFuturesOnClose(Fault):
    group = "closing"
    hangs = True

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        real: Future[Appended] = append(*call)
        return real if real.done() else Future()


class AcceptsAnUnknownSequencer(Fault):
    group = "wrong_calls"

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        future: Future[Appended] = append(SequencerId(sequencer % len(writer.sequencers())), record)
        return future


class IgnoresAnotherNumberOfSequencers(Fault):
    group = "creation"

    def on_create(self, backend: Any, create: Any, sequencers: int) -> None:
        try:
            create(sequencers)
        except SequencersDiffer:
            return


class MakesABufferByOpeningIt(Fault):
    group = "creation"

    def on_open_reader(self, backend: Any, open_reader: Any) -> Any:
        try:
            return open_reader()
        except PenstockError:
            backend.create(1)
            return open_reader()


class LosesItsIdentityOnOpeningAgain(Fault):
    group = "identity"

    def on_identity(self, reader: Any, identity: Any, sequencer: SequencerId) -> str:
        if not hasattr(reader, "name"):
            reader.name = uuid.uuid4().hex
        return f"{reader.name}-{sequencer}"


class KeepsItsIdentityWhenMadeAgain(Fault):
    group = "identity"

    def on_identity(self, reader: Any, identity: Any, sequencer: SequencerId) -> str:
        return f"{self.backend.url}-{sequencer}"


class DeclaresAPowerItLacks(Fault):
    group = "powers"

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        backend.powers = backend.powers | {Durable}


class OffersAPowerUndeclared(Fault):
    group = "powers"

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        backend.powers = backend.powers - {SeekableByTime}


class AcknowledgesWhatOnlyItsProcessHolds(Fault):
    group = "killed"
    base = "sqlite"

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        """Written in groups of a hundred; each is told its offset at once."""
        kept = writer.__dict__.setdefault("kept", [])
        at = writer.__dict__.setdefault("at", writer.offsets(sequencer).next_offset)
        kept.append(record)
        if len(kept) == 100:
            writer.append_many(sequencer, kept)
            kept.clear()
        writer.at = at + 1
        future: Future[Appended] = Future()
        future.set_result(Appended(at, record.append_time_ns))
        return future


class TakesALateRecordForARepeat(Fault):
    group = "duplicates"

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        """Remembers only the newest sequence of each producer."""
        newest = self.backend.__dict__.setdefault("newest", {})
        headers = record.headers
        key = (sequencer, headers.producer_id)
        seen, future = newest.get(key, (-1, None))
        if headers.producer_sequence <= seen:
            repeated: Future[Appended] = future
            return repeated
        future = append(sequencer, record)
        newest[key] = (headers.producer_sequence, future)
        return future


class CountsNextTooHigh(Fault):
    group = "lag"
    hangs = True

    def on_offsets(self, reader: Any, offsets: Any, sequencer: SequencerId) -> Offsets:
        found: Offsets = offsets(sequencer)
        return replace(found, next_offset=Offset(found.next_offset + 1)) if found.next_offset else found


class StartsAtOne(Fault):
    group = "offsets"

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        return _then(append(*call), lambda appended: Appended(Offset(appended.offset + 1), appended.append_time_ns))


class FindsTheNewestOfEqualTimes(Fault):
    group = "time"
    hangs = True

    def on_seek_to_time(self, cursor: Any, seek_to_time: Any, time_ns: int) -> None:
        seek_to_time(time_ns)
        while (found := cursor.poll(1, 1, 0).records) and found[0].record.append_time_ns == time_ns:
            last = found[0].offset
        if found:
            cursor.seek(found[0].offset)
        if "last" in locals():
            cursor.seek(last)


class HangsWhenItsThreadDies(Fault):
    group = "dead_threads"
    base = "file"
    hangs = True

    def on_break_writer(self, backend: Any, break_writer: Any, writer: Any, cause: Exception) -> None:
        writer.append = lambda *_: Future()


class LosesARecordBetweenThreads(Fault):
    group = "together"

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        if threading.current_thread() is not threading.main_thread() and record.headers.producer_sequence == 150:
            future: Future[Appended] = append(sequencer, Record.of(replace(record.headers, producer_sequence=151), b""))
            return future
        other: Future[Appended] = append(sequencer, record)
        return other


def _then(real: "Future[Any]", change: Callable[[Any], Any]) -> "Future[Any]":
    """A future of what `change` makes of the real one's result."""
    seen: Future[Any] = Future()
    seen.set_running_or_notify_cancel()
    real.add_done_callback(lambda done: seen.set_result(change(done.result())))
    return seen


def _without_trace(record: Record) -> Record:
    return Record.of(replace(record.headers, trace_parent=""), record.payload)


FAULTS: dict[str, type[Fault]] = {
    name: kind
    for name, kind in list(globals().items())
    if inspect.isclass(kind) and issubclass(kind, Fault) and kind not in (Fault, Nothing)
}


def url_of(fault: str, base: str, folder: object) -> str:
    """What `from_url` takes. folder: for the bases that need one."""
    return f"broken:{fault}:{base}:{folder}/{fault}"


def from_url(url: str) -> Any:
    """A backend with that fault, for --backend."""
    _, name, base, path = url.split(":", 3)
    kind = FAULTS.get(name, Nothing)
    backend: Any
    if base == "sqlite":
        backend = SqliteBackend(f"sqlite://{path}")
    elif base == "file":
        backend = ProofBackend(path)
    else:
        backend = MemoryBackend()
    backend.url = url
    return _broken(kind(backend), backend, f"broken:{name}:{base}:{path}")


def _broken(fault: Fault, backend: Any, url: str) -> Any:
    beside, open_writer, open_reader = backend.beside, backend.open_writer, backend.open_reader

    def open_broken_reader() -> Any:
        reader = open_reader()
        open_cursor = reader.reader
        reader.reader = lambda sequencer: fault.break_into(open_cursor(sequencer))
        return fault.break_into(reader)

    backend.beside = lambda name: from_url(f"{url}-{name}")
    backend.open_writer = lambda: fault.break_into(open_writer())
    backend.open_reader = open_broken_reader
    assert beside is not None
    return fault.break_into(backend)
