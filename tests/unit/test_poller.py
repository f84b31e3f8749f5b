"""The poller across an outage of the write buffer: it goes on only in the stream that it followed."""

import queue
import time
from collections.abc import Callable, Sequence

import pytest
import structlog

from common.catalog.manifest.change import StreamMark
from common.values.errors import Forked, PenstockError, Unavailable
from common.values.ids import ZERO, Offset, SequencerId
from ingester.core.events import Polled
from ingester.following.followed import Followed
from ingester.following.poller import Poller, decoded_steps
from tests.support.records import Row, record
from writebuffer.contract import Batch, Cursor, Offsets, Reader, SequencedRecord
from writebuffer.errors import BufferNotFound
from writebuffer.memory import MemoryBackend
from writebuffer.record import Record

ONE = SequencerId(0)
IDENTITY = "the stream"
WAIT_S = 20.0


class Replaceable:
    """A Reader of the buffer as it is now; between two of them it is away. One identity for all."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.after_poll: list[PenstockError] = []
        """What `offsets` raises, one after another, once records were polled."""
        self.polled = False
        self.put(records)

    def put(self, records: Sequence[Record], trimmed_below: int = 0) -> None:
        """Cursors of what was there before are Unavailable from now on."""
        backend = MemoryBackend()
        backend.create(1)
        writer = backend.open_writer()
        writer.append_many(ONE, records).result()
        writer.trim(ONE, Offset(trimmed_below))
        self.now: Reader = backend.open_reader()

    def sequencers(self) -> Sequence[SequencerId]:
        return [ONE]

    def offsets(self, sequencer: SequencerId) -> Offsets:
        if self.polled and self.after_poll:
            raise self.after_poll.pop(0)
        return self.now.offsets(sequencer)

    def identity(self, sequencer: SequencerId) -> str:
        return IDENTITY

    def cursor(self, sequencer: SequencerId) -> Cursor:
        return _Cursor(self, self.now.cursor(sequencer))

    def close(self) -> None: ...


class _Cursor:
    def __init__(self, stream: Replaceable, cursor: Cursor) -> None:
        self._stream = stream
        self._opened = stream.now
        self._cursor = cursor
        self.seek, self.seek_to_first, self.seek_to_next = cursor.seek, cursor.seek_to_first, cursor.seek_to_next
        self.close = cursor.close

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        if self._stream.now is not self._opened:
            raise Unavailable("the server went away")
        batch = self._cursor.poll(max_records, max_bytes, min(timeout_s, 0.01))
        self._stream.polled = self._stream.polled or bool(batch.records)
        return batch


class Following:
    """What a poller on `stream` delivers, from its first record on."""

    def __init__(self, stream: Replaceable) -> None:
        self._outcomes: queue.SimpleQueue[Polled | BaseException] = queue.SimpleQueue()
        put: Callable[[Polled | BaseException], None] = self._outcomes.put
        self.poller = Poller(
            stream, ONE, Followed(ONE, Offset(0), StreamMark(IDENTITY)), put, put, structlog.get_logger()
        )
        self.poller.start()

    def read(self, count: int) -> list[tuple[int, int]]:
        """(offset, producer sequence) of the next `count` records. Raises what ended the poller."""
        found: list[tuple[int, int]] = []
        deadline_s = time.monotonic() + WAIT_S
        while len(found) < count:
            assert time.monotonic() < deadline_s, f"only {found} of {count} records"
            outcome = self._outcomes.get(timeout=WAIT_S)
            if isinstance(outcome, BaseException):
                raise outcome
            self.poller.applied(ZERO)
            found += [(one.offset, one.producer_sequence) for one in outcome.records]
        return found


def test_it_goes_on_after_the_last_record_when_the_buffer_is_back() -> None:
    """The same records and two more: those two, once each."""
    stream = Replaceable(numbered(range(3)))
    following = Following(stream)
    assert following.read(3) == [(0, 0), (1, 1), (2, 2)]
    stream.put(numbered(range(5)))
    assert following.read(2) == [(3, 3), (4, 4)]
    following.poller.stop()


def test_records_that_come_close_together_are_polled_together() -> None:
    """Who waits for rows has them polled at once; without, the next poll would be a minute after the first."""
    backend = MemoryBackend()
    backend.create(1)
    writer = backend.open_writer()
    delivered: queue.SimpleQueue[Polled | BaseException] = queue.SimpleQueue()
    put: Callable[[Polled | BaseException], None] = delivered.put
    reader = backend.open_reader()
    followed = Followed(ONE, Offset(0), StreamMark(reader.identity(ONE)))
    poller = Poller(reader, ONE, followed, put, put, structlog.get_logger(), gather_s=60.0)
    first, *others = numbered(range(4))
    writer.append(ONE, first).result(WAIT_S)
    poller.start()
    found = [delivered.get(timeout=WAIT_S)]
    for each in others:
        writer.append(ONE, each).result(WAIT_S)
    poller.applied(ZERO)
    poller.hurry()
    found.append(delivered.get(timeout=WAIT_S))
    poller.stop()
    reader.close()
    assert [[one.offset for one in polled.records] for polled in found if isinstance(polled, Polled)] == [
        [0],
        [1, 2, 3],
    ]


def test_a_tail_that_was_lost_and_written_again_is_forked() -> None:
    """The buffer came back without 1 and 2, and new records took their offsets and more: none may be skipped."""
    stream = Replaceable(numbered(range(3)))
    following = Following(stream)
    following.read(3)
    stream.put(numbered([0, 11, 12, 13, 14]))
    with pytest.raises(Forked, match="the record at 2 is another one"):
        following.read(1)


def test_a_tail_that_was_lost_is_forked() -> None:
    """The buffer came back with fewer records than were read from it."""
    stream = Replaceable(numbered(range(3)))
    following = Following(stream)
    following.read(3)
    stream.put(numbered(range(2)))
    with pytest.raises(Forked, match="its next offset is 2"):
        following.read(1)


def test_the_last_record_may_have_been_trimmed_meanwhile() -> None:
    """What can no longer be compared is no fork."""
    stream = Replaceable(numbered(range(3)))
    following = Following(stream)
    following.read(3)
    stream.put(numbered(range(4)), trimmed_below=3)
    assert following.read(1) == [(3, 3)]
    following.poller.stop()


def test_a_buffer_that_goes_away_after_a_poll_skips_no_record() -> None:
    """What was polled and not delivered is polled again."""
    stream = Replaceable(numbered(range(3)))
    stream.after_poll = [Unavailable("away"), Unavailable("away")]
    following = Following(stream)
    assert following.read(3) == [(0, 0), (1, 1), (2, 2)]
    following.poller.stop()


def test_a_buffer_that_is_lost_after_a_poll_has_its_last_records_delivered() -> None:
    """They were durable, and are nowhere else any more."""
    stream = Replaceable(numbered(range(3)))
    stream.after_poll = [Forked("deleted")]
    following = Following(stream)
    assert following.read(3) == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(Forked, match="deleted"):
        following.read(1)


def test_a_buffer_that_does_not_exist_any_more_is_forked() -> None:
    """Under any error of the backend: no other call would help."""
    stream = Replaceable(numbered(range(1)))
    stream.after_poll = [BufferNotFound("nothing at memory:")]
    following = Following(stream)
    following.read(1)
    with pytest.raises(Forked, match="sequencer 0: the write buffer is gone: nothing at memory:"):
        following.read(1)


def numbered(sequences: Sequence[int]) -> list[Record]:
    return [record({"cpu": [Row(number, {}, {"value": 1.0})]}, sequence=number) for number in sequences]


def test_records_that_decode_to_much_come_in_several_steps() -> None:
    """Each at most the bound and one record more, none caught up but the last; no record is lost or repeated."""
    records = [SequencedRecord(Offset(2 * n), record({"cpu": [Row(n, {}, {"s": "x" * 10_000})]})) for n in range(10)]
    assert sum(len(each.record) for each in records) < 20_000
    steps = list(decoded_steps(records, Offset(30), True, bytes_max=25_000))
    assert [[each.offset for each in step.records] for step in steps] == [[0, 2, 4], [6, 8, 10], [12, 14, 16], [18]]
    assert [(step.next_offset, step.caught_up) for step in steps] == [(5, False), (11, False), (17, False), (30, True)]
    assert list(decoded_steps([], Offset(7), True)) == [Polled((), Offset(7), True)]
