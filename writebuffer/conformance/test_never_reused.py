"""An offset is never given twice, also not after everything was trimmed."""

from writebuffer.conformance.buffer import ONE, Buffer, offsets
from writebuffer.conformance.needs import needs
from writebuffer.contract import Trimmable


@needs(Trimmable)
def test_an_append_after_trimming_everything_goes_on(buffer: Buffer) -> None:
    """After trimming as far as the backend can, the next record is at or after the next offset of before."""
    writer, reader = buffer.writer(), buffer.reader()
    buffer.trim_until_moved(writer, reader)
    next_offset = reader.offsets(ONE).next_offset
    ((offset, sent),) = buffer.append(writer)
    assert offset >= next_offset, (
        f"the next append must be at or after {next_offset}, got {offset}: an offset was given twice"
    )
    assert buffer.read_all()[-1] == (offset, sent)


@needs(Trimmable)
def test_an_append_after_trimming_and_opening_again_goes_on(buffer: Buffer) -> None:
    """The same when the buffer was closed and opened again in between; first and next offset stay as they were."""
    writer, reader = buffer.writer(), buffer.reader()
    buffer.trim_until_moved(writer, reader)
    before = reader.offsets(ONE)
    writer.close()
    reader.close()
    again = buffer.again()
    assert buffer.reader(again).offsets(ONE) == before
    ((offset, _),) = buffer.append(buffer.writer(again))
    assert offset >= before.next_offset, (
        f"the next append must be at or after {before.next_offset}, got {offset}: an offset was given twice"
    )


@needs(Trimmable)
def test_no_offset_returns_over_many_rounds(buffer: Buffer) -> None:
    """Over rounds of appending, trimming and opening again no offset is given twice and none is smaller than before."""
    given: list[int] = []
    for _ in range(3):
        writer, reader = buffer.writer(), buffer.reader()
        given += offsets(buffer.append(writer, 3))
        buffer.trim_until_moved(writer, reader)
        given += offsets(buffer.append(writer, 3))
        writer.close()
    assert given == sorted(set(given)), f"offsets were given twice or went back: {given}"


def test_creating_again_changes_nothing(buffer: Buffer) -> None:
    """`create` on a buffer that exists keeps its records and its offsets."""
    writer = buffer.writer()
    sent = buffer.append(writer, 3)
    buffer.create()
    sent += buffer.append(writer, 2)
    assert buffer.read_all() == sent
    assert offsets(sent) == sorted(set(offsets(sent)))
