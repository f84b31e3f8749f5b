"""Several sequencers: each is a stream of its own."""

import pytest

from common.values.ids import SequencerId
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import Buffer
from writebuffer.conformance.samples import records


@pytest.mark.parametrize("count", [1, 2, 16])
def test_every_writer_and_reader_sees_the_same_sequencers(absent: Buffer, count: int) -> None:
    """A buffer made with N sequencers has 0..N-1 for its writer, for every reader and after opening it again."""
    absent.create(count)
    readers = [absent.reader(), absent.reader(absent.again())]
    for found in (absent.writer().sequencers(), *(reader.sequencers() for reader in readers)):
        assert list(found) == list(range(count))


@pytest.mark.parametrize("count", [2, 16])
def test_sequencers_are_isolated(absent: Buffer, count: int) -> None:
    """What is appended to one sequencer in turn with the others is read there, in order, and nowhere else."""
    absent.create(count)
    writer = absent.writer()
    sent = {one: absent.append(writer, 3, sequencer=one) for one in range(count)}
    for one in range(count):
        sent[one] += absent.append(writer, 2, sequencer=one)
    for one in range(count):
        assert absent.read_all(one) == sent[one], f"sequencer {one} does not hold exactly what was appended to it"


def test_appends_to_several_sequencers_at_once_go_where_they_were_sent(absent: Buffer) -> None:
    """Appends to 16 sequencers in turn, none awaited, are each stored on the sequencer that the call named."""
    absent.create(16)
    writer = absent.writer()
    sent = records(absent.next_numbers(320))
    futures = [writer.append(SequencerId(number % 16), one) for number, one in enumerate(sent)]
    absent.settled(futures)
    for sequencer in range(16):
        expected = [(futures[at].result().offset, sent[at]) for at in range(sequencer, 320, 16)]
        assert absent.read_all(sequencer) == expected, f"sequencer {sequencer} holds other records than were sent to it"


def test_silence_of_one_sequencer_delays_no_other(absent: Buffer) -> None:
    """While a cursor waits on a sequencer that stays silent, the others' records arrive; the silent one stays empty."""
    absent.create(2)
    writer, reader = absent.writer(), absent.reader()
    silent, busy = reader.cursor(SequencerId(0)), reader.cursor(SequencerId(1))
    blocked = in_background(lambda: silent.poll(1, 1, 5 * absent.patience_s))
    sent = absent.append(writer, 3, sequencer=1)
    assert absent.bounded(lambda: absent.read(busy, 3)) == sent
    assert not blocked.done(), "a poll of the silent sequencer returned at an append to another"
    offsets = reader.offsets(SequencerId(0))
    assert offsets.first_offset == offsets.next_offset
    reader.close()
