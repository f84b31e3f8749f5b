"""Whether a stream is still the one that was followed: one answer, at each start and whenever the buffer is back."""

import random

import pytest

from common.catalog.manifest.change import StreamMark
from common.values.errors import DataCorrupt, Forked, Unavailable
from common.values.ids import Offset, SequencerId
from ingester.following.followed import Followed
from tests.support.buffer_records import record, records
from writebuffer.contract import Batch, Offsets, SequencedRecord
from writebuffer.faults import Faults, FaultyReader
from writebuffer.memory import MemoryBackend
from writebuffer.same_stream import FoundStream, difference, find_stream

ONE = SequencerId(0)
MARK = StreamMark("one", Offset(99), 1234)


def found(first: int = 0, next_offset: int = 200, identity: str = "one", checksum: int | None = 1234) -> FoundStream:
    return FoundStream(identity, Offsets(Offset(first), Offset(next_offset)), checksum)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (found(), None),
        (found(next_offset=100), None),
        (found(first=150), None),
        (found(checksum=None), None),
        (found(identity="two"), "its identity is two, the stream followed was one"),
        (found(next_offset=99), "its next offset is 99, the stream was followed up to 100"),
        (found(checksum=1235), "the record at 99 is another one than was read there"),
    ],
)
def test_a_stream_is_the_same_by_identity_length_and_last_record(stream: FoundStream, expected: str | None) -> None:
    """What can no longer be compared, or was trimmed, is no difference."""
    assert difference(MARK, Offset(100), stream) == expected


def a_buffer(count: int) -> MemoryBackend:
    backend = MemoryBackend()
    backend.create(1)
    backend.open_writer().append_many(ONE, records(range(count))).result()
    return backend


def test_the_buffer_is_asked_for_the_last_record_that_was_read() -> None:
    """Its checksum where it is there; none where nothing was read, or nothing is there."""
    reader = a_buffer(3).open_reader()
    identity = reader.identity(ONE)
    for last_offset, checksum in ((2, record(2).checksum()), (3, None), (None, None)):
        mark = StreamMark(identity, None if last_offset is None else Offset(last_offset))
        assert find_stream(reader, ONE, mark, Offset(3)) == FoundStream(
            identity, Offsets(Offset(0), Offset(3)), checksum
        )


def test_a_cursor_goes_on_after_the_last_record_read() -> None:
    """Opened again, it returns what follows; on a stream with fewer records it is Forked."""
    backend = a_buffer(3)
    reader = backend.open_reader()
    followed = Followed(ONE, Offset(0), StreamMark(reader.identity(ONE)))
    cursor, _ = followed.open(reader)
    assert len(followed.read(cursor.poll(2, 2**20, 0))) == 2
    assert (followed.next_offset, followed.mark.last_offset) == (2, 1)
    cursor, stream = followed.open(reader)
    assert [one.offset for one in followed.read(cursor.poll(9, 2**20, 0))] == [2]
    assert stream.offsets.next_offset == 3
    shorter = a_buffer(2).open_reader()
    shorter.identity = lambda sequencer: followed.mark.identity  # type: ignore[method-assign]
    with pytest.raises(Forked, match=r"sequencer 0: .* its next offset is 2"):
        followed.open(shorter)


def test_a_buffer_that_is_away_is_asked_again_later() -> None:
    """Unavailable is no difference."""
    reader = a_buffer(1).open_reader()
    followed = Followed(ONE, Offset(0), StreamMark(reader.identity(ONE)))
    with pytest.raises(Unavailable):
        followed.open(FaultyReader(reader, random.Random(0), lambda: Faults(disconnected=1.0)))


@pytest.mark.parametrize("offsets", [[1], [2, 2], [3, 2]])
def test_a_record_that_is_returned_again_is_corrupt(offsets: list[int]) -> None:
    """Better to end than to count rows twice; what was read before is not touched."""
    followed = Followed(ONE, Offset(2), StreamMark("one"))
    batch = Batch([SequencedRecord(Offset(offset), record(offset)) for offset in offsets], Offset(9))
    with pytest.raises(DataCorrupt, match="the write buffer returned offset"):
        followed.read(batch)
    assert followed.next_offset == 2
