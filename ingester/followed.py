"""Whether a stream is still the one that was followed: it holds the same last record."""

from common.errors import InvalidRequest
from common.ids import Offset, SequencerId
from writebuffer.contract import Reader

READ_TIMEOUT_S = 0.5


def checksum_at(reader: Reader, sequencer: SequencerId, offset: Offset | None) -> int | None:
    """The checksum of the record at `offset`, where it can still be read."""
    offsets = reader.offsets(sequencer)
    if offset is None or not offsets.first_offset <= offset < offsets.next_offset:
        return None
    cursor = reader.reader(sequencer)
    try:
        cursor.seek(offset)
        batch = cursor.poll(1, 1, READ_TIMEOUT_S)
        found = batch.records[0] if batch.records else None
        return found.record.checksum() if found and found.offset == offset else None
    except InvalidRequest:
        return None  # trimmed meanwhile
    finally:
        cursor.close()
