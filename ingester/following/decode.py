"""A record as the core takes it: its marks, and what it brought or the reason why it brought nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from common import entry as codec
from common.entry import Entry
from common.entry.decoding import Packed
from common.entry.packed_opening import open_packed
from common.values.errors import DataCorrupt
from common.values.ids import Offset
from common.values.schema import TableId, columns_of
from ingester.buffer.origins import TableColumns
from writebuffer.contract import SequencedRecord
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, header_columns


class OfNamespace(Protocol):
    @property
    def namespace(self) -> str: ...


Content = TypeVar("Content", bound=OfNamespace)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """reason: for the dead letter. rows: as far as the entry's header could be read, else 0."""

    reason: str
    rows: int


class Joined(NamedTuple):
    """What a record brought whose rows are in batches with those of other records: JoinedRows.

    decoded_bytes: about what its rows take there.
    """

    namespace: str
    tables: tuple[TableColumns, ...]
    rows: int
    decoded_bytes: int


class Decoded(NamedTuple):
    """checksum: xxh3-64 of the record's bytes. The producer is None where the headers cannot be read.

    A tuple: one is made for each record that is read.
    """

    offset: Offset
    record: Record
    checksum: int
    append_time_ns: int
    producer_id: bytes | None
    producer_sequence: int
    content: Entry | Joined | Undecodable

    @property
    def size(self) -> int:
        """Bytes of the record."""
        return len(self.record)

    @property
    def data(self) -> bytes:
        return self.record.to_bytes()

    @property
    def decoded_bytes(self) -> int:
        """About what it takes in memory."""
        content = self.content
        if isinstance(content, Joined):
            return self.size + content.decoded_bytes
        return self.size + (content.raw_bytes if isinstance(content, Entry) else 0)

    @property
    def rows(self) -> int:
        content = self.content
        if isinstance(content, Entry):
            return sum(batch.num_rows for batch in content.tables.values())
        return content.rows

    @property
    def tables(self) -> tuple[TableColumns, ...]:
        """Those that it brought rows of, in the order of its content."""
        content = self.content
        if isinstance(content, Joined):
            return content.tables
        if isinstance(content, Undecodable):
            return ()
        return tuple(
            TableColumns(TableId(content.namespace, table), columns_of(batch.schema))
            for table, batch in content.tables.items()
        )


Opened = tuple[int, bytes | None, int, Content | Undecodable]
"""Append time, producer, its sequence, and the payload as it was read."""


def decode(sequenced: SequencedRecord) -> Decoded:
    """Decode fully, alone. Never raises for what the record holds: what cannot be read is Undecodable."""
    record = sequenced.record
    append_time_ns, producer_id, sequence, content = opened(record, codec.decode)
    return Decoded(sequenced.offset, record, record.checksum(), append_time_ns, producer_id, sequence, content)


def opened(record: Record, read: Callable[[bytes], Content]) -> Opened[Content]:
    """The record's marks, and its payload by `read`, which raises DataCorrupt for what it cannot read."""
    producer_id: bytes | None = None
    sequence = append_time_ns = 0
    try:
        content_type, namespace, producer_id, sequence, append_time_ns, _ = record.headers
        if content_type != ENTRY_CONTENT_TYPE:
            raise DataCorrupt(f"content type {content_type!r} is not {ENTRY_CONTENT_TYPE!r}")
        content = read(record.payload)
        if content.namespace != namespace:
            raise DataCorrupt(f"namespace {content.namespace!r} in the entry, {namespace!r} in the header")
    except DataCorrupt as error:
        return append_time_ns, producer_id, sequence, Undecodable(error.message, _rows(record.payload))
    return append_time_ns, producer_id, sequence, content


def opened_together(records: Sequence[Record]) -> list[Opened[Packed] | None]:
    """As `opened` by open_entry of each that is plainly right packed rows; None for what has to be opened alone."""
    if not records:
        return []
    texts, producers, sequences, times_ns = header_columns(records)
    packed = open_packed([record.payload for record in records])
    found: list[Opened[Packed] | None] = [*zip(times_ns, producers, sequences, packed, strict=True)]  # type: ignore[list-item]
    return [
        each if content is not None and names == (ENTRY_CONTENT_TYPE, content.envelope.namespace) else None
        for each, content, names in zip(found, packed, texts, strict=True)
    ]


def unopened(record: Record, reason: str) -> Opened[Content]:
    """The record's marks alone; its payload is not looked at, and its rows are not counted."""
    try:
        _, _, producer_id, sequence, append_time_ns, _ = record.headers
    except DataCorrupt:
        return 0, None, 0, Undecodable(reason, 0)
    return append_time_ns, producer_id, sequence, Undecodable(reason, 0)


def _rows(payload: bytes) -> int:
    try:
        return codec.decode_header(payload).rows
    except DataCorrupt:
        return 0
