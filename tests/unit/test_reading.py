"""A reader over two questions: what a cursor makes of a stream that is trimmed, replaced or closed under it."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.values.clock import FakeClock
from common.values.errors import DataCorrupt, Forked, InvalidRequest, PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import record
from writebuffer.contract import SequencedRecord
from writebuffer.errors import Closed, OffsetInFuture, OffsetTrimmed
from writebuffer.reading import PolledReader, StreamState

ONE = SequencerId(0)
BYTES = len(record(0))


class Stored:
    """A StoredStream of records 0..next-1 but for the `missing`, each at the offset of its number.

    `between` happens after each read.
    """

    def __init__(self, next_offset: int = 0) -> None:
        self.state = StreamState("first", Offset(0), Offset(next_offset))
        self.missing: set[int] = set()
        self.between: Callable[[], object] = lambda: None
        self.error: PenstockError | None = None
        self.given = 0
        self.closed = 0

    def look(self) -> StreamState:
        if self.error:
            raise self.error
        return self.state

    def read(self, offset: Offset, max_records: int) -> Iterator[SequencedRecord]:
        self.reading = self._records(offset, max_records)  # kept, so that only its reader closes it
        return self.reading

    def _records(self, offset: Offset, max_records: int) -> Iterator[SequencedRecord]:
        first_offset, next_offset = self.state[1:]
        try:
            found = [at for at in range(max(offset, first_offset), next_offset) if at not in self.missing]
            for at in found[:max_records]:
                self.given += 1
                yield SequencedRecord(Offset(at), record(at))
        finally:
            self.closed += 1
            self.between()

    def change(self, **values: object) -> None:
        self.state = self.state._replace(**values)  # type: ignore[arg-type]


def polled(stored: Stored, offset: int = 0) -> list[int]:
    cursor = PolledReader("test:", [stored]).cursor(ONE)
    cursor.seek(Offset(offset))
    return [one.offset for one in cursor.poll(100, 2**20, 0).records]


def test_a_batch_ends_before_the_record_that_does_not_fit() -> None:
    """What is read lazily is read up to that one, and then closed; one record always comes."""
    stored = Stored(10)
    cursor = PolledReader("test:", [stored]).cursor(ONE)
    assert [one.offset for one in cursor.poll(100, 3 * BYTES, 0).records] == [0, 1, 2]
    assert (stored.given, stored.closed) == (4, 1)
    assert [one.offset for one in cursor.poll(100, 1, 0).records] == [3]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5 * BYTES)), max_size=20), st.integers(0, 12))
def test_batches_follow_each_other_without_gap_or_repeat(limits: list[tuple[int, int]], next_offset: int) -> None:
    """With any limits, the records of all polls are those of the stream from its first on, each once."""
    cursor = PolledReader("test:", [Stored(next_offset)]).cursor(ONE)
    found: list[int] = []
    for max_records, max_bytes in limits:
        batch = cursor.poll(max_records, max_bytes, 0)
        found += [one.offset for one in batch.records]
        assert batch.next_offset == len(found)
    assert found == list(range(len(found)))
    assert len(found) >= min(len(limits), next_offset)


def test_what_is_trimmed_while_it_is_read_is_not_passed_over() -> None:
    """Between reading and looking the first offset moved above the cursor: OffsetTrimmed, and the cursor stays."""
    stored = Stored(10)
    cursor = PolledReader("test:", [stored]).cursor(ONE)
    stored.between = lambda: stored.change(first_offset=Offset(5))
    for _ in range(2):
        with pytest.raises(OffsetTrimmed) as raised:
            cursor.poll(100, 2**20, 0)
        assert (raised.value.asked, raised.value.first_offset) == (0, 5)
    cursor.seek_to_first()
    assert [one.offset for one in cursor.poll(100, 2**20, 0).records] == [5, 6, 7, 8, 9]


def test_a_history_replaced_while_it_is_read_is_forked() -> None:
    """Records of the new one are not returned, and every later call says the same."""
    stored = Stored(3)
    reader = PolledReader("test:", [stored])
    cursor = reader.cursor(ONE)
    stored.between = lambda: stored.change(identity="second", next_offset=Offset(9))
    for act in (
        lambda: cursor.poll(100, 2**20, 0),
        lambda: cursor.seek(Offset(0)),
        lambda: reader.offsets(ONE),
        lambda: reader.identity(ONE),
        lambda: reader.cursor(ONE),
    ):
        with pytest.raises(Forked, match="its identity was first and is second"):
            act()


def test_a_next_offset_that_went_back_is_forked() -> None:
    """The same identity with fewer records than were read: the store was put back to an earlier state."""
    stored = Stored(10)
    cursor = PolledReader("test:", [stored]).cursor(ONE)
    cursor.poll(100, 2**20, 0)
    stored.change(next_offset=Offset(7))
    with pytest.raises(Forked, match="next offset is 7, records were read up to 10"):
        cursor.poll(100, 2**20, 0)


def test_a_failed_poll_leaves_the_cursor_where_it_was() -> None:
    """Also where records were read before the question failed; the next poll returns them."""
    stored = Stored(3)
    cursor = PolledReader("test:", [stored]).cursor(ONE)
    stored.error = Unavailable("away")
    with pytest.raises(Unavailable):
        cursor.poll(100, 2**20, 0)
    stored.error = None
    assert [one.offset for one in cursor.poll(100, 2**20, 0).records] == [0, 1, 2]


def missing(*offsets: int, next_offset: int = 10) -> Stored:
    stored = Stored(next_offset)
    stored.missing = set(offsets)
    return stored


def read_in_steps(stored: Stored, max_records: int, *, dense: bool) -> list[int]:
    """By polls of so many records until the cursor is at the next offset."""
    cursor = PolledReader("test:", [stored], dense=dense).cursor(ONE)
    found: list[int] = []
    next_offset = -1
    while next_offset < stored.state.next_offset:
        batch = cursor.poll(max_records, 2**20, 0)
        found += [one.offset for one in batch.records]
        assert batch.next_offset > next_offset, "the cursor does not move on"
        next_offset = batch.next_offset
    return found


@pytest.mark.parametrize("gaps", [{0}, {0, 1, 2}, {4}, {3, 4, 8}, {9}, {7, 8, 9}, set(range(10))])
@given(max_records=st.integers(1, 12))
def test_a_gap_is_passed(gaps: set[int], max_records: int) -> None:
    """Where offsets are not dense, at the start, in the middle and at the end: it is neither trimmed nor waited for."""
    stored = missing(*gaps)
    assert read_in_steps(stored, max_records, dense=False) == [at for at in range(10) if at not in gaps]
    for offset in range(11):
        assert polled(stored, offset) == [at for at in range(offset, 10) if at not in gaps]


@pytest.mark.parametrize("holes", [{0}, {4}, {3, 4, 8}, {9}, {7, 8, 9}, set(range(10))])
@given(max_records=st.integers(1, 12))
def test_a_hole_in_a_dense_stream_is_corrupt(holes: set[int], max_records: int) -> None:
    """What is before it is returned; then it is named, at each poll, until the cursor is sought past it."""
    stored = missing(*holes)
    cursor = PolledReader("test:", [stored], dense=True).cursor(ONE)
    found: list[int] = []
    while len(found) < min(holes):
        found += [one.offset for one in cursor.poll(max_records, 2**20, 0).records]
    assert found == list(range(min(holes)))
    for _ in range(2):
        with pytest.raises(DataCorrupt, match="the record is missing") as raised:
            cursor.poll(max_records, 2**20, 0)
        assert raised.value.offset == min(holes)
    cursor.seek(Offset(10))
    assert list(cursor.poll(max_records, 2**20, 0).records) == []


@pytest.mark.parametrize("dense", [False, True])
def test_what_comes_while_it_is_read_is_neither_gap_nor_hole(dense: bool) -> None:
    """Records that are durable only after the read but before the look are read by the next poll."""
    stored = Stored(2)
    cursor = PolledReader("test:", [stored], dense=dense).cursor(ONE)
    cursor.seek_to_next()
    stored.between = lambda: stored.change(next_offset=Offset(5))
    assert cursor.poll(100, 2**20, 0).next_offset == 2
    assert [one.offset for one in cursor.poll(100, 2**20, 0).records] == [2, 3, 4]


@pytest.mark.parametrize(("offset", "expected"), [(0, [0, 1, 2]), (2, [2]), (3, []), (4, OffsetInFuture)])
def test_seeking_goes_up_to_next(offset: int, expected: object) -> None:
    """next is legal, one further is refused."""
    if expected is OffsetInFuture:
        with pytest.raises(OffsetInFuture):
            polled(Stored(3), offset)
    else:
        assert polled(Stored(3), offset) == expected


def test_what_a_store_says_after_closing_is_closed() -> None:
    """A cursor that meets the store's error because its reader was closed meanwhile raises Closed instead."""
    stored = Stored(3)
    released: list[None] = []
    reader = PolledReader("test:", [stored], lambda: released.append(None))
    cursor = reader.cursor(ONE)

    def close_it() -> None:
        reader.close()
        raise Unavailable("the store's connection is gone")

    stored.between = close_it
    with pytest.raises(Closed):
        cursor.poll(100, 2**20, 0)
    with pytest.raises(Closed):
        reader.offsets(ONE)
    reader.close()
    assert released == [None]


def test_a_waiting_poll_looks_again_until_its_deadline() -> None:
    """It returns what came meanwhile; the clock alone says when it gives up."""
    stored, clock = Stored(), FakeClock()
    cursor = PolledReader("test:", [stored], look_every_s=0.001, clock=clock).cursor(ONE)

    def later() -> None:
        clock.advance(1)
        if clock.monotonic_s() == 3:
            stored.change(next_offset=Offset(1))

    stored.between = later
    assert [one.offset for one in cursor.poll(1, 1, 10).records] == [0]
    assert list(cursor.poll(1, 1, 5).records) == []
    assert clock.monotonic_s() == 9


def test_a_poll_that_could_return_nothing_is_refused() -> None:
    """As every backend does."""
    cursor = PolledReader("test:", [Stored(1)]).cursor(ONE)
    with pytest.raises(InvalidRequest):
        cursor.poll(0, 1, 0)
