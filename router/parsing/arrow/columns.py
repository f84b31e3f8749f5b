"""What the columns of a stream are: the table's columns, by the stream's types. A wrong one refuses the whole stream.

A dictionary of strings is a tag. Numbers become the wider type that holds each of them exactly; a column of type null
has no value in any row.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from common.catalog.table_schema import COLUMNS_MAX
from common.values.schema import RESERVED_COLUMNS, TIME, ColumnType
from common.values.shown import shown
from router.lineprotocol.scalar import NAME_BYTES_MAX

_TEXT = (pa.utf8(), pa.large_utf8())
_FIELDS: Mapping[pa.DataType, ColumnType] = {
    **dict.fromkeys((pa.float64(), pa.float32(), pa.float16()), ColumnType.FLOAT),
    **dict.fromkeys((pa.int64(), pa.int32(), pa.int16(), pa.int8()), ColumnType.INTEGER),
    **dict.fromkeys((pa.uint64(), pa.uint32(), pa.uint16(), pa.uint8()), ColumnType.UNSIGNED),
    **dict.fromkeys(_TEXT, ColumnType.STRING),
    pa.bool_(): ColumnType.BOOLEAN,
}
_UNIT_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_CONTROL = re.compile(r"[\0-\x1f]")


class StreamRefused(Exception):
    """The stream as a whole is refused; the text is for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """time_at, columns: their place in each batch. unit_ns: of the times. Tags are in byte order of their names."""

    time_at: int
    unit_ns: int
    tags: Mapping[str, int]
    fields: Mapping[str, tuple[int, ColumnType]]

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """All but the time."""
        return {
            **dict.fromkeys(self.tags, ColumnType.TAG),
            **{name: column for name, (_, column) in self.fields.items()},
        }


def layout_of(schema: pa.Schema) -> Layout:
    """Raises StreamRefused."""
    if len(schema.names) > COLUMNS_MAX + 1:
        raise StreamRefused(f"{len(schema.names) - 1} columns beside time: a table has at most {COLUMNS_MAX}")
    if (times := schema.names.count(TIME)) != 1:
        count = f"{times} columns are" if times else "no column is"
        raise StreamRefused(f"{count} called time: give each row's time in one column of this name")
    time_at = schema.names.index(TIME)
    tags: dict[str, int] = {}
    fields: dict[str, tuple[int, ColumnType]] = {}
    for at, field in enumerate(schema):
        if at == time_at:
            continue
        check_name("column", field.name)
        if field.name in RESERVED_COLUMNS:
            raise StreamRefused(f"column {shown(field.name)}: the name is reserved; rename it")
        if field.name in tags or field.name in fields:
            raise StreamRefused(f"column {shown(field.name)} occurs twice")
        if pa.types.is_dictionary(field.type) and field.type.value_type in _TEXT:
            tags[field.name] = at
        elif field.type in _FIELDS:
            fields[field.name] = at, _FIELDS[field.type]
        elif not pa.types.is_null(field.type):
            raise StreamRefused(f"column {shown(field.name)} is {field.type}: {_INSTEAD}")
    if not fields:
        raise StreamRefused("no column is a field: give at least one of numbers, booleans or strings beside the tags")
    ordered = dict(sorted(tags.items(), key=lambda tag: tag[0].encode()))
    return Layout(time_at, _unit_ns(schema.field(time_at).type), ordered, fields)


_INSTEAD = "give a float, integer, boolean or string (a field), or a dictionary of strings (a tag)"


def check_name(what: str, name: str) -> None:
    """As the names in lines. Raises StreamRefused."""
    size = len(name.encode(errors="replace"))
    if not name:
        raise StreamRefused(f"{what} without a name")
    if size > NAME_BYTES_MAX:
        raise StreamRefused(f"{what} name of {size} bytes is over {NAME_BYTES_MAX}")
    if found := _CONTROL.search(name):
        raise StreamRefused(f"{what} {shown(name)} contains the control character {found[0]!r}")
    if name.endswith("\\"):
        raise StreamRefused(f"{what} {shown(name)} ends in a backslash, which no line of line protocol could name")


def _unit_ns(time_type: pa.DataType) -> int:
    if pa.types.is_timestamp(time_type):
        return _UNIT_NS[time_type.unit]
    if time_type == pa.int64():
        return 1
    raise StreamRefused(f"column time is {time_type}: give a timestamp, or int64 that counts nanoseconds since 1970")
