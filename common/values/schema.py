"""Tables and their columns: kinds, types, Arrow schemas and fingerprints.

A table has `time` (timestamp[ns, UTC], never null), tags (dictionary<int32, utf8>, null = the tag is absent) and fields
of one of five types (null = not in that row). Field metadata says what a column is, so that batches explain themselves.
Column order in every batch and file: time, tags by name, fields by name.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from common.values.errors import DataCorrupt

TIME = "time"
RESERVED_COLUMNS = frozenset({TIME, "utc_day"})
"""`time` is every table's; `utc_day` is the folder key of the files, which would mask a column of that name."""

TIME_NS_MIN = -(2**63) + 2
TIME_NS_MAX = 2**63 - 2
"""InfluxDB's range of times; a write outside it is refused."""

DAY_NS = 86_400_000_000_000

_KIND = b"penstock:column"


class ColumnType(enum.Enum):
    """The type of a column. The value is the name used in schema files and messages."""

    TAG = "tag"
    FLOAT = "float"
    INTEGER = "integer"
    UNSIGNED = "unsigned"
    STRING = "string"
    BOOLEAN = "boolean"

    __hash__ = object.__hash__  # Enum has one in Python, which costs more than all else when columns are looked up


ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    ColumnType.TAG: pa.dictionary(pa.int32(), pa.utf8()),
    ColumnType.FLOAT: pa.float64(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.UNSIGNED: pa.uint64(),
    ColumnType.STRING: pa.utf8(),
    ColumnType.BOOLEAN: pa.bool_(),
}
TIME_TYPE = pa.timestamp("ns", "UTC")
_BY_ARROW = {arrow: column for column, arrow in ARROW_TYPES.items()}

Columns = Mapping[str, ColumnType]
"""A table's columns but `time`, by name."""


def arrow_schema(columns: Columns) -> pa.Schema:
    """The schema of batches with these columns: time, tags by name, fields by name."""
    ordered = sorted(columns.items(), key=lambda item: (item[1] is not ColumnType.TAG, item[0]))
    fields = [pa.field(TIME, TIME_TYPE, nullable=False, metadata={_KIND: b"time"})]
    for name, column in ordered:
        kind = b"tag" if column is ColumnType.TAG else b"field"
        fields.append(pa.field(name, ARROW_TYPES[column], metadata={_KIND: kind}))
    return pa.schema(fields)


def columns_of(schema: pa.Schema) -> dict[str, ColumnType]:
    """The columns but `time` of an Arrow schema. Raises DataCorrupt naming what does not fit penstock's rules."""
    columns: dict[str, ColumnType] = {}
    times = 0
    for field in schema:
        kind = (field.metadata or {}).get(_KIND)
        if field.name == TIME:
            times += 1
            if field.type != TIME_TYPE or kind != b"time" or field.nullable:
                raise DataCorrupt(f"column time is {field.type} with metadata {field.metadata}")
            continue
        column = _BY_ARROW.get(field.type)
        if column is None or kind != (b"tag" if column is ColumnType.TAG else b"field"):
            raise DataCorrupt(f"column {field.name!r} is {field.type} with metadata {field.metadata}")
        if field.name in columns:
            raise DataCorrupt(f"column {field.name!r} occurs twice")
        columns[field.name] = column
    if times != 1:
        raise DataCorrupt(f"{times} columns are called time, not 1")
    return columns


def times_ns(rows: pa.RecordBatch | pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """The `time` column as int64, without a copy where it is one piece."""
    column = rows.column(TIME)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    times: np.ndarray[tuple[int], np.dtype[np.int64]] = column.view(pa.int64()).to_numpy()
    return times


def fingerprint(columns: Columns) -> int:
    """xxh3-64 of each column's type, length of name in UTF-8 bytes and name, by name; their order here does not count.

    The length comes first because separators alone would let a name that holds the separator look like two columns.
    """
    parts = [(name.encode("utf-8", "surrogatepass"), column.value) for name, column in sorted(columns.items())]
    return xxhash.xxh3_64_intdigest(b"".join(b"%s %d %s\n" % (kind.encode(), len(name), name) for name, kind in parts))


def union(schemas: Iterable[Columns]) -> dict[str, ColumnType]:
    """All columns of several batches of one table. Raises DataCorrupt where two disagree about one."""
    columns: dict[str, ColumnType] = {}
    for schema in schemas:
        for name, column in schema.items():
            if columns.setdefault(name, column) is not column:
                raise DataCorrupt(
                    f"column {name!r} is {columns[name].value} in one batch and {column.value} in another"
                )
    return columns


@dataclass(frozen=True, slots=True, order=True)
class TableId:
    namespace: str
    table: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.table}"
