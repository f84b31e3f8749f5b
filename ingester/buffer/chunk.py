"""A chunk: rows of one partition that arrived together, with their offsets and arrival times. Immutable.

The rows of one record, or of several small ones that arrived close together, in order of offsets. Their tags are
numbers of series that all chunks of a piece share (piece.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.entry import cells
from common.entry.cells import Cells
from common.entry.series import Codes
from common.entry.series_rows import SeriesRows, Times
from common.values.ids import Offset
from common.values.schema import Columns, ColumnType
from ingester.buffer.origins import Origins, records_left

OVERHEAD_BYTES = 2_000
"""What a chunk costs besides its arrays, measured: objects of Python and numpy. Keeps many tiny chunks from looking
free."""

COLUMN_OVERHEAD_BYTES = 250
"""The same of each column: its name and type, in what says which columns there are."""

TEXTS_OVERHEAD_BYTES = 350
"""The same of each string field, which is an array of Arrow."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """times, cells, series: of the rows by offset, then as the record had them. times: int64, ns. series: int32.

    columns: types by name, of tags and fields. record_offsets, record_rows: int64, each record's offset and its first
    row here. Arrivals: append times by the log's clock, of the first and the last record.
    """

    times: Times
    cells: Cells
    series: Codes
    columns: Columns
    record_offsets: npt.NDArray[np.int64]
    record_rows: npt.NDArray[np.int64]
    first_arrival_ns: int
    last_arrival_ns: int
    time_ns_min: int
    time_ns_max: int
    data_bytes: int

    @property
    def rows(self) -> int:
        return len(self.times)

    @property
    def bytes(self) -> int:
        """Of the arrays, data_bytes, and of what holds them."""
        columns, texts = len(self.columns), len(self.cells.texts)
        return self.data_bytes + OVERHEAD_BYTES + COLUMN_OVERHEAD_BYTES * columns + TEXTS_OVERHEAD_BYTES * texts

    @property
    def first_offset(self) -> Offset:
        return Offset(int(self.record_offsets[0]))

    @property
    def last_offset(self) -> Offset:
        return Offset(int(self.record_offsets[-1]))


def chunk_of(rows: SeriesRows, series: Codes, columns: Columns, origins: Origins) -> Chunk:
    """The rows that one or several records brought to a partition. series: their numbers in its piece."""
    times = rows.times
    return Chunk(
        times=times,
        cells=rows.cells,
        series=series,
        columns=columns,
        record_offsets=origins.offsets,
        record_rows=origins.first_rows,
        first_arrival_ns=int(origins.arrivals_ns[0]),
        last_arrival_ns=int(origins.arrivals_ns[-1]),
        time_ns_min=int(times.min()),
        time_ns_max=int(times.max()),
        data_bytes=_data_bytes(times, rows.cells, origins.offsets),
    )


def merged(chunks: Sequence[Chunk]) -> Chunk:
    """One chunk of several that follow each other, under 2 GiB in all. Columns that one lacks are absent there."""
    times = np.concatenate([chunk.times for chunk in chunks])
    all_cells = cells.joined([chunk.cells for chunk in chunks])
    record_offsets = np.concatenate([chunk.record_offsets for chunk in chunks])
    starts = np.cumsum([0, *(chunk.rows for chunk in chunks[:-1])])
    return Chunk(
        times=times,
        cells=all_cells,
        series=np.concatenate([chunk.series for chunk in chunks]),
        columns=_columns(chunks),
        record_offsets=record_offsets,
        record_rows=np.concatenate([chunk.record_rows + start for chunk, start in zip(chunks, starts, strict=True)]),
        first_arrival_ns=chunks[0].first_arrival_ns,
        last_arrival_ns=chunks[-1].last_arrival_ns,
        time_ns_min=min(chunk.time_ns_min for chunk in chunks),
        time_ns_max=max(chunk.time_ns_max for chunk in chunks),
        data_bytes=_data_bytes(times, all_cells, record_offsets),
    )


def _columns(chunks: Sequence[Chunk]) -> Columns:
    first = chunks[0].columns
    if all(chunk.columns is first for chunk in chunks):
        return first
    columns: dict[str, ColumnType] = {}
    for chunk in chunks:
        columns.update(chunk.columns)
    return columns


def split(chunk: Chunk, until_ns: int) -> tuple[Chunk | None, Chunk | None]:
    """The rows with time <= until_ns, and the others; None where there are none. Order and offsets are kept.

    Both parts keep the arrivals of the whole chunk: which of its records came when is not known.
    """
    if chunk.time_ns_max <= until_ns:
        return chunk, None
    if chunk.time_ns_min > until_ns:
        return None, chunk
    early = chunk.times <= until_ns
    return _only(chunk, early), _only(chunk, ~early)


def _only(chunk: Chunk, wanted: npt.NDArray[np.bool_]) -> Chunk:
    """The rows where `wanted` is true, at least one; records without any are left out."""
    left, first_rows = records_left(chunk.record_rows, wanted)
    times, kept, offsets = chunk.times[wanted], chunk.cells.take(np.flatnonzero(wanted)), chunk.record_offsets[left]
    return Chunk(
        times=times,
        cells=kept,
        series=chunk.series[wanted],
        columns=chunk.columns,
        record_offsets=offsets,
        record_rows=first_rows,
        first_arrival_ns=chunk.first_arrival_ns,
        last_arrival_ns=chunk.last_arrival_ns,
        time_ns_min=int(times.min()),
        time_ns_max=int(times.max()),
        data_bytes=_data_bytes(times, kept, offsets),
    )


def _data_bytes(times: Times, here: Cells, offsets: npt.NDArray[np.int64]) -> int:
    """Of a time and a series for each row, the fields, and an offset and a first row for each record."""
    return (8 + 4) * len(times) + here.bytes + (8 + 8) * len(offsets)
