"""The payload of a record: one namespace, one Arrow record batch for each table touched.

Envelope, byte by byte in docs/formats/entry.md (little endian):
    0  4s  magic "PSNT"        4  u8  version (1)      5  u8  codec (0 none, 1 zstd)    6  u16  tables
    8  u32 raw length         12  u32 stored length   16  u64 xxh3-64 of the stored body
   24  u32 header length      28  u16 namespace length, namespace UTF-8
    then for each table:  u16 name length, name UTF-8, u32 rows, i64 min time ns, i64 max time ns,
                          u64 schema fingerprint, u32 start and u32 length of its range in the raw body
    then u64 xxh3-64 of the header up to here, then the stored body.
The raw body is one self-contained Arrow IPC stream for each table; the whole of it is compressed, not each column.
The header has a checksum of its own because readers skip by it without touching the body.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.ipc
import xxhash

from common import schema
from common.errors import DataCorrupt, InvalidRequest

RAW_BYTES_MAX = 64 * 1024 * 1024
"""A declared raw length above this is not believed: a record is under 1 MB and rows rarely compress beyond 60 times."""

_MAGIC = b"PSNT"
_VERSION = 1
_CODEC_NONE, _CODEC_ZSTD = 0, 1
_FIXED = struct.Struct("<4sBBHIIQIH")
_TABLE = struct.Struct("<IqqQII")
_U16 = struct.Struct("<H")
_U64 = struct.Struct("<Q")
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class TableHeader:
    """What a reader knows of one table without decoding: rows, time range [min, max] in ns, range in the raw body."""

    table: str
    rows: int
    time_ns_min: int
    time_ns_max: int
    fingerprint: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class EntryHeader:
    namespace: str
    tables: tuple[TableHeader, ...]
    codec: int
    raw_length: int
    body_start: int
    body_length: int
    body_sum: int

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


@dataclass(frozen=True, slots=True)
class Entry:
    """namespace, and for each table one batch with penstock's schema (common/schema.py), at least one row each."""

    namespace: str
    tables: Mapping[str, pa.RecordBatch]


def encode(entry: Entry) -> bytes:
    """The payload bytes. Raises InvalidRequest for more than 65,535 tables, names over 65,535 bytes or no rows."""
    bodies: list[bytes] = []
    tables: list[bytes] = []
    at = 0
    for name, batch in entry.tables.items():
        body = _ipc_stream(batch)
        tables.append(_encode_table(name, batch, at, len(body)))
        padding = -len(body) % _ALIGNMENT
        bodies.append(body + b"\0" * padding)
        at += len(body) + padding
    raw = b"".join(bodies)
    if len(raw) > RAW_BYTES_MAX:
        raise InvalidRequest(f"entry of {len(raw)} raw bytes is over {RAW_BYTES_MAX}", raw_bytes=len(raw))
    stored = pa.Codec("zstd", compression_level=1).compress(raw, asbytes=True)
    codec = _CODEC_ZSTD
    if len(stored) >= len(raw):
        stored, codec = raw, _CODEC_NONE
    return _envelope(entry.namespace, tables, codec, len(raw), stored)


def _envelope(namespace: str, tables: list[bytes], codec: int, raw_length: int, stored: bytes) -> bytes:
    name = namespace.encode()
    if len(name) > 0xFFFF or len(tables) > 0xFFFF:
        raise InvalidRequest(
            f"entry with {len(tables)} tables and a namespace of {len(name)} bytes: at most 65535 each"
        )
    parts = [name, *tables]
    length = _FIXED.size + sum(map(len, parts)) + _U64.size
    fixed = _FIXED.pack(
        _MAGIC,
        _VERSION,
        codec,
        len(tables),
        raw_length,
        len(stored),
        xxhash.xxh3_64_intdigest(stored),
        length,
        len(name),
    )
    header = b"".join((fixed, *parts))
    return b"".join((header, _U64.pack(xxhash.xxh3_64_intdigest(header)), stored))


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


