"""Packed rows from plain rows: what a router's parser makes from numpy arrays, made the slow way."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.entry import PackedRows, encode_packed, tag_values
from common.values.schema import ColumnType
from tests.support.records import Row, columns

_PACKS = {
    ColumnType.FLOAT: "<d",
    ColumnType.INTEGER: "<q",
    ColumnType.UNSIGNED: "<Q",
    ColumnType.BOOLEAN: "<Q",
}


def packed_rows(table: str, rows: Sequence[Row], *, one_series_each: bool = False) -> PackedRows:
    """one_series_each: row i has series i, though others may have the same tags."""
    found = columns(rows)
    tag_keys = tuple(sorted(name for name, column in found.items() if column is ColumnType.TAG))
    fields = tuple(sorted((item for item in found.items() if item[1] is not ColumnType.TAG), key=lambda item: item[0]))
    all_series = [tag_values([row.tags.get(key) for key in tag_keys]) for row in rows]
    series = all_series if one_series_each else list(dict.fromkeys(all_series))
    present = np.array([[name in row.fields for name, _ in fields] for row in rows], np.bool_)
    cells = [[_cell(row.fields.get(name), column) for name, column in fields] for row in rows]
    return PackedRows(
        table,
        tag_keys,
        fields,
        np.array([row.time_ns for row in rows], np.int64),
        np.array(cells, np.uint64).reshape(len(rows), len(fields)),
        None if present.all() else present.reshape(len(rows), len(fields)),
        b"".join(_text(row.fields.get(name)) for row in rows for name, _ in fields),
        series,
        None if one_series_each else np.array([series.index(each) for each in all_series], np.uint32),
    )


def packed_payload(namespace: str, tables: Mapping[str, Sequence[Row]], *, one_series_each: bool = False) -> bytes:
    """An entry of version 2."""
    packed = [packed_rows(table, rows, one_series_each=one_series_each) for table, rows in tables.items()]
    return encode_packed(namespace, packed)


def _text(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else b""


def _cell(value: Any, column: ColumnType) -> int:
    if value is None:
        return 0
    if column is ColumnType.STRING:
        return len(value.encode())
    (cell,) = struct.unpack("<Q", struct.pack(_PACKS[column], value))
    found: int = cell
    return found
