"""The write buffer's contract, run unchanged against the memory and the file backend.

The groups are those of the conformance suite's description. Three need more than the contract and stand elsewhere:
15 (SIGKILL) in test_file_log_processes.py, 18 (durable only) and 20 (dead threads) in test_file_log_faults.py and
test_memory_buffer.py.
"""

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.errors import Forked, InvalidRequest, Unavailable
from common.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_all, read_from, record, record_of_bytes, records
from tests.support.crash_disk import CrashDisk
from writebuffer.contract import Backend, Cursor, Durable, Measurable, Reader, SeekableByTime, Trimmable, Writer
from writebuffer.errors import (
    BufferNotFound,
    Closed,
    MalformedRecord,
    OffsetInFuture,
    OffsetTrimmed,
    RecordTooLarge,
    SequencersDiffer,
    UnknownSequencer,
)
from writebuffer.file import FileBackend
from writebuffer.memory import MemoryBackend
from writebuffer.record import RECORD_BYTES_MAX, Record, RecordHeaders

ONE = SequencerId(0)
EVERYTHING = (10_000, 2**30)


@dataclass
class Buffer:
    """A fresh, isolated buffer. `delete`: as an operator would. What is opened through it is closed at the end."""

    backend: Backend
    delete: Callable[[], None]
    opened: list[Writer | Reader] = field(default_factory=list)

    def writer(self) -> Writer:
        self.opened.append(writer := self.backend.open_writer())
        return writer

    def reader(self) -> Reader:
        self.opened.append(reader := self.backend.open_reader())
        return reader

    def cursor(self, sequencer: int = 0) -> Cursor:
        return self.reader().reader(SequencerId(sequencer))


@pytest.fixture(params=["memory", "file"])
def absent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Buffer]:
    """A buffer that was not created yet."""
    if request.param == "memory":
        memory = MemoryBackend()
        buffer = Buffer(memory, memory.delete)
    else:
        folder = tmp_path / "log"
        buffer = Buffer(FileBackend(str(folder), segment_bytes=20_000), lambda: shutil.rmtree(folder))
    yield buffer
    for one in buffer.opened:
        one.close()


@pytest.fixture
def buffer(absent: Buffer) -> Buffer:
    absent.backend.create(1)
    return absent


@pytest.fixture(params=["memory", "file"])
def cramped(request: pytest.FixtureRequest) -> Backend:
    """A buffer of one sequencer with room for some ten of the largest records."""
    backend: Backend
    if request.param == "memory":
        backend = MemoryBackend(capacity_bytes=11 * RECORD_BYTES_MAX)
    else:
        disk = CrashDisk()
        disk.space_bytes = 11 * RECORD_BYTES_MAX
        backend = FileBackend("/log", disk, segment_bytes=20_000)
    backend.create(1)
    return backend


def append(writer: Writer, count: int, *, first: int = 0, sequencer: int = 0) -> list[int]:
    """Append so many records one by one, wait for all, and return their offsets."""
    futures = [writer.append(SequencerId(sequencer), record(number)) for number in range(first, first + count)]
    return [future.result(20).offset for future in futures]


def polled(cursor: Cursor, timeout_s: float = 0) -> list[int]:
    return [one.offset for one in cursor.poll(*EVERYTHING, timeout_s).records]


# 1, 17: one stream


def test_an_empty_sequencer_returns_nothing(buffer: Buffer) -> None:
    """A poll of nothing is empty and leaves the cursor where it is."""
    batch = buffer.cursor().poll(*EVERYTHING, 0)
    assert (list(batch.records), batch.next_offset) == ([], 0)


def test_records_come_back_in_order_and_equal_to_the_byte(buffer: Buffer) -> None:
    """Headers, trace context, append time and payload survive; two more arrive behind the first."""
    writer, cursor = buffer.writer(), buffer.cursor()
    first = record(1, 0, time_ns=-5)
    appended = writer.append(ONE, first).result(10)
    assert (appended.offset, appended.append_time_ns) == (0, -5)
    assert read_from(cursor, 1) == [(0, first)]
    more = [record(2, 1000), record(3)]
    span = writer.append_many(ONE, more).result(10)
    assert (span.first.offset, span.last.offset, span.last.append_time_ns) == (1, 2, 3)
    found = read_from(cursor, 2)
    assert found == [(1, more[0]), (2, more[1])]
    assert found[0][1].headers == more[0].headers
    assert found[0][1].headers.trace_parent.startswith("00-")


