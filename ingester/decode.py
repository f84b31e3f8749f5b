"""A record as the core takes it: its marks, and its entry or the reason why there is none."""

from dataclasses import dataclass

from common import entry as codec
from common.entry import Entry
from common.errors import DataCorrupt
from common.ids import Offset
from writebuffer.contract import SequencedRecord
from writebuffer.record import ENTRY_CONTENT_TYPE, Record


@dataclass(frozen=True, slots=True)
class Undecodable:
    """reason: for the dead letter. rows: as far as the entry's header could be read, else 0."""

    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """checksum: xxh3-64 of the record's bytes. The producer is None where the headers cannot be read."""

    offset: Offset
    record: Record
    checksum: int
    append_time_ns: int
    producer_id: bytes | None
    producer_sequence: int
    content: Entry | Undecodable

    @property
    def size(self) -> int:
        """Bytes of the record."""
        return len(self.record)

    @property
    def data(self) -> bytes:
        return self.record.to_bytes()

    @property
    def rows(self) -> int:
        if isinstance(self.content, Undecodable):
            return self.content.rows
        return sum(batch.num_rows for batch in self.content.tables.values())


def decode(sequenced: SequencedRecord) -> Decoded:
    """Decode fully. Never raises for what the record holds: what cannot be read is Undecodable."""
    record = sequenced.record
    producer_id: bytes | None = None
    sequence = append_time_ns = 0
    content: Entry | Undecodable
    try:
        headers = record.headers
        producer_id, sequence = headers.producer_id, headers.producer_sequence
        append_time_ns = headers.append_time_ns
        if headers.content_type != ENTRY_CONTENT_TYPE:
            raise DataCorrupt(f"content type {headers.content_type!r} is not {ENTRY_CONTENT_TYPE!r}")
        content = codec.decode(record.payload)
        if content.namespace != headers.namespace:
            raise DataCorrupt(f"namespace {content.namespace!r} in the entry, {headers.namespace!r} in the header")
    except DataCorrupt as error:
        content = Undecodable(error.message, _rows(record.payload))
    return Decoded(sequenced.offset, record, record.checksum(), append_time_ns, producer_id, sequence, content)


def _rows(payload: bytes) -> int:
    try:
        return codec.decode_header(payload).rows
    except DataCorrupt:
        return 0
