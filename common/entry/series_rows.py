"""Rows of one table whose tags are the numbers of their series: what packed rows become, and rows of Arrow streams."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.entry.series import NO_TAG, Codes, Series, distinct
from common.values.schema import ARROW_TYPES, TIME, Columns, ColumnType, arrow_schema

_TAG = ARROW_TYPES[ColumnType.TAG]


@dataclass(frozen=True, slots=True, eq=False)
class SeriesRows:
    """batch: `time` and fields. numbers: int32[rows], of `series`. bytes: of the buffers of batch and numbers."""

    batch: pa.RecordBatch
    numbers: Codes
    series: Series
    bytes: int

    @classmethod
    def of(cls, batch: pa.RecordBatch, numbers: Codes, series: Series) -> "SeriesRows":
        """bytes: as the batch itself counts them, which takes some microseconds for each column."""
        return cls(batch, numbers, series, batch.nbytes + numbers.nbytes)

    @property
    def count(self) -> int:
        rows: int = self.batch.num_rows
        return rows

    def take(self, rows: npt.NDArray[np.intp]) -> "SeriesRows":
        """Those at these positions, in memory of their own."""
        return SeriesRows.of(self.batch.take(pa.array(rows)), self.numbers[rows], self.series)

    def slice(self, start: int, end: int) -> "SeriesRows":
        """Rows start..end - 1, in the same memory."""
        if end - start == self.count:
            return self
        return SeriesRows.of(self.batch.slice(start, end - start), self.numbers[start:end], self.series)

    def only_fields(self, columns: Columns) -> "SeriesRows":
        """Without the fields that are not among `columns`."""
        names = [name for name in self.batch.schema.names if name == TIME or name in columns]
        return SeriesRows.of(self.batch.select(names), self.numbers, self.series)

    def with_tags(self, columns: Columns) -> pa.RecordBatch:
        """In penstock's schema of these columns. A dictionary may have values that no row has."""
        schema = arrow_schema(columns)
        places = {key: at for at, key in enumerate(self.series.tag_keys)}
        arrays = [
            self.series.column(places[name], self.numbers)
            if columns.get(name) is ColumnType.TAG
            else self.batch.column(name)
            for name in schema.names
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def series_rows(batch: pa.RecordBatch) -> SeriesRows:
    """The rows of a batch in penstock's schema: their series are found by the codes of all tags together.

    Values that no row has are left out.
    """
    is_tag = [field.type == _TAG for field in batch.schema]
    tags = [array for array, here in zip(batch.columns, is_tag, strict=True) if here]
    names = batch.schema.names
    tag_keys = tuple(name for name, here in zip(names, is_tag, strict=True) if here)
    rest = batch.select([name for name, here in zip(names, is_tag, strict=True) if not here])
    codes = np.array([_codes(tag) for tag in tags], np.int32).reshape(len(tags), batch.num_rows)
    firsts, numbers = _distinct_columns(codes, [len(tag.dictionary) for tag in tags])
    of_series = codes[:, firsts]
    texts = [_used_texts(tag.dictionary, here) for tag, here in zip(tags, of_series, strict=True)]
    return SeriesRows.of(rest, numbers, Series(tag_keys, np.ascontiguousarray(of_series.T), texts))


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
