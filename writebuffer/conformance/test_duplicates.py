"""Duplicates: a record sent twice is stored once, or twice with the same producer id and sequence."""

from collections.abc import Sequence

from common.values.ids import Offset, SequencerId
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.samples import number_of, record
from writebuffer.contract import Writer
from writebuffer.record import Record


def test_a_record_sent_twice_is_one_or_says_so(buffer: Buffer) -> None:
    """The repeat resolves to the first one's offset, or a reader sees both with equal producer id and sequence."""
    _send(buffer, buffer.writer(), [7, 7])


def test_a_repeat_after_later_records_is_one_or_says_so(buffer: Buffer) -> None:
    """The same for k sent again after k + 1 and others: it is not lost and does not get another record's offset."""
    _send(buffer, buffer.writer(), [0, 1, 2, 3, 1, 4, 0, 5])


def test_sequences_may_come_out_of_order(buffer: Buffer) -> None:
    """k + 1 before k: what comes late for the first time is stored, and does not count as a repeat."""
    order = [5, 3, 4, 9, 0, 8]
    _send(buffer, buffer.writer(), order)
    assert [number_of(one) for _, one in buffer.read_all()] == order


def test_a_repeat_within_append_many_is_one_or_says_so(buffer: Buffer) -> None:
    """A batch that was sent in part before loses none of its records."""
    writer = buffer.writer()
    buffer.result(writer.append_many(ONE, [record(0), record(1)]))
    span = buffer.result(writer.append_many(ONE, [record(1), record(2), record(3)]))
    found = buffer.read_all()
    assert (span.last.offset, record(3)) in found
    assert {number_of(one) for _, one in found} == {0, 1, 2, 3}
    _check_repeats(found, 5)


def test_a_repeat_after_opening_again_is_one_or_says_so(buffer: Buffer) -> None:
    """The writer was closed in between, as when a process sends its spool again."""
    writer = buffer.writer()
    _send(buffer, writer, [0, 1])
    writer.close()
    offset = buffer.result(buffer.writer().append(ONE, record(0))).offset
    found = buffer.read_all()
    assert (offset, record(0)) in found
    _check_repeats(found, 3)


def test_the_same_sequence_of_others_is_no_repeat(absent: Buffer) -> None:
    """Another producer's record and another sequencer's, with the same sequence, are each stored."""
    absent.create(2)
    writer = absent.writer()
    mine, other = record(3), record(3, producer_id=bytes(16))
    for one, sequencer in ((mine, 0), (other, 0), (mine, 1)):
        absent.result(writer.append(SequencerId(sequencer), one))
    assert [one for _, one in absent.read_all(0)] == [mine, other]
    assert [one for _, one in absent.read_all(1)] == [mine]


def _send(buffer: Buffer, writer: Writer, numbers: Sequence[int]) -> None:
    """Append these in order, each awaited, and compare what is read with what the futures resolved to."""
    resolved = [(buffer.result(writer.append(ONE, record(number))).offset, record(number)) for number in numbers]
    found = buffer.read_all()
    assert set(resolved) == set(found), "the records read are not those that the futures resolved to, offset by offset"
    assert {number_of(one) for _, one in found} == set(numbers)
    _check_repeats(found, len(numbers))


def _check_repeats(found: Sequence[tuple[Offset, Record]], sent: int) -> None:
    assert len(found) <= sent, f"{len(found)} records are read, only {sent} were sent"
    for _, one in found:
        assert one == record(number_of(one)), (
            f"record {number_of(one)} was read with other headers or payload than it was sent with"
        )
