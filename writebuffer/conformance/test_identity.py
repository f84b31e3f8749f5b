"""Identity: it names a stream's history, and clients that know another one get Forked."""

import time
from collections.abc import Callable

import pytest

from common.values.errors import Forked, PenstockError, Unavailable
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
    assert all(before), f"an identity must not be empty, got {before}"
    for _ in range(2):
        writer = absent.writer()
        absent.append(writer, 3)
        absent.append(writer, 1, sequencer=1)
        writer.close()
        absent.again().create(2)
        assert _identities(absent) == before, "opened again, it has another identity: clients would stop with Forked"
    assert [reader.identity(sequencer) for sequencer in reader.sequencers()] == before


@needs(Trimmable)
def test_identity_lasts_over_trimming(buffer: Buffer) -> None:
    """Trimming removes records; the identity stays the same."""
    before = _identities(buffer)
    buffer.trim_until_moved(buffer.writer(), buffer.reader())
    assert _identities(buffer) == before, "trimmed, it has another identity: clients would stop with Forked"


@needs(Durable)
def test_identity_is_the_same_in_every_process(absent: Buffer) -> None:
    """A process that opens the same buffer reads the same identities."""
    absent.create(2)
    found = [line.strip() for line in absent.child("identity").rest()]
    assert found == _identities(absent), "another process reads other identities of the same buffer"


def test_a_recreated_buffer_has_another_identity(absent: Buffer) -> None:
    """After deleting and creating every sequencer has an identity that no sequencer had before."""
    absent.create(2)
    before = _identities(absent)
    absent.append(absent.writer(), 2)
    absent.backend.delete()
    absent.create(2)
    assert set(before).isdisjoint(_identities(absent)), (
        "a buffer that was deleted and created again kept its identity: clients would mix up two histories"
    )


@pytest.mark.parametrize("again", [1, 5], ids=["shorter", "longer"])
def test_an_old_cursor_fails_after_the_stream_was_recreated(buffer: Buffer, again: int) -> None:
    """It raises Forked and returns nothing of the new stream, whether that is shorter or longer than it had read."""
    writer, cursor = buffer.writer(), buffer.cursor()
    buffer.append(writer, 3)
    buffer.read(cursor, 3)
    writer.close()
    buffer.backend.delete()
    buffer.create()
    buffer.append(buffer.writer(), again)
    assert _poll_until_error(buffer, cursor).__class__ is Forked


def test_an_old_writer_fails_after_the_stream_was_recreated(buffer: Buffer) -> None:
    """Its appends fail with Forked: it knows the deleted stream, so nothing is acknowledged; a new writer goes on."""
    old = buffer.writer()
    buffer.append(old, 3)
    buffer.backend.delete()
    buffer.create()
    for number in buffer.next_numbers(2):
        error = buffer.error(old.append(ONE, record(number)))
        assert isinstance(error, Forked), (
            f"expected Forked for an append to a stream that was deleted and created again, got {error!r}"
        )
    sent = buffer.append(buffer.writer(), 2)
    assert buffer.read_all()[-2:] == sent


@pytest.mark.parametrize("read", [0, 3], ids=["that had read nothing", "that had read everything"])
def test_an_old_cursor_fails_after_the_buffer_was_deleted(buffer: Buffer, read: int) -> None:
    """Without a new buffer, too, its polls raise Forked, at the latest after outages; else they would wait for ever."""
    writer, cursor = buffer.writer(), buffer.cursor()
    buffer.append(writer, 3)
    buffer.read(cursor, read)
    if not read:
        cursor.seek_to_next()
    writer.close()
    buffer.backend.delete()
    assert _poll_until_error(buffer, cursor).__class__ is Forked


def test_an_old_reader_fails_after_the_buffer_was_deleted(buffer: Buffer) -> None:
    """Asked for offsets it raises Forked, or BufferNotFound: a lag computed from the old offsets would look like 0."""
    newest = buffer.append(buffer.writer(), 3)[-1][0]
    reader = buffer.reader()
    assert reader.offsets(ONE).next_offset == newest + 1
    buffer.backend.delete()
    error = _until_error(buffer, lambda: reader.offsets(ONE))
    assert isinstance(error, Forked | BufferNotFound), (
        f"expected Forked or BufferNotFound for offsets of a deleted buffer, got {error!r}"
    )


def test_an_old_writer_fails_after_the_buffer_was_deleted(buffer: Buffer) -> None:
    """Its appends fail with Forked, at the latest after an outage, and create no buffer."""
    writer = buffer.writer()
    buffer.append(writer, 3)
    buffer.backend.delete()
    error = _until_error(
        buffer, lambda: writer.append(ONE, record(buffer.next_numbers(1)[0])).result(buffer.patience_s)
    )
    assert isinstance(error, Forked), f"expected Forked for an append to a deleted buffer, got {error!r}"
    with pytest.raises(BufferNotFound):
        buffer.reader()


def _until_error(buffer: Buffer, ask: "Callable[[], object]") -> PenstockError:
    """The first error of `ask` that is not Unavailable; fails where none comes in time. The caller checks it."""
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
    pytest.fail(
        f"the buffer was deleted {buffer.patience_s} s ago and no call raised Forked; the last answer was {found!r}"
    )


def _poll_until_error(buffer: Buffer, cursor: Cursor) -> PenstockError:
    def poll() -> None:
        found = cursor.poll(100, 2**20, 0.1).records
        assert not found, (
            f"a cursor of the deleted stream returned {len(found)} records of the new one; it must raise Forked"
        )

    return _until_error(buffer, poll)
