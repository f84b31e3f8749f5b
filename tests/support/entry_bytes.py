"""An entry's envelope written by hand from docs/formats/entry.md, independent of common/entry/.

Makes what the codec itself would never write: wrong lengths, foreign bodies, true checksums over lies.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.ipc
import xxhash


@dataclass
class Table:
    """One table's part of the header; `start` and `length` are its range in the raw body."""

    name: bytes
    rows: int
    time_ns_min: int
    time_ns_max: int
    fingerprint: int
    start: int
    length: int

    def to_bytes(self) -> bytes:
        return (
            struct.pack("<H", len(self.name))
            + self.name
            + struct.pack("<I", self.rows)
            + struct.pack("<qq", self.time_ns_min, self.time_ns_max)
            + struct.pack("<QII", self.fingerprint, self.start, self.length)
        )


@dataclass
class PackedTable:
    """One table of version 2: its part of the header, and what its block in the body is made of."""

    shape: bytes
    rows: int
    series: int
    series_bytes: int
    string_bytes: int
    flags: int
    time_ns_min: int
    time_ns_max: int

    def to_bytes(self) -> bytes:
        return (
            struct.pack("<II", self.rows, self.series)
            + struct.pack("<II", self.series_bytes, self.string_bytes)
            + struct.pack("<qq", self.time_ns_min, self.time_ns_max)
            + struct.pack("<II", len(self.shape), self.flags)
        )


def shape_bytes(table: bytes, tag_keys: Sequence[bytes], fields: Sequence[tuple[int, bytes]]) -> bytes:
    """fields: code of the type, name."""
    return (
        struct.pack("<H", len(table))
        + table
        + struct.pack("<HH", len(tag_keys), len(fields))
        + b"".join(struct.pack("<H", len(key)) + key for key in tag_keys)
        + b"".join(struct.pack("<BH", kind, len(name)) + name for kind, name in fields)
    )


def series_bytes(*values: bytes) -> bytes:
    """The tag values of one series; b"" where it has no such tag."""
    return b"".join(struct.pack("<H", len(value)) + value for value in values)


@dataclass
class Envelope:
    """Every field as the format names it; None where the true value is wanted."""

    namespace: bytes
    tables: Sequence[Table | PackedTable]
    raw: bytes
    magic: bytes = b"PSNT"
    version: int = 1
    codec: int = 0
    raw_length: int | None = None
    stored_length: int | None = None
    body_sum: int | None = None
    header_length: int | None = None
    header_sum: int | None = None
    table_count: int | None = None
    namespace_length: int | None = None
    header_excess: bytes = b""

    def to_bytes(self) -> bytes:
        stored = pa.Codec("zstd", 1).compress(self.raw, asbytes=True) if self.codec == 1 else self.raw
        tables = b"".join(table.to_bytes() for table in self.tables)
        names = self.namespace + tables + self.header_excess
        if self.version == 2:
            shapes = b"".join(table.shape for table in self.tables if isinstance(table, PackedTable))
            names = bytes(2) + tables + self.namespace + shapes + self.header_excess
            names += bytes(-(30 + len(names)) % 8)
        header = (
            self.magic
            + struct.pack("<BBH", self.version, self.codec, _or(self.table_count, len(self.tables)))
            + struct.pack("<I", _or(self.raw_length, len(self.raw)))
            + struct.pack("<I", _or(self.stored_length, len(stored)))
            + struct.pack("<Q", _or(self.body_sum, xxhash.xxh3_64_intdigest(stored)))
            + struct.pack("<I", _or(self.header_length, 30 + len(names) + 8))
            + struct.pack("<H", _or(self.namespace_length, len(self.namespace)))
            + names
        )
        return header + struct.pack("<Q", _or(self.header_sum, xxhash.xxh3_64_intdigest(header))) + stored


def _or(given: int | None, true: int) -> int:
    return true if given is None else given


def ipc_stream(*batches: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()