# 2: cursors are independent


def test_cursors_share_nothing(buffer: Buffer) -> None:
    """One is sought, polled and closed without another noticing."""
    append(buffer.writer(), 10)
    reader = buffer.reader()
    one, other = reader.reader(ONE), reader.reader(ONE)
    assert polled(one) == list(range(10))
    other.seek(Offset(4))
    one.close()
    assert polled(other) == list(range(4, 10))


@pytest.mark.parametrize("max_records", [1, 3, 100])
def test_a_cursor_recreated_anywhere_goes_on_at_the_exact_next_record(buffer: Buffer, max_records: int) -> None:
    """Prefetching never loses or repeats one."""
    writer = buffer.writer()
    for first in range(0, 30, 5):
        writer.append_many(ONE, records(range(first, first + 5))).result(10)
    found: list[int] = []
    next_offset = Offset(0)
    while next_offset < 30:
        cursor = buffer.cursor()
        cursor.seek(next_offset)
        batch = cursor.poll(max_records, 2**20, 1)
        found += numbers(one.record for one in batch.records)
        next_offset = batch.next_offset
    assert found == list(range(30))


def test_a_batch_stops_before_max_bytes_but_has_one_record(buffer: Buffer) -> None:
    """The limit counts records' bytes; a record over it comes alone."""
    buffer.writer().append_many(ONE, records(range(6), 100)).result(10)
    cursor, size = buffer.cursor(), len(record(0, 100))
    assert [len(cursor.poll(10, limit, 1).records) for limit in (2 * size, 2 * size - 1, 1)] == [2, 1, 1]


# 3: several sequencers


@pytest.mark.parametrize("count", [1, 2, 16])
def test_every_writer_and_reader_sees_the_same_sequencers(absent: Buffer, count: int) -> None:
    """0..N-1, isolated from each other; silence of all but one delays nothing."""
    absent.backend.create(count)
    writer, reader = absent.writer(), absent.reader()
    assert list(writer.sequencers()) == list(reader.sequencers()) == list(range(count))
    append(writer, 3, sequencer=count - 1)
    assert polled(reader.reader(SequencerId(count - 1)), 5) == [0, 1, 2]
    assert all(reader.offsets(SequencerId(other)).next_offset == 0 for other in range(count - 1))


# 4: many threads


def test_each_threads_appends_keep_their_order(buffer: Buffer) -> None:
    """Several threads append at once; two cursors see the same sequence, in which each thread's order is kept."""
    writer = buffer.writer()
    with ThreadPoolExecutor(4) as threads:
        starts = [1000 * thread for thread in range(4)]
        offsets = list(threads.map(lambda start: append(writer, 50, first=start), starts))
    assert all(list(mine) == sorted(mine) for mine in offsets)
    seen = [read_from(buffer.cursor(), 200) for _ in range(2)]
    assert seen[0] == seen[1]
    order = numbers(one for _, one in seen[0])
    for start in starts:
        assert [number for number in order if start <= number < start + 1000] == list(range(start, start + 50))


# 5: a blocked poll


def test_a_blocked_poll_wakes_at_the_append(buffer: Buffer) -> None:
    """It returns the record long before its timeout."""
    writer, cursor = buffer.writer(), buffer.cursor()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(polled, cursor, 60)
        assert not wait([waiting], 0.02).done
        append(writer, 1)
        assert waiting.result(10) == [0]


# 6: seek


def test_seeking_within_and_to_the_edges(buffer: Buffer) -> None:
    """Forward, backward, first, next - 1 and next are legal."""
    append(buffer.writer(), 5)
    cursor = buffer.cursor()
    for offset in (3, 1, 0, 4, 5):
        cursor.seek(Offset(offset))
        assert polled(cursor) == list(range(offset, 5))
    cursor.seek_to_first()
    assert polled(cursor) == list(range(5))
    cursor.seek_to_next()
    assert cursor.poll(*EVERYTHING, 0).next_offset == 5


