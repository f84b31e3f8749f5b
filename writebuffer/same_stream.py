"""Whether a stream is still the one that was followed: asked before it is written to or read, and when it is back."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.catalog.manifest.change import StreamMark
from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from writebuffer.contract import Offsets, Reader, Salvageable, Stretch

READ_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class FoundStream:
    """What the buffer says of a stream now.

    last_checksum: of the record that is remembered as the last one read; None where the buffer no longer has it, or
    none is remembered. lost: offsets that a salvage of the buffer gave up; cursors pass them.
    """

    identity: str
    offsets: Offsets
    last_checksum: int | None
    lost: Sequence[Stretch] = ()


def difference(followed: StreamMark, next_offset: Offset, found: FoundStream) -> str | None:
    """Why `found` is not the stream that was followed up to `next_offset`; None where it is, as far as can be seen.

    A buffer that lost its tail may have been filled again since: then the last record is another one.
    """
    if found.identity != followed.identity:
        return f"its identity is {found.identity}, the stream followed was {followed.identity}"
    if found.offsets.next_offset < next_offset:
        return f"its next offset is {found.offsets.next_offset}, the stream was followed up to {next_offset}"
    if found.last_checksum not in (None, followed.last_checksum):
        return f"the record at {followed.last_offset} is another one than was read there"
    return None


def find_stream(reader: Reader, sequencer: SequencerId, followed: StreamMark, next_offset: Offset) -> FoundStream:
    """Ask the buffer for what `difference` compares.

    Raises Unavailable, also where records below `next_offset` are written and not proven durable yet: after a power cut
    that is so until the buffer's writer was started again; such a stream is no fork.
    """
    _wait_for_proof(reader, sequencer, next_offset)
    offsets = reader.offsets(sequencer)
    checksum = _checksum_at(reader, sequencer, followed.last_offset, offsets)
    lost = reader.lost(sequencer) if isinstance(reader, Salvageable) else ()
    return FoundStream(reader.identity(sequencer), offsets, checksum, lost)


def _wait_for_proof(reader: Reader, sequencer: SequencerId, offset: Offset) -> None:
    cursor = reader.cursor(sequencer)
    try:
        cursor.seek(offset)
    except InvalidRequest:
        return  # in the future, or trimmed: the offsets say so
    finally:
        cursor.close()


def _checksum_at(reader: Reader, sequencer: SequencerId, offset: Offset | None, offsets: Offsets) -> int | None:
    """The checksum of the record at `offset`, where it can still be read."""
    if offset is None or not offsets.first_offset <= offset < offsets.next_offset:
        return None
    cursor = reader.cursor(sequencer)
    try:
        cursor.seek(offset)
        batch = cursor.poll(1, 1, READ_TIMEOUT_S)
        found = batch.records[0] if batch.records else None
        return found.record.checksum() if found and found.offset == offset else None
    except InvalidRequest:
        return None  # trimmed meanwhile
    finally:
        cursor.close()
