"""The part of FlatBuffers that is needed to read the metadata of an Arrow message (flatbuffers.dev/internals).

A table begins with the distance back to its vtable; the vtable's u16 slots say where in the table each field is, 0
where it is absent. Positions are not checked against the metadata: Arrow verifies them before it uses any, and what is
read here allocates nothing. A position outside the buffer raises struct.error.
"""

import struct
from collections.abc import Iterator

_U16, _U32 = struct.Struct("<H"), struct.Struct("<I")
_I32, _I64 = struct.Struct("<i"), struct.Struct("<q")


def table_at(data: memoryview, at: int) -> int:
    """The table that the reference at `at` leads to."""
    to: int = _U32.unpack_from(data, at)[0]
    return at + to


def slot(data: memoryview, table: int, index: int) -> int:
    """Where field `index` of a table is; 0 where it is absent and has its default."""
    vtable = table - _I32.unpack_from(data, table)[0]
    at = 4 + 2 * index
    if vtable < 0 or at >= _U16.unpack_from(data, vtable)[0]:
        return 0
    to: int = _U16.unpack_from(data, vtable + at)[0]
    return table + to if to else 0


def byte(data: memoryview, table: int, index: int) -> int:
    at = slot(data, table, index)
    return data[at] if at else 0


def int64(data: memoryview, table: int, index: int) -> int:
    at = slot(data, table, index)
    value: int = _I64.unpack_from(data, at)[0] if at else 0
    return value


def table(data: memoryview, owner: int, index: int) -> int:
    """Where the table, string or vector in field `index` is; 0 where it is absent."""
    at = slot(data, owner, index)
    return table_at(data, at) if at else 0


def length(data: memoryview, owner: int, index: int) -> int:
    """Bytes of the string, or elements of the vector, in field `index`; 0 where it is absent."""
    at = table(data, owner, index)
    count: int = _U32.unpack_from(data, at)[0] if at else 0
    return count


def text(data: memoryview, owner: int, index: int, bytes_max: int) -> str:
    """The first bytes of the string in field `index`; empty where it is absent."""
    at = table(data, owner, index) + 4
    return bytes(data[at : at + min(length(data, owner, index), bytes_max)]).decode(errors="replace")


def tables(data: memoryview, owner: int, index: int) -> Iterator[int]:
    """The tables of the vector in field `index`."""
    first = table(data, owner, index) + 4
    return (table_at(data, first + 4 * n) for n in range(length(data, owner, index)))
