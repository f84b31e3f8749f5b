"""Version 1 of an entry: the body is one self-contained Arrow IPC stream for each table, 8-byte aligned.

    each table in the header:  u16 name length, name UTF-8, u32 rows, i64 min time ns, i64 max time ns,
                               u64 schema fingerprint, u32 start and u32 length of its range in the raw body
The whole body is compressed, not each column. A stream costs some 30 µs to write and as much to read.
"""

import struct
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.ipc

from common.entry import envelope
from common.entry.envelope import IPC_STREAMS, Envelope
from common.entry.values import RAW_BYTES_MAX, Entry, EntryTooLarge, TableHeader
from common.ipc import stream
from common.values import schema
from common.values.errors import DataCorrupt, InvalidRequest

_TABLE = struct.Struct("<IqqQII")
_U16 = struct.Struct("<H")
_ALIGNMENT = 8
_TIME_BYTES = 8


def encode(entry: Entry) -> bytes:
    """The payload bytes.

    Raises InvalidRequest for more than 65,535 tables, names over 65,535 bytes or no rows, EntryTooLarge.
    """
    bodies: list[bytes] = []
    tables: list[bytes] = []
    at = 0
    for name, batch in entry.tables.items():
        body = _ipc_stream(batch)
        tables.append(_encode_table(name, batch, at, len(body)))
        padding = -len(body) % _ALIGNMENT
        bodies.append(body + b"\0" * padding)
        at += len(body) + padding
        if at > RAW_BYTES_MAX:
            raise EntryTooLarge(f"entry of {at} or more raw bytes is over {RAW_BYTES_MAX}", raw_bytes=at)
    return envelope.seal(IPC_STREAMS, entry.namespace, tables, b"".join(bodies))


def _encode_table(name: str, batch: pa.RecordBatch, start: int, length: int) -> bytes:
    encoded = name.encode()
    if len(encoded) > 0xFFFF or batch.num_rows == 0:
        raise InvalidRequest(f"table name of {len(encoded)} bytes, {batch.num_rows} rows: at most 65535, at least 1")
    times = schema.times_ns(batch)
    mark = schema.fingerprint(schema.columns_of(batch.schema))
    fixed = _TABLE.pack(batch.num_rows, int(times.min()), int(times.max()), mark, start, length)
    return b"".join((_U16.pack(len(encoded)), encoded, fixed))


def _ipc_stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def table_headers(found: Envelope) -> tuple[TableHeader, ...]:
    """The tables of a header, checked. Raises DataCorrupt with what does not fit."""
    data, at = found.tables, 0
    tables = []
    try:
        for _ in range(found.tables_count):
            (length,) = _U16.unpack_from(data, at)
            name = data[at + 2 : at + 2 + length].decode()
            tables.append(TableHeader(name, *_TABLE.unpack_from(data, at + 2 + length)))
            at += 2 + length + _TABLE.size
    except (struct.error, UnicodeDecodeError) as error:
        raise DataCorrupt(f"entry header: {error}") from None
    if at != len(data):
        raise DataCorrupt(f"entry header has {len(data) - at} bytes too many")
    if len({table.table for table in tables}) != len(tables):
        raise DataCorrupt("a table occurs twice in one entry")
    _check_ranges(tables, found.raw_length)
    return tuple(tables)


def _check_ranges(tables: Sequence[TableHeader], raw_length: int) -> None:
    """No byte belongs to two tables, and no table has more rows than there are times in its bytes."""
    end = 0
    for table in tables:
        if table.start < end:
            raise DataCorrupt(f"table {table.table!r} begins at {table.start}, inside the one before it")
        end = table.start + table.length
        if end > raw_length:
            raise DataCorrupt(f"table {table.table!r} ends at {end} in a body of {raw_length}")
        if not 0 < table.rows <= table.length // _TIME_BYTES:
            raise DataCorrupt(f"entry body: table {table.table!r} has {table.rows} rows in {table.length} bytes")


def batches(payload: bytes, found: Envelope) -> dict[str, pa.RecordBatch]:
    """The rows of each table, validated fully. Raises DataCorrupt with what does not fit."""
    tables = table_headers(found)
    raw = envelope.raw_body(payload, found)
    try:
        return {table.table: _decode_table(raw, table) for table in tables}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataCorrupt(f"entry body: {error}") from None


def _decode_table(raw: bytes, header: TableHeader) -> pa.RecordBatch:
    # Memory of its own: rows of one table may be kept for long, and must not keep those of all others.
    body = pa.py_buffer(raw[header.start : header.start + header.length])
    try:
        found = stream.check(memoryview(body))
        batch = stream.read_batch(body)
    except DataCorrupt as error:
        raise DataCorrupt(f"entry body: table {header.table!r}: {error.message}") from None
    if batch.num_rows != header.rows:
        raise DataCorrupt(f"table {header.table!r} has {batch.num_rows} rows, its header says {header.rows}")
    if found.fingerprint != header.fingerprint:
        raise DataCorrupt(f"table {header.table!r} has other columns than its fingerprint says")
    if batch.column(schema.TIME).null_count:
        raise DataCorrupt(f"table {header.table!r} has rows without a time")
    for name, column in found.columns.items():
        if column is schema.ColumnType.TAG and batch.column(name).dictionary.null_count:
            raise DataCorrupt(f"table {header.table!r} has a null among the values of tag {name!r}")
    _check_times(batch, header)
    return batch


def _check_times(batch: pa.RecordBatch, header: TableHeader) -> None:
    times = schema.times_ns(batch)
    if (int(times.min()), int(times.max())) != (header.time_ns_min, header.time_ns_max):
        raise DataCorrupt(f"table {header.table!r} has times outside its header's range")
