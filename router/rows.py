"""Accepted lines of one sequencer, gathered by table and turned into record batches in penstock's column order."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from common.schema import ARROW_TYPES, TIME_TYPE, ColumnType, arrow_schema
from router.lineprotocol.point import Fields
from router.series_cache import PlacedSeries

CELLS_MAX = 4 * 1024 * 1024
TEXT_BYTES_MAX = 4 * 1024 * 1024
TABLES_MAX = 4096
"""Above any of these the rows are encoded before more are gathered: sparse rows of a thousand columns would otherwise
take gigabytes. An ordinary body under a megabyte stays far below."""

_arrow_schema = lru_cache(maxsize=1024)(lambda items: arrow_schema(dict(items)))


class SequencerRows:
    """Rows of one sequencer in order of arrival, by table."""

    def __init__(self) -> None:
        self._tables: dict[str, TableRows] = {}
        self._cells = 0
        self._text_bytes = 0

    def add(self, series: PlacedSeries, fields: Fields, time_ns: int, text_bytes: int) -> None:
        rows = self._tables.get(series.table)
        if rows is None:
            rows = self._tables[series.table] = TableRows()
        self._cells -= rows.cells
        rows.add(series, fields, time_ns)
        self._cells += rows.cells
        self._text_bytes += text_bytes

    @property
    def is_full(self) -> bool:
        return self._cells > CELLS_MAX or self._text_bytes > TEXT_BYTES_MAX or len(self._tables) >= TABLES_MAX

    def batches(self) -> Mapping[str, pa.RecordBatch]:
        """One batch for each table, at least one row each."""
        return {table: rows.to_batch() for table, rows in self._tables.items()}


class TableRows:
    """Rows of one table: times and series by row, field values by column, None where a row lacks the field."""

    def __init__(self) -> None:
        self._times_ns: list[int] = []
        self._series: dict[PlacedSeries, int] = {}
        self._series_of_row: list[int] = []
        self._types: dict[str, ColumnType] = {}
        self._values: dict[str, list[Any]] = {}

    @property
    def cells(self) -> int:
        return len(self._times_ns) * (len(self._values) + 2)

    def add(self, series: PlacedSeries, fields: Fields, time_ns: int) -> None:
        row = len(self._times_ns)
        self._times_ns.append(time_ns)
        self._series_of_row.append(self._series.setdefault(series, len(self._series)))
        for name, (column, value) in fields.items():
            values = self._values.get(name)
            if values is None:
                self._types[name] = column
                values = self._values[name] = []
            if len(values) < row:
                values.extend([None] * (row - len(values)))
            values.append(value)

    def to_batch(self) -> pa.RecordBatch:
        """The rows with the columns that occur in them: time, tags by name, fields by name."""
        tags = self._tag_columns()
        columns = dict.fromkeys(tags, ColumnType.TAG) | self._types
        schema = _arrow_schema(tuple(sorted(columns.items(), key=lambda item: item[0])))
        arrays = [pa.array(self._times_ns, pa.int64()).view(TIME_TYPE)]
        arrays += [tags[name] if name in tags else self._field_column(name) for name in schema.names[1:]]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _field_column(self, name: str) -> pa.Array:
        values = self._values[name]
        values.extend([None] * (len(self._times_ns) - len(values)))
        return pa.array(values, ARROW_TYPES[self._types[name]])

    def _tag_columns(self) -> dict[str, pa.Array]:
        """Dictionary columns by tag key; each series is looked at once, the rows take its codes."""
        tables: dict[str, dict[str, int]] = {}
        codes: dict[str, np.ndarray] = {}
        for number, series in enumerate(self._series):
            for key, value in series.tags:
                if key not in tables:
                    tables[key] = {}
                    codes[key] = np.full(len(self._series), -1, np.int32)
                table = tables[key]
                codes[key][number] = table.setdefault(value, len(table))
        if not tables:
            return {}
        rows = np.array(self._series_of_row, np.int32)
        return {key: _dictionary(codes[key][rows], tables[key]) for key in tables}


def _dictionary(codes: np.ndarray, values: Mapping[str, int]) -> pa.DictionaryArray:
    """codes: int32 by row, -1 where the tag is absent. values: text to code, codes dense from 0 in order."""
    indices = pa.array(codes, mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(values), pa.utf8()))
