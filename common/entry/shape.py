"""The shape of packed rows: a table's name and columns as one byte string.

    u16 length and UTF-8 of the table's name, u16 tags, u16 fields,
    for each tag: u16 length, name;  for each field: u8 type, u16 length, name;  both by name in byte order

Thousands of records have the same few shapes. A reader looks a shape's parsed form up by its bytes, and looks at single
columns only where a shape is new.
"""

import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.ipc.schema import COLUMNS_MAX
from common.values import schema
from common.values.errors import DataCorrupt, InvalidRequest
from common.values.schema import TIME, Columns, ColumnType

Fields = tuple[tuple[str, ColumnType], ...]

CACHE_BYTES_MAX = 2 * 1024 * 1024
"""Of shapes as bytes, with COLUMN_BYTES for each column. A usual shape has 300 bytes and 30 columns."""

COLUMN_BYTES = 20
"""Added for each column: what is parsed from one takes up to a kilobyte, however short its name is."""

_ENCODED_MAX = 1024
_ENCODED_BYTES_MAX = 4096
"""Of one shape: sparse rows of wide tables bring other columns each time, a hundred kilobytes for each set of them."""

_encoded: dict[tuple[str, tuple[str, ...], Fields], bytes] = {}

_COUNTS = struct.Struct("<HH")
_U16 = struct.Struct("<H")
_FIELD = struct.Struct("<BH")
_TYPES = {
    1: ColumnType.FLOAT,
    2: ColumnType.INTEGER,
    3: ColumnType.UNSIGNED,
    4: ColumnType.STRING,
    5: ColumnType.BOOLEAN,
}
_CODES = {column: code for code, column in _TYPES.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Parsed and checked. Equal only to itself: what is remembered for a shape is found without a look at its columns.

    columns: tags and fields. strings, booleans, words: the positions of such fields, words being all but strings.
    word_fields: those. Bytes of one row in a block: row_bytes, time and values; presence_bytes. decoded_row_bytes: what
    it takes once it is decoded, beside texts.
    """

    table: str
    tag_keys: tuple[str, ...]
    fields: Fields
    columns: Columns
    fingerprint: int
    strings: npt.NDArray[np.intp]
    booleans: npt.NDArray[np.intp]
    words: npt.NDArray[np.intp]
    word_fields: Fields
    row_bytes: int
    presence_bytes: int
    decoded_row_bytes: int


def encode_shape(table: str, tag_keys: tuple[str, ...], fields: Fields) -> bytes:
    """Short ones are remembered. Raises InvalidRequest for what no shape can be."""
    name = table, tag_keys, fields
    shape = _encoded.get(name)
    if shape is None:
        shape = _encode(*name)
        if len(shape) <= _ENCODED_BYTES_MAX:
            if len(_encoded) >= _ENCODED_MAX:
                _encoded.clear()
            _encoded[name] = shape
    return shape


def _encode(table: str, tag_keys: tuple[str, ...], fields: Fields) -> bytes:
    columns = dict([*((key, ColumnType.TAG) for key in tag_keys), *fields])
    if len(columns) != len(tag_keys) + len(fields) or len(columns) > COLUMNS_MAX or TIME in columns:
        raise InvalidRequest(f"table {table!r}: {len(tag_keys)} tags and {len(fields)} fields are no set of columns")
    if sorted(tag_keys) != list(tag_keys) or sorted(name for name, _ in fields) != [name for name, _ in fields]:
        raise InvalidRequest(f"table {table!r}: columns are not sorted by name")
    tags = [_named(key) for key in tag_keys]
    typed = [bytes([_CODES[column]]) + _named(name) for name, column in fields]
    return b"".join((_named(table), _COUNTS.pack(len(tags), len(typed)), *tags, *typed))


def _named(name: str) -> bytes:
    encoded = name.encode()
    if len(encoded) > 0xFFFF:
        raise InvalidRequest(f"name of {len(encoded)} bytes: at most 65535")
    return _U16.pack(len(encoded)) + encoded


def parse_shape(data: bytes) -> Shape:
    """Raises DataCorrupt with what does not fit."""
    try:
        return _parse(data)
    except (struct.error, UnicodeDecodeError) as error:
        raise DataCorrupt(f"entry header: shape of {len(data)} bytes: {error}") from None


def _parse(data: bytes) -> Shape:
    table, at = _name(data, 0)
    tag_count, field_count = _COUNTS.unpack_from(data, at)
    at += _COUNTS.size
    if tag_count + field_count > COLUMNS_MAX:
        raise DataCorrupt(f"table {table!r} has {tag_count + field_count} columns, at most {COLUMNS_MAX} are allowed")
    tag_keys, fields = [], []
    for _ in range(tag_count):
        name, at = _name(data, at)
        tag_keys.append(name)
    for _ in range(field_count):
        column = _TYPES.get(data[at]) if at < len(data) else None
        if column is None:
            raise DataCorrupt(f"table {table!r} has a field of an unknown type, or fewer fields than it says")
        name, at = _name(data, at + 1)
        fields.append((name, column))
    if at != len(data):
        raise DataCorrupt(f"table {table!r}: its shape has {len(data) - at} bytes too many")
    return _shape(table, tuple(tag_keys), tuple(fields))


def _name(data: bytes, at: int) -> tuple[str, int]:
    (length,) = _U16.unpack_from(data, at)
    end = at + 2 + length
    if end > len(data):
        raise DataCorrupt(f"entry header: a name of {length} bytes does not fit its shape")
    return data[at + 2 : end].decode(), end


def _shape(table: str, tag_keys: tuple[str, ...], fields: Fields) -> Shape:
    columns = {**dict.fromkeys(tag_keys, ColumnType.TAG), **dict(fields)}
    if len(columns) != len(tag_keys) + len(fields) or TIME in columns:
        raise DataCorrupt(f"table {table!r} has two columns of one name")
    if list(tag_keys) != sorted(tag_keys) or list(fields) != sorted(fields, key=lambda field: field[0]):
        raise DataCorrupt(f"table {table!r}: its columns are not sorted by name")
    kinds = [column for _, column in fields]
    return Shape(
        table,
        tag_keys,
        fields,
        columns,
        schema.fingerprint(columns),
        np.flatnonzero([column is ColumnType.STRING for column in kinds]),
        np.flatnonzero([column is ColumnType.BOOLEAN for column in kinds]),
        np.flatnonzero([column is not ColumnType.STRING for column in kinds]),
        tuple([field for field in fields if field[1] is not ColumnType.STRING]),
        row_bytes=8 + 8 * len(fields),
        presence_bytes=(len(fields) + 7) // 8,
        decoded_row_bytes=8 + 8 * len(fields) + 4 * len(tag_keys),
    )


class Shapes:
    """Shapes by their bytes; forgotten all at once when they take more than CACHE_BYTES_MAX. For any thread."""

    def __init__(self) -> None:
        self._found: dict[bytes, Shape] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, data: bytes) -> Shape:
        """Raises DataCorrupt with what does not fit."""
        return self._found.get(data) or self._parsed(data)

    def find_all(self, each: Sequence[bytes]) -> list[Shape | None]:
        """None for what is no shape."""
        found: list[Shape | None] = [*map(self._found.get, each)]
        if None in found:
            found = [shape or self._find(data) for shape, data in zip(found, each, strict=True)]
        return found

    def _find(self, data: bytes) -> Shape | None:
        try:
            return self.get(data)
        except DataCorrupt:
            return None

    def _parsed(self, data: bytes) -> Shape:
        shape = parse_shape(data)
        with self._lock:
            if data in self._found:
                return self._found[data]
            size = len(data) + COLUMN_BYTES * len(shape.columns)
            if self._bytes + size > CACHE_BYTES_MAX:
                self._found, self._bytes = {}, 0
            if size <= CACHE_BYTES_MAX:
                self._found[data] = shape
                self._bytes += size
        return shape
