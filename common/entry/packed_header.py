"""Version 2 of an entry: the body is a block of packed rows for each table. Here is its header.

    each table in the header:  u32 rows, u32 series, u32 bytes of series, u32 bytes of strings, i64 min time ns,
                               i64 max time ns, u32 length of the shape, u32 flags; the shapes (shape.py) follow
    each block in the body, rows R, fields F, series S:
        R * i64            times
        R * F * u64        values, row by row
        R * u32            flag 2: the series of each row; without it, row i has series i
        (S - 1) * u32      length of each series but the last
        R * ceil(F/8)      flag 1: a bit for each value that is there, the first field lowest; each row begins a byte
        …                  series: for each tag key u16 length and UTF-8 of the value, 0 where the tag is absent
        …                  strings, UTF-8, in the order of their values
        zeros up to a multiple of 8 bytes
The length of a block follows from the header: no two can share bytes. All is aligned, so that a reader takes the
numbers of many records from their joined bytes without a look at each record.
"""

import struct

from common.entry.envelope import ALIGNMENT, Envelope
from common.entry.shape import Shapes
from common.entry.values import TableHeader
from common.values.errors import DataCorrupt

DECODED_BYTES_MAX = 16 * 1024 * 1024
"""Of the body and all rows with a code for each tag: a record is under 1 MB, and is packed because it has few rows."""

HAS_PRESENCE, HAS_SERIES_OF_ROW = 1, 2
ALL_FLAGS = HAS_PRESENCE | HAS_SERIES_OF_ROW

TABLE = struct.Struct("<IIIIqqII")
SHAPES = Shapes()


def table_headers(found: Envelope) -> tuple[TableHeader, ...]:
    """The tables of a header, checked one after another. Raises DataCorrupt with what does not fit."""
    tables: list[TableHeader] = []
    at = end = decoded_bytes = 0
    for rows, series, series_bytes, string_bytes, least, greatest, length, flags in TABLE.iter_unpack(found.tables):
        shape = SHAPES.get(found.shapes[at : at + length])
        at += length
        if not 0 < series <= rows or flags > ALL_FLAGS or least > greatest:
            raise DataCorrupt(
                f"table {shape.table!r} has {rows} rows, {series} series, flags {flags}, times {least} to {greatest}"
            )
        if series != rows and not flags & HAS_SERIES_OF_ROW:
            raise DataCorrupt(f"table {shape.table!r} has {series} series for {rows} rows and does not say whose")
        row_bytes = shape.row_bytes
        row_bytes += 4 * bool(flags & HAS_SERIES_OF_ROW) + shape.presence_bytes * bool(flags & HAS_PRESENCE)
        size = rows * row_bytes + 4 * (series - 1) + series_bytes + string_bytes
        size += -size % ALIGNMENT
        tables.append(TableHeader(shape.table, rows, least, greatest, shape.fingerprint, end, size))
        end += size
        decoded_bytes += rows * shape.decoded_row_bytes
    if not 0 <= len(found.shapes) - at < ALIGNMENT:
        raise DataCorrupt(f"entry header has {len(found.shapes) - at} bytes too many")
    if end != found.raw_length:
        raise DataCorrupt(f"entry header: tables of {end} bytes in a body of {found.raw_length}")
    if end + decoded_bytes > DECODED_BYTES_MAX:
        raise DataCorrupt(f"packed rows take {end + decoded_bytes} bytes; at most {DECODED_BYTES_MAX} are allowed")
    if len({table.table for table in tables}) != len(tables):
        raise DataCorrupt("a table occurs twice in one entry")
    return tuple(tables)