@pytest.mark.parametrize("beyond", [1, 2, 10**15])
def test_seeking_past_next_raises_and_moves_nothing(buffer: Buffer, beyond: int) -> None:
    """The error names both offsets; the cursor stands where it stood and goes on, other cursors are not affected."""
    append(buffer.writer(), 5)
    cursor, other = buffer.cursor(), buffer.cursor()
    cursor.seek(Offset(2))
    with pytest.raises(OffsetInFuture, match=f"seek to {5 + beyond} is past next offset 5"):
        cursor.seek(Offset(5 + beyond))
    assert polled(cursor) == [2, 3, 4]
    assert polled(other) == [0, 1, 2, 3, 4]


def test_a_cursor_at_next_waits_for_what_comes(buffer: Buffer) -> None:
    """Also in an empty sequencer, where first and next are the same."""
    writer, cursor = buffer.writer(), buffer.cursor()
    cursor.seek(Offset(0))
    append(writer, 2)
    assert polled(cursor, 5) == [0, 1]


# 7, 21: offsets


def test_offsets_grow_with_writes_and_survive_reopening(buffer: Buffer) -> None:
    """(0, 0) when empty, then next = last + 1, the same to writers and readers."""
    writer, reader = buffer.writer(), buffer.reader()
    assert (reader.offsets(ONE).first_offset, reader.offsets(ONE).next_offset) == (0, 0)
    assert append(writer, 3)[-1] + 1 == reader.offsets(ONE).next_offset == 3
    writer.close()
    assert buffer.reader().offsets(ONE).next_offset == 3
    assert append(buffer.writer(), 2, first=3) == [3, 4]


def test_lag_is_exact_and_next_monotonic_while_writers_go_on(buffer: Buffer) -> None:
    """next - cursor is what is left to read at each moment."""
    writer, reader = buffer.writer(), buffer.reader()
    cursor = reader.reader(ONE)
    at = 0
    for round_ in range(10):
        append(writer, 3, first=3 * round_)
        assert reader.offsets(ONE).next_offset == 3 * (round_ + 1)
        at = cursor.poll(2, 2**20, 1).next_offset
        assert reader.offsets(ONE).next_offset - at == round_ + 1


# 8, 9: trim


def trimmed(buffer: Buffer, writer: Writer, count: int) -> int:
    """Write `count` records in groups of ten, trim as far as the backend can, and return the first offset left."""
    for first in range(0, count, 10):
        writer.append_many(ONE, records(range(first, first + 10), 1000)).result(10)
    assert isinstance(writer, Trimmable)
    return writer.trim(ONE, Offset(count))


def test_offsets_are_never_reused(buffer: Buffer) -> None:
    """After trimming everything that can be and a reopening, the next append gets a greater offset."""
    writer = buffer.writer()
    trimmed(buffer, writer, 50)
    writer.close()
    assert append(buffer.writer(), 1) == [50]


def test_a_reader_behind_a_trim_is_told_and_goes_on_once_sought(buffer: Buffer) -> None:
    """OffsetTrimmed names the first offset left, at each poll and at a seek below it; nothing is skipped."""
    cursor, writer = buffer.cursor(), buffer.writer()
    first = trimmed(buffer, writer, 50)
    assert first > 0
    assert buffer.reader().offsets(ONE).first_offset == first
    for _ in range(2):
        with pytest.raises(OffsetTrimmed) as raised:
            cursor.poll(*EVERYTHING, 0)
        assert raised.value.first_offset == first
    with pytest.raises(OffsetTrimmed):  # noqa: PT012  at the seek or at the poll, says the contract
        cursor.seek(Offset(first - 1))
        cursor.poll(*EVERYTHING, 0)
    cursor.seek(raised.value.first_offset)
    append(writer, 1, first=50)
    assert polled(cursor, 5) == list(range(first, 51))


def test_trim_removes_at_most_what_was_asked(buffer: Buffer) -> None:
    """The first offset left is never above `before`, and never goes back."""
    writer = buffer.writer()
    append(writer, 1)
    assert isinstance(writer, Trimmable)
    assert writer.trim(ONE, Offset(0)) == 0
    first = trimmed(buffer, writer, 50)
    assert first <= 50
    assert [writer.trim(ONE, Offset(before)) for before in (0, first)] == [first, first]
    assert read_all(buffer.backend)[0][0] == first


# 10: time


