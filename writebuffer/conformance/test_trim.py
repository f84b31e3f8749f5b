"""Trimming: it removes at most what was asked, and cursors below it get OffsetTrimmed."""

import pytest

from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import number_of
from writebuffer.contract import Trimmable
from writebuffer.errors import OffsetTrimmed, UnknownSequencer

pytestmark = needs(Trimmable)


def test_a_cursor_below_a_trim_raises_and_goes_on_after_a_seek(buffer: Buffer) -> None:
    """Its polls raise OffsetTrimmed, each time, with the first offset left; sought there it reads what is there."""
    writer, reader = buffer.writer(), buffer.reader()
    cursor = reader.cursor(ONE)
    first_offset = buffer.trim_until_moved(writer, reader)
    for _ in range(2):
        with pytest.raises(OffsetTrimmed) as raised:
            buffer.poll(cursor, timeout_s=buffer.patience_s)
        error = raised.value
        assert (error.sequencer, error.asked, error.first_offset) == (0, 0, first_offset)
        assert isinstance(error, InvalidRequest)
    cursor.seek(error.first_offset)
    buffer.append(writer)
    assert buffer.read_to(cursor, reader.offsets(ONE).next_offset) == buffer.read_all()


def test_a_cursor_in_the_middle_of_what_was_trimmed_skips_nothing(buffer: Buffer) -> None:
    """One that may have read ahead either returns the exact next record or raises OffsetTrimmed, never a later one."""
    writer, reader = buffer.writer(), buffer.reader()
    buffer.append(writer, 50)
    cursor = reader.cursor(ONE)
    buffer.read(cursor, 1, max_records=1)
    first_offset = buffer.trim_until_moved(writer, reader)
    ((newest, sent),) = buffer.append(writer)
    try:
        for expected in range(1, number_of(sent) + 1):
            ((offset, found),) = buffer.read(cursor, 1, max_records=1)
            assert number_of(found) == expected, (
                f"at offset {offset} records were skipped without OffsetTrimmed: expected number {expected}, got "
                f"{number_of(found)}"
            )
    except OffsetTrimmed as error:
        assert error.first_offset == first_offset  # noqa: PT017  what it had read ahead it may return instead
        cursor.seek(error.first_offset)
        assert buffer.read_to(cursor, Offset(newest + 1))[-1] == (newest, sent)


def test_seeking_below_first_is_refused(buffer: Buffer) -> None:
    """first - 1 raises OffsetTrimmed at the seek or the next poll; first itself is read."""
    writer, reader = buffer.writer(), buffer.reader()
    first_offset = buffer.trim_until_moved(writer, reader)
    cursor = reader.cursor(ONE)
    for asked in (first_offset - 1, 0):
        with pytest.raises(OffsetTrimmed) as raised:  # noqa: PT012  at the seek or at the poll, says the contract
            cursor.seek(Offset(asked))
            buffer.poll(cursor, timeout_s=buffer.patience_s)
        assert (raised.value.asked, raised.value.first_offset) == (asked, first_offset)
    cursor.seek(first_offset)
    buffer.append(writer)
    assert buffer.read_to(cursor, reader.offsets(ONE).next_offset) == buffer.read_all()


def test_trimming_removes_at_most_what_was_asked(buffer: Buffer) -> None:
    """Every record at or above `before` is still read, and the first offset that trim returns is never above it."""
    writer, reader = buffer.writer(), buffer.reader()
    trimmer = buffer.trimmer(writer, reader)
    buffer.append(writer)
    for _ in range(5):
        buffer.append_many(writer, 20, 1000)
    everything = buffer.read_all()
    for at in (0, 1, 30, 31, 70, 100):
        before = everything[at][0]
        first_offset = trimmer.trim(ONE, before)
        assert first_offset <= before, (
            f"trim(before={before}) left {first_offset} as the first offset: records at or above `before` are gone"
        )
        assert reader.offsets(ONE).first_offset == first_offset
        kept = [one for one in everything if one[0] >= first_offset]
        assert buffer.read_all() == kept, (
            f"trim(before={before}) returned {first_offset}, but the records left are not those from there on"
        )


def test_trimming_never_goes_back(buffer: Buffer) -> None:
    """Asked for less than was trimmed, it changes nothing and returns the same first offset, as a new reader does."""
    writer, reader = buffer.writer(), buffer.reader()
    first_offset = buffer.trim_until_moved(writer, reader)
    trimmer = buffer.trimmer(writer, reader)
    for before in (0, first_offset - 1, first_offset):
        assert trimmer.trim(ONE, Offset(before)) == first_offset
    assert buffer.reader(buffer.again()).offsets(ONE).first_offset == first_offset


def test_trimming_past_next_removes_nothing_that_comes(buffer: Buffer) -> None:
    """`before` far above next trims at most what is there: what is appended afterwards is read."""
    writer, reader = buffer.writer(), buffer.reader()
    buffer.append_many(writer, 20, 1000)
    next_offset = reader.offsets(ONE).next_offset
    first_offset = buffer.trimmer(writer, reader).trim(ONE, Offset(next_offset + 1000))
    assert first_offset <= next_offset
    assert reader.offsets(ONE).next_offset == next_offset
    sent = buffer.append(writer, 3)
    assert buffer.read_all()[-3:] == sent


def test_a_cursor_ahead_of_a_trim_notices_nothing(buffer: Buffer) -> None:
    """One at `before` reads on from there, one at next reads what is appended later."""
    writer, reader = buffer.writer(), buffer.reader()
    for _ in range(5):
        buffer.append_many(writer, 20, 1000)
    everything = buffer.read_all()
    middle, end = reader.cursor(ONE), reader.cursor(ONE)
    assert buffer.read(middle, 60) == everything[:60]
    middle.seek(everything[60][0])
    end.seek_to_next()
    buffer.trimmer(writer, reader).trim(ONE, everything[60][0])
    sent = buffer.append(writer, 2)
    assert buffer.read(middle, 42) == everything[60:] + sent
    assert buffer.read(end, 2) == sent


def test_a_cursor_is_not_trimmed_where_it_has_read_all_that_was(buffer: Buffer) -> None:
    """One that has read every record below `before` reads on: an offset that never held a record is not trimmed."""
    writer, reader = buffer.writer(), buffer.reader()
    trimmer, cursor = buffer.trimmer(writer, reader), reader.cursor(ONE)
    for _ in range(10):
        sent = buffer.append(writer, 3)
        try:
            assert buffer.read(cursor, 3) == sent
        except OffsetTrimmed as error:
            pytest.fail(f"only what this cursor had read was trimmed, the next record is at {sent[0][0]}, but: {error}")
        trimmer.trim(ONE, buffer.poll(cursor).next_offset)


def test_trimming_one_sequencer_leaves_the_others(absent: Buffer) -> None:
    """Records and offsets of the other sequencers are as they were; an unknown sequencer is refused."""
    absent.create(2)
    writer, reader = absent.writer(), absent.reader()
    sent = absent.append(writer, 5, sequencer=1)
    absent.trim_until_moved(writer, reader)
    assert absent.read_all(1) == sent
    assert reader.offsets(SequencerId(1)).first_offset == 0
    with pytest.raises(UnknownSequencer):
        absent.trimmer(writer, reader).trim(SequencerId(2), Offset(1))
