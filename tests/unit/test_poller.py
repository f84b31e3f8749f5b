"""The poller across an outage of the write buffer: it goes on only in the stream that it followed."""

import queue
from collections.abc import Callable, Sequence

import pytest
import structlog

from common.errors import Forked, Unavailable
from common.ids import Offset, SequencerId
from ingester.events import Polled
from ingester.persist.manifest_state import StreamMark
from ingester.poller import Poller
from tests.support.records import Row, record
from writebuffer.contract import Batch, Cursor, Offsets, Reader
from writebuffer.memory import MemoryBackend
from writebuffer.record import Record

ONE = SequencerId(0)
IDENTITY = "the stream"
WAIT_S = 20.0


class Replaceable:
    """A Reader of whatever stands in for the buffer now; between two of them it is away. One identity for all."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.put(records)

    def put(self, records: Sequence[Record], trimmed_below: int = 0) -> None:
        """Cursors of what stood before are Unavailable from now on."""
        backend = MemoryBackend()
        backend.create(1)
        writer = backend.open_writer()
        writer.append_many(ONE, records).result()
        writer.trim(ONE, Offset(trimmed_below))
        self.now: Reader = backend.open_reader()

    def sequencers(self) -> Sequence[SequencerId]:
        return [ONE]

    def offsets(self, sequencer: SequencerId) -> Offsets:
        return self.now.offsets(sequencer)

    def identity(self, sequencer: SequencerId) -> str:
        return IDENTITY

    def reader(self, sequencer: SequencerId) -> Cursor:
        return _Cursor(self, self.now.reader(sequencer))

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
        return self._cursor.poll(max_records, max_bytes, min(timeout_s, 0.01))


class Followed:
    """What a poller on `stream` delivers, from its first record on."""

    def __init__(self, stream: Replaceable) -> None:
        self._outcomes: queue.SimpleQueue[Polled | BaseException] = queue.SimpleQueue()
        put: Callable[[Polled | BaseException], None] = self._outcomes.put
        self.poller = Poller(stream, ONE, Offset(0), StreamMark(IDENTITY), put, put, structlog.get_logger())
        self.poller.start()

    def read(self, count: int) -> list[tuple[int, int]]:
        """(offset, producer sequence) of the next `count` records. Raises what ended the poller."""
        found: list[tuple[int, int]] = []
        while len(found) < count:
            outcome = self._outcomes.get(timeout=WAIT_S)
            if isinstance(outcome, BaseException):
                raise outcome
            self.poller.taken()
            found += [(one.offset, one.producer_sequence) for one in outcome.records]
        return found


def test_it_goes_on_behind_the_last_record_when_the_buffer_is_back() -> None:
    """The same records and two more: those two, once each."""
    stream = Replaceable(numbered(range(3)))
    followed = Followed(stream)
    assert followed.read(3) == [(0, 0), (1, 1), (2, 2)]
    stream.put(numbered(range(5)))
    assert followed.read(2) == [(3, 3), (4, 4)]
    followed.poller.stop()


def test_a_tail_that_was_lost_and_written_anew_is_forked() -> None:
    """The buffer came back without 1 and 2, and new records took their offsets and more: none may be skipped."""
    stream = Replaceable(numbered(range(3)))
    followed = Followed(stream)
    followed.read(3)
    stream.put(numbered([0, 11, 12, 13, 14]))
    with pytest.raises(Forked, match="the record at 2 is another one"):
        followed.read(1)


def test_a_tail_that_was_lost_is_forked() -> None:
    """The buffer came back with fewer records than were read from it."""
    stream = Replaceable(numbered(range(3)))
    followed = Followed(stream)
    followed.read(3)
    stream.put(numbered(range(2)))
    with pytest.raises(Forked, match="its next offset is 2"):
        followed.read(1)


def test_the_last_record_may_have_been_trimmed_meanwhile() -> None:
    """What can no longer be compared is no fork."""
    stream = Replaceable(numbered(range(3)))
    followed = Followed(stream)
    followed.read(3)
    stream.put(numbered(range(4)), trimmed_below=3)
    assert followed.read(1) == [(3, 3)]
    followed.poller.stop()


def numbered(sequences: Sequence[int]) -> list[Record]:
    return [record({"cpu": [Row(number, {}, {"value": 1.0})]}, sequence=number) for number in sequences]