def test_seeking_by_time(buffer: Buffer) -> None:
    """At the first record at or after the time, in offset order, also with a clock that stepped back; else at next."""
    times = [10, 20, 20, 40, 15, 50]
    writer = buffer.writer()
    for number, time_ns in enumerate(times):
        writer.append(ONE, record(number, time_ns=time_ns)).result(10)
    cursor = buffer.cursor()
    assert isinstance(cursor, SeekableByTime)
    for time_ns, offset in {-1: 0, 10: 0, 11: 1, 20: 1, 21: 3, 40: 3, 41: 5, 50: 5, 51: 6}.items():
        cursor.seek_to_time(time_ns)
        assert cursor.poll(1, 1, 0).next_offset == min(offset + 1, 6), time_ns


# 11: many appends, sizes


def test_ten_thousand_appends_each_get_their_own_offset(buffer: Buffer) -> None:
    """The offsets match the order in which they are read."""
    assert append(buffer.writer(), 10_000) == list(range(10_000))
    assert numbers(one for _, one in read_from(buffer.cursor(), 10_000)) == list(range(10_000))


def test_records_from_the_smallest_to_the_largest(buffer: Buffer) -> None:
    """record_bytes_max is stored, one byte more is refused at the call and nothing is written."""
    writer = buffer.writer()
    block = record(0).header_block
    sizes = [len(block), len(block) + 1, RECORD_BYTES_MAX]
    for size in sizes:
        writer.append(ONE, record_of_bytes(size)).result(10)
    with pytest.raises(RecordTooLarge, match=str(RECORD_BYTES_MAX + 1)):
        writer.append_many(ONE, [record(0), record_of_bytes(RECORD_BYTES_MAX + 1)])
    assert [len(one) for _, one in read_from(buffer.cursor(), 3)] == sizes
    assert buffer.reader().offsets(ONE).next_offset == 3


def test_an_append_many_that_fails_halfway_does_not_deny_what_stands(cramped: Backend) -> None:
    """`written: no` means that none of its records stands; as soon as one does, it is unknown."""
    writer = cramped.open_writer()
    error = writer.append_many(ONE, [record_of_bytes(900_000)] * 18).exception(20)
    writer.close()
    assert isinstance(error, Unavailable)
    assert error.written == ("unknown" if read_all(cramped) else "no")


# 12: flush and close


def test_after_a_flush_every_future_is_resolved(buffer: Buffer) -> None:
    """Whatever was appended before."""
    writer = buffer.writer()
    futures = [writer.append(ONE, record(number)) for number in range(100)]
    writer.flush(20)
    assert all(future.done() for future in futures)


def test_closing_resolves_what_is_pending_and_refuses_what_comes(buffer: Buffer) -> None:
    """No future hangs; a second close is fine; appends, polls and seeks say what was closed."""
    writer, reader = buffer.writer(), buffer.reader()
    cursor, second = reader.reader(ONE), reader.reader(ONE)
    futures = [writer.append(ONE, record(number)) for number in range(50)]
    for closed in (writer, cursor, reader):
        closed.close()
        closed.close()
    assert not wait(futures, 10).not_done
    for act in (
        lambda: writer.append(ONE, record(0)),
        lambda: writer.flush(1),
        lambda: cursor.poll(1, 1, 0),
        lambda: second.poll(1, 1, 0),
        lambda: reader.offsets(ONE),
    ):
        with pytest.raises(Closed):
            act()


def test_closing_a_reader_wakes_its_blocked_polls(buffer: Buffer) -> None:
    """They raise Closed at once."""
    reader = buffer.reader()
    cursor = reader.reader(ONE)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(polled, cursor, 60)
        assert not wait([waiting], 0.02).done
        reader.close()
        assert isinstance(waiting.exception(10), Closed)


# 13: wrong calls


@pytest.mark.parametrize("sequencer", [-1, 1, 10**6])
def test_an_unknown_sequencer_is_named(buffer: Buffer, sequencer: int) -> None:
    """In every call that takes one."""
    writer, reader = buffer.writer(), buffer.reader()
    unknown = SequencerId(sequencer)
    for act in (
        lambda: writer.append(unknown, record(0)),
        lambda: writer.append_many(unknown, [record(0)]),
        lambda: reader.reader(unknown),
        lambda: reader.offsets(unknown),
        lambda: reader.identity(unknown),
    ):
        with pytest.raises(UnknownSequencer, match=f"sequencer {sequencer}: unknown"):
            act()


