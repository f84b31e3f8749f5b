"""Packed rows encoded as entries that each fit a record, split by rows into entries that can each be read alone."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from common.entry import EntryTooLarge, PackedRows, encode_packed
from common.values.schema import ColumnType
from router.parsing.messages import PAYLOAD_BYTES_MAX


def encode_entries(namespace: str, tables: Sequence[PackedRows]) -> list[bytes]:
    """Payloads of at most PAYLOAD_BYTES_MAX bytes that hold all rows, those of one table in their order."""
    with suppress(EntryTooLarge):
        payload = encode_packed(namespace, tables)
        if len(payload) <= PAYLOAD_BYTES_MAX:
            return [payload]
    rows = sum(len(table.times_ns) for table in tables)
    assert rows > 1, "a line's size and columns are bounded so that its row fits a record"
    first, second = _cut(tables, rows // 2)
    return encode_entries(namespace, first) + encode_entries(namespace, second)


def _cut(tables: Sequence[PackedRows], rows: int) -> tuple[list[PackedRows], list[PackedRows]]:
    """The first `rows` rows, table after table, and the rest."""
    first: list[PackedRows] = []
    second: list[PackedRows] = []
    for table in tables:
        count = len(table.times_ns)
        here = min(rows, count)
        rows -= here
        if here:
            first.append(part(table, 0, here))
        if here < count:
            second.append(part(table, here, count))
    return first, second


def part(table: PackedRows, start: int, end: int) -> PackedRows:
    """Rows start..end - 1, at least one, with the series and columns that these use."""
    if (start, end) == (0, len(table.times_ns)):
        return table
    texts = [place for place, (_, column) in enumerate(table.fields) if column is ColumnType.STRING]
    bounds = np.concatenate(([0], np.cumsum(table.values[:, texts].sum(axis=1, dtype=np.int64))))
    series, series_of_row = _part_of_series(table, start, end)
    cut = replace(
        table,
        times_ns=table.times_ns[start:end],
        values=table.values[start:end],
        present=None if table.present is None else table.present[start:end],
        strings=table.strings[bounds[start] : bounds[end]],
        series=series,
        series_of_row=series_of_row,
    )
    return without_absent(cut)


def _part_of_series(table: PackedRows, start: int, end: int) -> tuple[Sequence[bytes], "np.ndarray | None"]:
    if table.series_of_row is None:
        return table.series[start:end], None
    used, codes = np.unique(table.series_of_row[start:end], return_inverse=True)
    return [table.series[number] for number in used.tolist()], codes.astype(np.uint32)


def without_absent(table: PackedRows) -> PackedRows:
    """Without the columns that no row has, and without `present` where nothing else is absent."""
    present = table.present
    if present is None or present.all():
        return replace(table, present=None) if present is not None else table
    used = np.flatnonzero(present.any(axis=0))
    if len(used) == len(table.fields):
        return table
    kept = np.ascontiguousarray(present[:, used])
    return replace(
        table,
        fields=tuple(table.fields[column] for column in used.tolist()),
        values=np.ascontiguousarray(table.values[:, used]),
        present=None if kept.all() else kept,
    )
