"""What an entry is once it is decoded, and what its header says without that."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from common.values.errors import InvalidRequest

RAW_BYTES_MAX = 64 * 1024 * 1024
"""A declared raw length above this is refused: a record is under 1 MB and rows rarely compress beyond 60 times."""


class EntryTooLarge(InvalidRequest):
    """More raw bytes than a decoder believes: fewer rows, or fewer tables, fit."""


class TableHeader(NamedTuple):
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
    """raw_length: of the body once decompressed. body_start, body_length: of the body as it is stored."""

    version: int
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
    """namespace, and for each table one batch with the columns of common/values/schema.py, at least one row each.

    raw_bytes: of the body once decompressed, where the entry was decoded.
    """

    namespace: str
    tables: Mapping[str, pa.RecordBatch]
    raw_bytes: int = field(default=0, compare=False)