@pytest.mark.parametrize(
    "wrong",
    [
        b"bytes",
        None,
        Record(b"short", b""),
        Record(record(0).header_block + b"x", b""),
        Record(record(0).header_block, "text"),  # type: ignore[arg-type]
        Record(b"\xff" * 60, b""),
    ],
)
def test_what_is_no_record_is_refused_at_the_call(buffer: Buffer, wrong: Record) -> None:
    """A malformed one would stop every reader; nothing of the call is written."""
    writer = buffer.writer()
    for act in (lambda: writer.append(ONE, wrong), lambda: writer.append_many(ONE, [record(0), wrong])):
        with pytest.raises(MalformedRecord, match="sequencer 0"):
            act()
    with pytest.raises(MalformedRecord, match="at least one"):
        writer.append_many(ONE, [])
    assert buffer.reader().offsets(ONE).next_offset == 0


@pytest.mark.parametrize(("max_records", "max_bytes"), [(0, 1), (1, 0), (-1, -1)])
def test_a_poll_for_nothing_is_refused(buffer: Buffer, max_records: int, max_bytes: int) -> None:
    """It could never return a record."""
    with pytest.raises(InvalidRequest, match="at least 1"):
        buffer.cursor().poll(max_records, max_bytes, 0)


# 14: creation


def test_opening_what_does_not_exist_says_how_to_make_it(absent: Buffer) -> None:
    """Neither opening makes anything."""
    for open_one in (absent.writer, absent.reader):
        with pytest.raises(BufferNotFound, match="create"):
            open_one()


def test_ten_creators_make_one_buffer(absent: Buffer) -> None:
    """All succeed, and all see the same identity; another number of sequencers is refused with both numbers."""
    start = threading.Barrier(10)

    def create() -> str:
        start.wait(10)
        absent.backend.create(2)
        return absent.backend.open_reader().identity(ONE)

    with ThreadPoolExecutor(10) as threads:
        found = [future.result(20) for future in [threads.submit(create) for _ in range(10)]]
    assert len(set(found)) == 1
    with pytest.raises(SequencersDiffer, match="made with 2 sequencers, asked for 3"):
        absent.backend.create(3)


# 16: duplicates


def test_a_record_sent_twice_says_so_in_its_headers(buffer: Buffer) -> None:
    """Either the second append resolves to the first one's offset, or a reader sees both with the same sequence."""
    writer = buffer.writer()
    offsets = [writer.append(ONE, record(7)).result(10).offset for _ in range(2)]
    found = read_all(buffer.backend)
    assert [offset for offset, _ in found] == sorted(set(offsets))
    assert numbers(one for _, one in found) == [7] * len(found)


# 19: identity


def test_identity_lasts_as_long_as_the_stream(absent: Buffer) -> None:
    """The same over reopening, another for each sequencer and once the buffer was deleted and made again."""
    absent.backend.create(2)
    reader = absent.reader()
    identities = [reader.identity(SequencerId(number)) for number in range(2)]
    writer = absent.writer()
    append(writer, 1)
    writer.close()
    assert [absent.reader().identity(SequencerId(number)) for number in range(2)] == identities
    cursor = reader.reader(ONE)
    absent.delete()
    absent.backend.create(2)
    again = absent.writer()
    append(again, 3)
    assert len({*identities, *(absent.reader().identity(SequencerId(number)) for number in range(2))}) == 4
    with pytest.raises(Forked):
        cursor.poll(*EVERYTHING, 0)


# Optional powers


def test_optional_powers_answer(buffer: Buffer) -> None:
    """Durability is a sentence, size grows with what is written."""
    writer, reader = buffer.writer(), buffer.reader()
    assert isinstance(writer, Durable)
    assert isinstance(reader, Measurable)
    assert len(writer.durability().split()) > 3
    before = reader.size(ONE).data_bytes
    append(writer, 10)
    after = reader.size(ONE)
    assert after.data_bytes - before >= 10 * len(record(0))
    assert after.disk_bytes > 0


def test_append_time_is_the_records_own(buffer: Buffer) -> None:
    """Read from the header, to the ends of its range, and never from a clock."""
    writer = buffer.writer()
    for time_ns in (-(2**63), 2**63 - 1):
        headers = RecordHeaders("t", "ns", bytes(16), 2**64 - 1, time_ns)
        assert writer.append(ONE, Record.of(headers, b"")).result(10).append_time_ns == time_ns
    assert all(isinstance(one.headers, RecordHeaders) for _, one in read_all(buffer.backend))
