"""Rows of one table whose tags are the numbers of their series: what packed rows become, and rows of Arrow streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.entry.cells import Cells, cells_of
from common.entry.series import NO_TAG, Codes, Series, distinct
from common.values.schema import ARROW_TYPES, TIME, TIME_TYPE, Columns, ColumnType, arrow_schema, times_ns

Times = npt.NDArray[np.int64]

_TAG = ARROW_TYPES[ColumnType.TAG]


@dataclass(frozen=True, slots=True, eq=False)
class SeriesRows:
    """times: int64[rows], ns. cells: the fields. numbers: int32[rows], of `series`. No array is ever changed."""

    times: Times
    cells: Cells
    numbers: Codes
    series: Series

    @property
    def count(self) -> int:
        return len(self.times)

    def take(self, rows: npt.NDArray[np.intp]) -> "SeriesRows":
        """Those at these positions, in memory of their own."""
        return SeriesRows(self.times[rows], self.cells.take(rows), self.numbers[rows], self.series)

    def slice(self, start: int, end: int) -> "SeriesRows":
        """Rows start..end - 1, in the same memory."""
        part = slice(start, end)
        return SeriesRows(self.times[part], self.cells.slice(start, end), self.numbers[part], self.series)

    def only_fields(self, columns: Columns) -> "SeriesRows":
        """Without the fields that are not among `columns`."""
        return SeriesRows(self.times, self.cells.only(columns), self.numbers, self.series)

    def with_tags(self, columns: Columns) -> pa.RecordBatch:
        """In penstock's schema of these columns. A dictionary may have values that no row has."""
        tags = {key: self.series.column(at, self.numbers) for at, key in enumerate(self.series.tag_keys)}
        return arrow_batch(columns, self.times, tags, self.cells)


def arrow_batch(columns: Columns, times: Times, tags: Mapping[str, pa.Array], cells: Cells) -> pa.RecordBatch:
    """Rows in penstock's schema of these columns."""
    schema = arrow_schema(columns)
    arrays = {TIME: pa.array(times).view(TIME_TYPE), **tags, **cells.arrays()}
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def series_rows(batch: pa.RecordBatch) -> SeriesRows:
    """The rows of a batch in penstock's schema, in memory of their own.

    Series are found by the codes of all tags together; values that no row has are left out.
    """
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    tags = {name: array for name, array in columns.items() if array.type == _TAG}
    fields = {name: array for name, array in columns.items() if name != TIME and name not in tags}
    codes = np.array([_codes(tag) for tag in tags.values()], np.int32).reshape(len(tags), batch.num_rows)
    firsts, numbers = _distinct_columns(codes, [len(tag.dictionary) for tag in tags.values()])
    of_series = codes[:, firsts]
    texts = [_used_texts(tag.dictionary, here) for tag, here in zip(tags.values(), of_series, strict=True)]
    series = Series(tuple(tags), np.ascontiguousarray(of_series.T), texts)
    return SeriesRows(times_ns(batch).copy(), cells_of(fields, batch.num_rows), numbers, series)


def _codes(tag: pa.DictionaryArray) -> Codes:
    indices = tag.indices
    if indices.null_count:
        indices = indices.fill_null(NO_TAG - 1)
    codes: Codes = indices.to_numpy() + np.int32(1)
    return codes


def _distinct_columns(codes: Codes, sizes: Sequence[int]) -> tuple[npt.NDArray[np.intp], Codes]:
    """Where each series comes first, and the number of each row's. codes: [tags, rows]; below 1 + size, by tag."""
    rows = codes.shape[1]
    if rows == 1 or not len(codes):
        return np.zeros(1, np.intp), np.zeros(rows, np.int32)
    combined, end = codes[0].astype(np.int64), 1 + sizes[0]
    for one, size in zip(codes[1:], sizes[1:], strict=True):
        if end * (1 + size) >= 2**63:
            combined, end = np.unique(combined, return_inverse=True)[1], rows
        combined = combined * (1 + size) + one
        end *= 1 + size
    _, firsts, numbers = np.unique(combined, return_index=True, return_inverse=True)
    return firsts, numbers.astype(np.int32)


def _used_texts(values: pa.StringArray, codes: Codes) -> list[str]:
    """The texts of the values that the codes name; the codes are changed to name these alone."""
    used = distinct(codes, 1 + len(values))
    if len(used) and used[0] == NO_TAG:
        used = used[1:]
    if len(used) < len(values):
        mapping = np.zeros(1 + len(values), np.int32)
        mapping[used] = np.arange(1, 1 + len(used))
        codes[:] = mapping[codes]
        values = values.take(pa.array(used - 1))
    texts: list[str] = values.to_pylist()
    return texts
