"""Writing version 2 of an entry: packed rows, as packed_header.py says."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.entry import envelope
from common.entry.envelope import ALIGNMENT, PACKED_ROWS
from common.entry.packed_header import DECODED_BYTES_MAX, HAS_PRESENCE, HAS_SERIES_OF_ROW, TABLE
from common.entry.shape import Fields, encode_shape
from common.entry.values import EntryTooLarge
from common.values.errors import InvalidRequest

COMPRESS_BYTES_MIN = 4096
"""Below it zstd saves less than it costs a reader: 8 of some 15 µs for a record of 2 KB."""

_LISTED_ROWS_MAX = 64
"""numpy's least and greatest of a few rows cost more than to make a list of them."""

_U16 = struct.Struct("<H")
_NO_TAG = _U16.pack(0)


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Rows of one table, row by row: R rows, F fields, S series.

    tag_keys: sorted by UTF-8 bytes. fields: by name, no TAG among them. times_ns: int64[R].
    values: uint64[R, F], C-contiguous: the bits of a float64 or int64, a uint64, 0 or 1 of a boolean, the bytes of a
    string's UTF-8; 0 where the row lacks the field. present: bool[R, F], or None where every row has every field.
    strings: UTF-8 of all of them, row by row, within a row by field.
    series: S times the values of a series' tags as `tag_values` packs them.
    series_of_row: uint32[R], or None where row i has series i.
    """

    table: str
    tag_keys: tuple[str, ...]
    fields: Fields
    times_ns: npt.NDArray[np.int64]
    values: npt.NDArray[np.uint64]
    present: npt.NDArray[np.bool_] | None
    strings: bytes
    series: Sequence[bytes]
    series_of_row: npt.NDArray[np.uint32] | None


def tag_values(values: Sequence[str | None]) -> bytes:
    """The values of a series' tags, in the order of its table's tag keys; None and empty: the series has no such tag.

    Raises InvalidRequest for a value of more than 65,535 bytes.
    """
    packed = bytearray()
    for value in values:
        text = value.encode() if value else b""
        if len(text) > 0xFFFF:
            raise InvalidRequest(f"tag value of {len(text)} bytes: at most 65535")
        packed += _U16.pack(len(text)) if text else _NO_TAG
        packed += text
    return bytes(packed)


def with_absent_tags(packed: bytes, absent: Sequence[int]) -> bytes:
    """Values that `tag_values` packed, for more tag keys: so many absent ones before each value, and after the last."""
    parts = []
    start = 0
    for count in absent[:-1]:
        end = start + 2 + int.from_bytes(packed[start : start + 2], "little")
        parts += [_NO_TAG * count, packed[start:end]]
        start = end
    return b"".join((*parts, _NO_TAG * absent[-1]))


def encode_packed(namespace: str, tables: Sequence[PackedRows]) -> bytes:
    """The payload bytes. For few rows: for a thousand rows of a table `encode` writes fewer bytes.

    Raises InvalidRequest for names over 65,535 bytes, unsorted or doubled columns or no rows, EntryTooLarge, also for
    more than 65,535 tables.
    """
    if len(tables) > 0xFFFF:
        raise EntryTooLarge(f"entry of {len(tables)} tables: at most 65535", tables=len(tables))
    headers: list[bytes] = []
    shapes: list[bytes] = []
    parts: list[bytes] = []
    decoded_bytes = 0
    for rows in tables:
        block = b"".join(_block(rows))
        shape = encode_shape(rows.table, rows.tag_keys, rows.fields)
        headers.append(_header(rows, len(shape)))
        shapes.append(shape)
        parts += (block, bytes(-len(block) % ALIGNMENT))
        decoded_bytes += len(rows.times_ns) * (8 + 8 * len(rows.fields) + 4 * len(rows.tag_keys))
    raw = b"".join(parts)
    decoded_bytes += len(raw)
    if decoded_bytes > DECODED_BYTES_MAX:
        raise EntryTooLarge(f"entry of {decoded_bytes} raw bytes is over {DECODED_BYTES_MAX}", raw_bytes=decoded_bytes)
    return envelope.seal(PACKED_ROWS, namespace, headers, raw, shapes, COMPRESS_BYTES_MIN)


def _header(rows: PackedRows, shape_length: int) -> bytes:
    least, greatest = _least_and_greatest(rows.times_ns)
    flags = (rows.present is not None) * HAS_PRESENCE | (rows.series_of_row is not None) * HAS_SERIES_OF_ROW
    return TABLE.pack(
        len(rows.times_ns),
        len(rows.series),
        sum(map(len, rows.series)),
        len(rows.strings),
        least,
        greatest,
        shape_length,
        flags,
    )


def _block(rows: PackedRows) -> list[bytes]:
    count = len(rows.times_ns)
    if count == 0:
        raise InvalidRequest(f"table {rows.table!r} has no rows")
    assert rows.values.shape == (count, len(rows.fields)), f"values of shape {rows.values.shape} for {count} rows"
    parts = [rows.times_ns.tobytes(), rows.values.tobytes()]
    if rows.series_of_row is not None:
        parts.append(rows.series_of_row.tobytes())
    if len(rows.series) > 1:
        parts.append(struct.pack(f"<{len(rows.series) - 1}I", *map(len, rows.series[:-1])))
    if rows.present is not None:
        parts.append(np.packbits(rows.present, axis=1, bitorder="little").tobytes())
    return [*parts, *rows.series, rows.strings]


def _least_and_greatest(times_ns: npt.NDArray[np.int64]) -> tuple[int, int]:
    if len(times_ns) > _LISTED_ROWS_MAX:
        return int(times_ns.min()), int(times_ns.max())
    times = times_ns.tolist()
    return min(times), max(times)
