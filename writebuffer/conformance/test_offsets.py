"""Offsets: they grow, are the same for writers and readers, and outlive the writer."""

from itertools import pairwise

from writebuffer.conformance.buffer import ONE, Buffer, offsets
from writebuffer.conformance.needs import needs
from writebuffer.contract import Dense, Offsets


def test_a_new_sequencer_starts_at_zero(buffer: Buffer) -> None:
    """First and next offset of an empty sequencer are 0, for a writer's process and a reader's alike."""
    buffer.writer()
    assert buffer.reader().offsets(ONE) == Offsets(first_offset=0, next_offset=0)  # type: ignore[arg-type]


def test_next_is_one_past_the_newest(buffer: Buffer) -> None:
    """After each acknowledgement the next offset is the newest record's plus one, without waiting, for any reader."""
    writer, readers = buffer.writer(), [buffer.reader(), buffer.reader(buffer.again())]
    for count in (1, 3, 2):
        newest = buffer.append(writer, count)[-1][0]
        for reader in readers:
            found = reader.offsets(ONE).next_offset
            assert found == newest + 1, (
                f"the newest record is at {newest}, so next offset must be {newest + 1}, got {found}"
            )
            assert reader.offsets(ONE).first_offset == 0


def test_offsets_strictly_grow(buffer: Buffer) -> None:
    """Each append gets a greater offset than the one before it, single or in append_many."""
    writer = buffer.writer()
    found = offsets(buffer.append(writer, 20))
    span = buffer.append_many(writer, 10)
    found += [span.first.offset, span.last.offset, *offsets(buffer.append(writer, 5))]
    assert all(below < above for below, above in pairwise(found)), (
        f"each offset must be greater than the one before, got {found}"
    )


@needs(Dense)
def test_offsets_are_dense(buffer: Buffer) -> None:
    """No offset is left out: not between appends, in append_many, by another writer, nor after opening again."""
    writer = buffer.writer()
    found = offsets(buffer.append(writer, 20))
    span = buffer.append_many(writer, 500)
    found += offsets(buffer.append(writer, 3))
    writer.close()
    found += offsets(buffer.append(buffer.writer(buffer.again()), 3))
    assert (span.first.offset, span.last.offset) == (20, 519), f"append_many of 500 records after 20 resolved to {span}"
    assert found == [*range(20), *range(520, 526)], f"declares Dense, but the offsets are {found}"
    assert offsets(buffer.read_all()) == list(range(526)), "declares Dense, but offsets are missing among those read"


def test_writers_and_readers_agree(buffer: Buffer) -> None:
    """The offsets that futures resolved with are those that readers see, and no others."""
    writer = buffer.writer()
    sent = buffer.append(writer, 30)
    assert offsets(buffer.read_all()) == offsets(sent), (
        "records are read at other offsets than their futures resolved to"
    )


def test_offsets_survive_opening_again(buffer: Buffer) -> None:
    """A buffer opened again by its URL has the same offsets and records, and goes on where it was."""
    writer = buffer.writer()
    sent = buffer.append(writer, 5)
    before = buffer.reader().offsets(ONE)
    writer.close()
    again = buffer.again()
    assert buffer.reader(again).offsets(ONE) == before
    sent += buffer.append(buffer.writer(again), 2)
    assert buffer.read_all() == sent
    assert offsets(sent)[5] >= before.next_offset, (
        f"opened again, it must go on at {before.next_offset}, got {offsets(sent)[5:]}"
    )