def decode_header(payload: bytes) -> EntryHeader:
    """The header alone, checked. Raises DataCorrupt with what does not fit."""
    if len(payload) < _FIXED.size:
        raise DataCorrupt(f"entry of {len(payload)} bytes is shorter than its header")
    magic, version, codec, count, raw_length, stored, body_sum, length, name_length = _FIXED.unpack_from(payload)
    if magic != _MAGIC:
        raise DataCorrupt(f"entry magic is {magic!r}, not {_MAGIC!r}")
    if version != _VERSION:
        raise DataCorrupt(f"entry version {version} is unknown (this build reads {_VERSION})")
    if codec not in (_CODEC_NONE, _CODEC_ZSTD):
        raise DataCorrupt(f"entry codec {codec} is unknown")
    if raw_length > RAW_BYTES_MAX:
        raise DataCorrupt(f"entry declares {raw_length} raw bytes; at most {RAW_BYTES_MAX} are believed")
    if length < _FIXED.size + _U64.size or length + stored != len(payload):
        raise DataCorrupt(f"entry declares {length} + {stored} bytes and has {len(payload)}")
    header = payload[: length - _U64.size]
    if xxhash.xxh3_64_intdigest(header) != _U64.unpack_from(payload, length - _U64.size)[0]:
        raise DataCorrupt("entry header does not match its checksum")
    try:
        namespace, tables = _decode_names(header, count, name_length, raw_length)
    except (struct.error, UnicodeDecodeError) as error:
        raise DataCorrupt(f"entry header: {error}") from None
    return EntryHeader(namespace, tables, codec, raw_length, length, stored, body_sum)


def _decode_names(header: bytes, count: int, name_length: int, raw_length: int) -> tuple[str, tuple[TableHeader, ...]]:
    at = _FIXED.size + name_length
    namespace = header[_FIXED.size : at].decode()
    tables = []
    for _ in range(count):
        (length,) = _U16.unpack_from(header, at)
        name = header[at + 2 : at + 2 + length].decode()
        table = TableHeader(name, *_TABLE.unpack_from(header, at + 2 + length))
        if table.start + table.length > raw_length:
            raise DataCorrupt(f"table {name!r} ends at {table.start + table.length} in a body of {raw_length}")
        tables.append(table)
        at += 2 + length + _TABLE.size
    if at != len(header):
        raise DataCorrupt(f"entry header has {len(header) - at} bytes too many")
    if len({table.table for table in tables}) != len(tables):
        raise DataCorrupt("a table stands twice in one entry")
    return namespace, tuple(tables)


def decode(payload: bytes) -> Entry:
    """Namespace and batches, validated fully. Raises DataCorrupt with what does not fit."""
    header = decode_header(payload)
    stored = memoryview(payload)[header.body_start :]
    if xxhash.xxh3_64_intdigest(stored) != header.body_sum:
        raise DataCorrupt("entry body does not match its checksum")
    try:
        raw = pa.py_buffer(stored)
        if header.codec == _CODEC_ZSTD:
            raw = pa.Codec("zstd").decompress(raw, decompressed_size=header.raw_length)
        if raw.size != header.raw_length:
            raise DataCorrupt(f"entry body has {raw.size} raw bytes, not {header.raw_length}")
        tables = {table.table: _decode_table(raw, table) for table in header.tables}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataCorrupt(f"entry body: {error}") from None
    return Entry(header.namespace, tables)


def _decode_table(raw: pa.Buffer, header: TableHeader) -> pa.RecordBatch:
    with pa.ipc.open_stream(raw.slice(header.start, header.length)) as reader:
        batches = list(reader)
    if len(batches) != 1:
        raise DataCorrupt(f"table {header.table!r} has {len(batches)} batches, not 1")
    batch = batches[0]
    batch.validate(full=True)
    columns = schema.columns_of(batch.schema)
    if batch.num_rows != header.rows or batch.num_rows == 0:
        raise DataCorrupt(f"table {header.table!r} has {batch.num_rows} rows, its header says {header.rows}")
    if schema.fingerprint(columns) != header.fingerprint:
        raise DataCorrupt(f"table {header.table!r} has other columns than its fingerprint says")
    if batch.column(schema.TIME).null_count:
        raise DataCorrupt(f"table {header.table!r} has rows without a time")
    for name, column in columns.items():
        if column is schema.ColumnType.TAG and batch.column(name).dictionary.null_count:
            raise DataCorrupt(f"table {header.table!r} has a null among the values of tag {name!r}")
    _check_times(batch, header)
    return batch


def _check_times(batch: pa.RecordBatch, header: TableHeader) -> None:
    times = schema.times_ns(batch)
    if (int(times.min()), int(times.max())) != (header.time_ns_min, header.time_ns_max):
        raise DataCorrupt(f"table {header.table!r} has times outside its header's range")
