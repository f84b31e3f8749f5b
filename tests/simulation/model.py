"""What must be read: computed from the records in the buffer, which are the truth.

A record whose producer id and sequence occur at a lower offset counts for nothing; nor does one that cannot be decoded
or has a column of another type than an earlier record gave it. The others are applied in order of offsets, and of rows
with the same key the newer wins, field by field.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from common import entry as codec
from common.catalog.partition_key import PartitionKey
from common.entry import Entry
from common.values.errors import DataCorrupt
from common.values.ids import Offset, SequencerId
from common.values.schema import DAY_NS, ColumnType, TableId, columns_of
from tests.simulation.chaos import SimulationFailure
from tests.support.records import Row, rows_of
from writebuffer.contract import Reader, SequencedRecord
from writebuffer.record import ENTRY_CONTENT_TYPE, Record


class Key(NamedTuple):
    """What two rows must share for the newer to overwrite the older. partition follows from the rest."""

    partition: PartitionKey
    tags: tuple[tuple[str, str], ...]
    time_ns: int


Content = dict[Key, dict[str, Any]]
"""Field values by key."""


def keyed(namespace: str, table: str, row: Row) -> tuple[Key, Mapping[str, Any]]:
    partition = PartitionKey(namespace, table, row.time_ns // DAY_NS)
    return Key(partition, tuple(sorted(row.tags.items())), row.time_ns), row.fields


def fold(rows: Iterable[tuple[Key, Mapping[str, Any]]]) -> Content:
    """The content after these rows, oldest first."""
    content: Content = {}
    for key, fields in rows:
        content.setdefault(key, {}).update(fields)
    return content


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """rows: that count. rows_duplicate, rows_dead: as far as the entry's header can be read."""

    offset: Offset
    record: Record
    producer: tuple[bytes, int] | None
    rows: tuple[tuple[Key, Mapping[str, Any]], ...] = ()
    rows_duplicate: int = 0
    rows_dead: int = 0
    is_dead: bool = False


class SequencerModel:
    """One sequencer's records as they came into the buffer; kept when the buffer is trimmed."""

    def __init__(self, sequencer: SequencerId, reader: Reader) -> None:
        self.sequencer = sequencer
        self.records: list[ModelRecord] = []
        self.offsets_of_line: dict[int, list[Offset]] = {}
        """By the number that every line of a client carries in its values."""
        self.columns: dict[TableId, dict[str, ColumnType]] = {}
        self._cursor = reader.cursor(sequencer)
        self._producers: set[tuple[bytes, int]] = set()

    @property
    def next_offset(self) -> Offset:
        return Offset(len(self.records))

    def look(self) -> list[ModelRecord]:
        """Take in what came into the buffer since; returns it."""
        new = [self._record(found) for found in self._cursor.poll(10_000, 2**30, 0).records]
        for record in new:
            if record.offset != self.next_offset:
                raise SimulationFailure(f"sequencer {self.sequencer}: offset {record.offset} after {self.next_offset}")
            self.records.append(record)
            for _, fields in record.rows:
                self.offsets_of_line.setdefault(line_of(fields), []).append(record.offset)
        return new

    def rows(
        self, below: Offset, counts: Callable[[Offset, Key], bool] = lambda offset, key: True
    ) -> Iterator[tuple[Key, Mapping[str, Any]]]:
        """The rows of records below `below` that `counts`, oldest first."""
        for record in self.records[:below]:
            for key, fields in record.rows:
                if counts(record.offset, key):
                    yield key, fields

    def _record(self, found: SequencedRecord) -> ModelRecord:
        headers = found.record.headers
        producer = (headers.producer_id, headers.producer_sequence)
        if producer in self._producers:
            return ModelRecord(found.offset, found.record, producer, rows_duplicate=_header_rows(found.record))
        self._producers.add(producer)
        entry = _entry(found.record)
        if entry is None or not self._fits(entry):
            return ModelRecord(found.offset, found.record, producer, rows_dead=_header_rows(found.record), is_dead=True)
        rows = tuple(
            keyed(entry.namespace, table, row) for table, batch in entry.tables.items() for row in rows_of(batch)
        )
        return ModelRecord(found.offset, found.record, producer, rows)

    def _fits(self, entry: Entry) -> bool:
        """Whether every column has the type it had before; if so, its new columns are known from here on."""
        found = [(TableId(entry.namespace, table), columns_of(batch.schema)) for table, batch in entry.tables.items()]
        if any(
            self.columns.get(table, {}).get(name, column) is not column
            for table, columns in found
            for name, column in columns.items()
        ):
            return False
        for table, columns in found:
            self.columns.setdefault(table, {}).update(columns)
        return True


def line_of(fields: Mapping[str, Any]) -> int:
    """The number of the line that a row came from: its fields all hold it."""
    return int(float(next(iter(fields.values()))))


def _entry(record: Record) -> Entry | None:
    headers = record.headers
    try:
        entry = codec.decode(record.payload)
    except DataCorrupt:
        return None
    return entry if (headers.content_type, headers.namespace) == (ENTRY_CONTENT_TYPE, entry.namespace) else None


def _header_rows(record: Record) -> int:
    try:
        return codec.decode_header(record.payload).rows
    except DataCorrupt:
        return 0


def difference(found: Content, expected: Content) -> str:
    """The first few keys that differ, for a message; empty when none do."""
    wrong = []
    for key in sorted({*found, *expected}):
        if found.get(key) != expected.get(key):
            wrong.append(
                f"{key.partition.table} day {key.partition.day} {dict(key.tags)} {key.time_ns}: "
                f"found {found.get(key)}, expected {expected.get(key)}"
            )
    return f"{len(wrong)} keys differ: " + "; ".join(wrong[:4]) if wrong else ""
