"""Identity: it names a stream's history, and whoever knew another one is stopped."""

import time
from collections.abc import Callable

import pytest

from common.errors import Forked, PenstockError, Unavailable
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import record
from writebuffer.contract import Cursor, Durable, Trimmable
from writebuffer.errors import BufferNotFound

_AGAIN_S = 0.02


def _identities(buffer: Buffer) -> list[str]:
    reader = buffer.reader(buffer.again())
    return [reader.identity(sequencer) for sequencer in reader.sequencers()]


def test_identity_lasts_over_writes_and_opening_again(absent: Buffer) -> None:
    """The same to every reader, before and after appends, for writers that come and go, and after `create` again."""
    absent.create(2)
    reader = absent.reader()
    before = _identities(absent)
    assert all(before), f"an identity is empty: {before}"
    for _ in range(2):
        writer = absent.writer()
        absent.append(writer, 3)
        absent.append(writer, 1, sequencer=1)
        writer.close()
        absent.again().create(2)
        assert _identities(absent) == before, "opened again, it has another identity"
    assert [reader.identity(sequencer) for sequencer in reader.sequencers()] == before


@needs(Trimmable)
def test_identity_lasts_over_trimming(buffer: Buffer) -> None:
    """Records go, the history stays."""
    before = _identities(buffer)
    buffer.trim_until_moved(buffer.writer(), buffer.reader())
    assert _identities(buffer) == before, "trimmed, it has another identity"


@needs(Durable)
def test_identity_is_the_same_in_every_process(absent: Buffer) -> None:
    """A process that opens the same buffer is told the same."""
    absent.create(2)
    told = [line.strip() for line in absent.child("identity").rest()]
    assert told == _identities(absent)


def test_a_buffer_made_again_has_another_identity(absent: Buffer) -> None:
    """After deleting and creating every sequencer has an identity that no sequencer had before."""
    absent.create(2)
    before = _identities(absent)
    absent.append(absent.writer(), 2)
    absent.backend.delete()
    absent.create(2)
    assert set(before).isdisjoint(_identities(absent)), "a buffer that was deleted and made again kept its identity"


@pytest.mark.parametrize("again", [1, 5], ids=["shorter", "longer"])
def test_an_old_cursor_is_told_that_the_stream_was_made_again(buffer: Buffer, again: int) -> None:
    """It raises Forked and returns nothing of the new stream, whether that is shorter or longer than it had read."""
    writer, cursor = buffer.writer(), buffer.cursor()
    buffer.append(writer, 3)
    buffer.read(cursor, 3)
    writer.close()
    buffer.backend.delete()
    buffer.create()
    buffer.append(buffer.writer(), again)
    assert _poll_until_error(buffer, cursor).__class__ is Forked


def test_an_old_writer_is_told_that_the_stream_was_made_again(buffer: Buffer) -> None:
    """Its appends fail with Forked: nothing is acknowledged to whoever knew another history; a new writer goes on."""
    old = buffer.writer()
    buffer.append(old, 3)
    buffer.backend.delete()
    buffer.create()
    for number in buffer.next_numbers(2):
        error = buffer.error(old.append(ONE, record(number)))
        assert isinstance(error, Forked), f"an append to a stream that was deleted and made again: {error!r}"
    sent = buffer.append(buffer.writer(), 2)
    assert buffer.read_all()[-2:] == sent


@pytest.mark.parametrize("read", [0, 3], ids=["that had read nothing", "that had read everything"])
def test_an_old_cursor_is_told_that_the_buffer_was_deleted(buffer: Buffer, read: int) -> None:
    """Where none was made again, too, its polls raise Forked, after outages: silence would last for ever."""
    writer, cursor = buffer.writer(), buffer.cursor()
    buffer.append(writer, 3)
    buffer.read(cursor, read)
    if not read:
        cursor.seek_to_next()
    writer.close()
    buffer.backend.delete()
    assert _poll_until_error(buffer, cursor).__class__ is Forked


def test_an_old_reader_is_told_that_the_buffer_was_deleted(buffer: Buffer) -> None:
    """Asked for offsets it raises Forked, or BufferNotFound: a lag reckoned from them would look like rest."""
    buffer.append(buffer.writer(), 3)
    reader = buffer.reader()
    assert reader.offsets(ONE).next_offset == 3
    buffer.backend.delete()
    error = _until_error(buffer, lambda: reader.offsets(ONE))
    assert isinstance(error, Forked | BufferNotFound), f"offsets of a buffer that was deleted: {error!r}"


def test_an_old_writer_is_told_that_the_buffer_was_deleted(buffer: Buffer) -> None:
    """Its appends fail with Forked, at the latest after an outage, and make no buffer."""
    writer = buffer.writer()
    buffer.append(writer, 3)
    buffer.backend.delete()
    error = _until_error(
        buffer, lambda: writer.append(ONE, record(buffer.next_numbers(1)[0])).result(buffer.patience_s)
    )
    assert isinstance(error, Forked), f"an append to a buffer that was deleted: {error!r}"
    with pytest.raises(BufferNotFound):
        buffer.reader()


def _until_error(buffer: Buffer, ask: "Callable[[], object]") -> PenstockError:
    """What `ask` raises in the end; outages last no longer than patience. The caller says what it must be."""
    deadline_s = time.monotonic() + buffer.patience_s
    found: object = None
    while time.monotonic() < deadline_s:
        try:
            found = ask()
        except Unavailable as error:
            found = error
        except PenstockError as error:
            return error
        time.sleep(_AGAIN_S)
    pytest.fail(f"since it was deleted {buffer.patience_s} s went by without Forked; the last answer was {found!r}")


def _poll_until_error(buffer: Buffer, cursor: Cursor) -> PenstockError:
    def poll() -> None:
        found = cursor.poll(100, 2**20, 0.1).records
        assert not found, "a cursor of the deleted stream returned a record of the new one"

    return _until_error(buffer, poll)
