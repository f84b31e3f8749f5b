"""Entries, records and decoded records from plain rows: the same bytes for the same arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from common import entry as codec
from common.catalog.manifest.frontier import Frontier
from common.catalog.partition_key import PartitionKey
from common.entry import Entry
from common.entry.series_rows import series_rows
from common.values.ids import Offset
from common.values.schema import ARROW_TYPES, TIME, TIME_TYPE, ColumnType, TableId, arrow_schema
from ingester.buffer.origins import Origins, TableColumns
from ingester.buffer.tree import BufferTree
from ingester.following.decode import Decoded, decode
from writebuffer.contract import SequencedRecord
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

NAMESPACE = "metrics"
DAY0_NS = 1_700_006_400_000_000_000
"""The first instant of a UTC day, 2023-11-15."""


class Unsigned(int):
    """A field value of that type; a plain int is an integer field."""


@dataclass(frozen=True)
class Row:
    """One row; a tag or field that is not named is absent."""

    time_ns: int
    tags: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


def row(time_ns: int, host: str | None = None, **fields: Any) -> Row:
    """A row with at most one tag, `host`."""
    return Row(time_ns, {} if host is None else {"host": host}, fields)


_TYPES = {
    bool: ColumnType.BOOLEAN,
    float: ColumnType.FLOAT,
    int: ColumnType.INTEGER,
    Unsigned: ColumnType.UNSIGNED,
    str: ColumnType.STRING,
}


def columns(rows: Sequence[Row]) -> dict[str, ColumnType]:
    found: dict[str, ColumnType] = {}
    for each in rows:
        found.update((name, ColumnType.TAG) for name in each.tags)
        found.update((name, _TYPES[type(value)]) for name, value in each.fields.items())
    return found


def batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """The rows in penstock's schema."""
    schema = arrow_schema(columns(rows))
    arrays = [pa.array([each.time_ns for each in rows], pa.int64()).cast(TIME_TYPE)]
    for column in schema.names[1:]:
        if schema.field(column).type == ARROW_TYPES[ColumnType.TAG]:
            arrays.append(pa.array([each.tags.get(column) for each in rows], pa.utf8()).dictionary_encode())
        else:
            arrays.append(pa.array([each.fields.get(column) for each in rows], schema.field(column).type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def add_rows(
    tree: BufferTree,
    table: str,
    rows: Sequence[Row],
    offset: int,
    arrival_ns: int,
    frontiers: Mapping[PartitionKey, Frontier] | None = None,
) -> int:
    """Add the rows of one record to a buffer tree; returns how many were durable."""
    brought = TableColumns(TableId(NAMESPACE, table), columns(rows))
    return tree.add(brought, series_rows(batch(rows)), Origins.of_one(Offset(offset), arrival_ns), frontiers or {})[0]


def rows_of(table: pa.Table | pa.RecordBatch) -> list[Row]:
    """The inverse of `batch`: absent where null."""
    kinds = {name: table.schema.field(name).type == ARROW_TYPES[ColumnType.TAG] for name in table.schema.names}
    times = table.column(TIME).cast(pa.int64()).to_pylist()
    values = {name: table.column(name).to_pylist() for name in table.schema.names if name != TIME}
    found = []
    for at, time_ns in enumerate(times):
        here = {name: column[at] for name, column in values.items() if column[at] is not None}
        found.append(
            Row(
                time_ns,
                {name: value for name, value in here.items() if kinds[name]},
                {name: value for name, value in here.items() if not kinds[name]},
            )
        )
    return found


def record(
    tables: Mapping[str, Sequence[Row]],
    *,
    namespace: str = NAMESPACE,
    producer: int = 1,
    sequence: int = 0,
    append_time_ns: int = DAY0_NS,
) -> Record:
    """A record as a router appends it."""
    payload = codec.encode(Entry(namespace, {table: batch(rows) for table, rows in tables.items()}))
    return Record.of(headers(namespace, producer, sequence, append_time_ns), payload)


def headers(namespace: str, producer: int, sequence: int, append_time_ns: int) -> RecordHeaders:
    return RecordHeaders(ENTRY_CONTENT_TYPE, namespace, producer.to_bytes(16), sequence, append_time_ns)


def decoded(offset: int, tables: Mapping[str, Sequence[Row]], **marks: Any) -> Decoded:
    """The record at `offset` as the core takes it. marks: as for `record`."""
    return decode(SequencedRecord(Offset(offset), record(tables, **marks)))


def poison(offset: int, tables: Mapping[str, Sequence[Row]], **marks: Any) -> Decoded:
    """The same with its last byte flipped: the header says how many rows there were."""
    good = record(tables, **marks)
    bad = Record(good.header_block, good.payload[:-1] + bytes([good.payload[-1] ^ 1]))
    return decode(SequencedRecord(Offset(offset), bad))
