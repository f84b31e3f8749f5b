"""Seeking: to every offset from first to next, and no further."""

import pytest

from common.values.errors import InvalidRequest
from common.values.ids import Offset
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.errors import OffsetInFuture


def test_seeking_forward_and_backward(buffer: Buffer) -> None:
    """From each offset that was sought, in any order, everything from there on is read."""
    sent = buffer.append(buffer.writer(), 6)
    cursor = buffer.cursor()
    for at in (3, 1, 0, 4, 5, 2):
        cursor.seek(sent[at][0])
        assert buffer.read(cursor, 6 - at) == sent[at:]


def test_every_offset_from_first_to_next_may_be_sought(buffer: Buffer) -> None:
    """Whether there is a record at it or not: what is read is all that is at it or after it."""
    writer, reader = buffer.writer(), buffer.reader()
    sent = [one for _ in range(4) for one in buffer.append(writer, 2)]
    cursor, next_offset = reader.cursor(ONE), reader.offsets(ONE).next_offset
    for asked in range(next_offset + 1):
        expected = [one for one in sent if one[0] >= asked]
        cursor.seek(Offset(asked))
        assert buffer.read(cursor, len(expected)) == expected, (
            f"after a seek to {asked} the records read are not those at or after it"
        )


def test_seeking_to_the_last_record_and_to_next(buffer: Buffer) -> None:
    """next - 1 reads the last record, next is legal and reads what comes then."""
    writer = buffer.writer()
    sent = buffer.append(writer, 3)
    reader = buffer.reader()
    cursor, next_offset = reader.cursor(ONE), reader.offsets(ONE).next_offset
    cursor.seek(Offset(next_offset - 1))
    assert buffer.read(cursor, 1) == sent[-1:]
    cursor.seek(next_offset)
    batch = buffer.poll(cursor)
    assert (list(batch.records), batch.next_offset) == ([], next_offset)
    more = buffer.append(writer)
    assert buffer.read(cursor, 1) == more


def test_seeking_to_first_and_to_next_by_name(buffer: Buffer) -> None:
    """seek_to_first reads everything again; seek_to_next only what is appended after it."""
    writer, cursor = buffer.writer(), buffer.cursor()
    sent = buffer.append(writer, 4)
    assert buffer.read(cursor, 4) == sent
    cursor.seek_to_first()
    assert buffer.read(cursor, 2, max_records=2) == sent[:2]
    cursor.seek_to_next()
    more = buffer.append(writer, 2)
    assert buffer.read(cursor, 2) == more


def test_a_cursor_sought_in_an_empty_sequencer_waits_for_what_comes(buffer: Buffer) -> None:
    """Where first and next are the same, both are legal, by offset and by name."""
    writer, reader = buffer.writer(), buffer.reader()
    first = reader.offsets(ONE).first_offset
    by_offset, by_name = reader.cursor(ONE), reader.cursor(ONE)
    by_offset.seek(first)
    by_name.seek_to_next()
    sent = buffer.append(writer, 2)
    assert buffer.read(by_offset, 2) == sent
    assert buffer.read(by_name, 2) == sent


@pytest.mark.parametrize("beyond", [1, 2, 10**15])
def test_seeking_past_next_is_refused_and_moves_nothing(buffer: Buffer, beyond: int) -> None:
    """next + 1 raises OffsetInFuture with both offsets; the cursor and the other cursors are not moved."""
    sent = buffer.append(buffer.writer(), 5)
    reader = buffer.reader()
    cursor, other, next_offset = reader.cursor(ONE), reader.cursor(ONE), reader.offsets(ONE).next_offset
    cursor.seek(sent[2][0])
    with pytest.raises(OffsetInFuture) as raised:
        cursor.seek(Offset(next_offset + beyond))
    error = raised.value
    assert (error.sequencer, error.asked, error.next_offset) == (0, next_offset + beyond, next_offset)
    assert isinstance(error, InvalidRequest)
    assert all(str(value) in str(error) for value in (error.asked, error.next_offset))
    assert buffer.read(cursor, 3) == sent[2:]
    assert buffer.read(other, 5) == sent


def test_seeking_past_next_of_an_empty_sequencer_is_refused(buffer: Buffer) -> None:
    """Also where nothing was ever appended."""
    reader = buffer.reader()
    cursor, next_offset = reader.cursor(ONE), reader.offsets(ONE).next_offset
    with pytest.raises(OffsetInFuture):
        cursor.seek(Offset(next_offset + 1))
    sent = buffer.append(buffer.writer())
    assert buffer.read(cursor, 1) == sent


def test_a_negative_offset_is_refused(buffer: Buffer) -> None:
    """No backend gives -1 or -2 a meaning of its own; a seek after it works."""
    sent = buffer.append(buffer.writer(), 3)
    cursor = buffer.cursor()
    for asked in (-1, -2, -1001):
        with pytest.raises(InvalidRequest):  # noqa: PT012  as OffsetTrimmed, which may come at the poll
            cursor.seek(Offset(asked))
            cursor.poll(1, 1, 0)
        cursor.seek(sent[1][0])
        assert buffer.read(cursor, 2) == sent[1:]


def test_seeking_revives_a_cursor_after_an_error(buffer: Buffer) -> None:
    """After a refused seek a new one is obeyed, and what it asks for is read."""
    writer, cursor = buffer.writer(), buffer.cursor()
    sent = buffer.append(writer, 3)
    assert buffer.read(cursor, 3) == sent
    for at in (0, 2):
        with pytest.raises(OffsetInFuture):
            cursor.seek(Offset(10**9))
        cursor.seek(sent[at][0])
        assert buffer.read(cursor, 3 - at) == sent[at:]


def test_seeking_throws_away_what_was_read_ahead(buffer: Buffer) -> None:
    """After one record of many, a seek far forward and back reads exactly what is there."""
    writer = buffer.writer()
    span = buffer.append_many(writer, 500, 100)
    everything = buffer.read_all()
    cursor = buffer.cursor()
    assert buffer.read(cursor, 1) == everything[:1]
    cursor.seek(span.last.offset)
    assert buffer.read(cursor, 1) == everything[-1:]
    cursor.seek(everything[250][0])
    assert buffer.read(cursor, 250) == everything[250:]


def test_seeking_while_another_cursor_waits_moves_only_one(buffer: Buffer) -> None:
    """A cursor that is blocked at next stays there while another of its reader moves."""
    writer, reader = buffer.writer(), buffer.reader()
    sent = buffer.append(writer, 3)
    waiting, other = reader.cursor(ONE), reader.cursor(ONE)
    waiting.seek_to_next()
    blocked = in_background(lambda: buffer.poll(waiting, timeout_s=3 * buffer.patience_s))
    other.seek_to_first()
    assert buffer.read(other, 3) == sent
    more = buffer.append(writer)
    assert [(one.offset, one.record) for one in buffer.result(blocked).records] == more
