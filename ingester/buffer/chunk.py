"""A chunk: rows of one partition that arrived together, with their offsets and arrival times. Immutable.

The rows of one record, or of several small ones that arrived close together, in order of offsets. Their tags are
numbers of series that all chunks of a piece share (piece.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.entry.series import Codes
from common.entry.series_rows import SeriesRows
from common.values.ids import Offset
from common.values.schema import ColumnType, times_ns
from ingester.buffer.origins import Origins, records_left

OVERHEAD_BYTES = 2_000
COLUMN_OVERHEAD_BYTES = 350
"""What a chunk costs besides its buffers, measured: objects of Python and Arrow, and what the stream of a record holds
beside them. Keeps many tiny chunks from looking free."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """batch: `time` and fields; rows by offset, then as the record had them. series: int32[rows].

    columns: types by name, of tags and fields. record_offsets, record_rows: int64, each record's offset and its first
    row here.
    Arrivals: append times by the log's clock, of the first and the last record.
    """

    batch: pa.RecordBatch
    series: Codes
    columns: dict[str, ColumnType]
    record_offsets: npt.NDArray[np.int64]
    record_rows: npt.NDArray[np.int64]
    first_arrival_ns: int
    last_arrival_ns: int
    time_ns_min: int
    time_ns_max: int
    bytes: int

    @property
    def rows(self) -> int:
        count: int = self.batch.num_rows
        return count

    @property
    def data_bytes(self) -> int:
        """Of the buffers alone."""
        return self.bytes - _overhead_bytes(self.batch)

    @property
    def first_offset(self) -> Offset:
        return Offset(int(self.record_offsets[0]))

    @property
    def last_offset(self) -> Offset:
        return Offset(int(self.record_offsets[-1]))


def chunk_of(rows: SeriesRows, series: Codes, columns: dict[str, ColumnType], origins: Origins) -> Chunk:
    """The rows that one or several records brought to a partition. series: their numbers in its piece."""
    times = times_ns(rows.batch)
    return Chunk(
        batch=rows.batch,
        series=series,
        columns=columns,
        record_offsets=origins.offsets,
        record_rows=origins.first_rows,
        first_arrival_ns=int(origins.arrivals_ns[0]),
        last_arrival_ns=int(origins.arrivals_ns[-1]),
        time_ns_min=int(times.min()),
        time_ns_max=int(times.max()),
        bytes=rows.bytes + _overhead_bytes(rows.batch),
    )


def merged(chunks: Sequence[Chunk]) -> Chunk:
    """One chunk of several that follow each other, under 2 GiB in all. Columns that one lacks are null there."""
    tables = [pa.Table.from_batches([chunk.batch]) for chunk in chunks]
    table = pa.concat_tables(tables, promote_options="default").combine_chunks()
    (batch,) = table.to_batches()
    starts = np.cumsum([0, *(chunk.rows for chunk in chunks[:-1])])
    columns: dict[str, ColumnType] = {}
    for chunk in chunks:
        columns.update(chunk.columns)
    series = np.concatenate([chunk.series for chunk in chunks])
    return Chunk(
        batch=batch,
        series=series,
        columns=columns,
        record_offsets=np.concatenate([chunk.record_offsets for chunk in chunks]),
        record_rows=np.concatenate([chunk.record_rows + start for chunk, start in zip(chunks, starts, strict=True)]),
        first_arrival_ns=chunks[0].first_arrival_ns,
        last_arrival_ns=chunks[-1].last_arrival_ns,
        time_ns_min=min(chunk.time_ns_min for chunk in chunks),
        time_ns_max=max(chunk.time_ns_max for chunk in chunks),
        bytes=batch.nbytes + series.nbytes + _overhead_bytes(batch),
    )


def split(chunk: Chunk, until_ns: int) -> tuple[Chunk | None, Chunk | None]:
    """The rows with time <= until_ns, and the others; None where there are none. Order and offsets are kept.

    Both parts keep the arrivals of the whole chunk: which of its records came when is not known.
    """
    if chunk.time_ns_max <= until_ns:
        return chunk, None
    if chunk.time_ns_min > until_ns:
        return None, chunk
    early = times_ns(chunk.batch) <= until_ns
    return _only(chunk, early), _only(chunk, ~early)


def _only(chunk: Chunk, wanted: npt.NDArray[np.bool_]) -> Chunk:
    """The rows where `wanted` is true, at least one; records without any are left out."""
    batch = chunk.batch.filter(pa.array(wanted))
    left, first_rows = records_left(chunk.record_rows, wanted)
    times = times_ns(batch)
    series = chunk.series[wanted]
    return Chunk(
        batch=batch,
        series=series,
        columns=chunk.columns,
        record_offsets=chunk.record_offsets[left],
        record_rows=first_rows,
        first_arrival_ns=chunk.first_arrival_ns,
        last_arrival_ns=chunk.last_arrival_ns,
        time_ns_min=int(times.min()),
        time_ns_max=int(times.max()),
        bytes=batch.nbytes + series.nbytes + _overhead_bytes(batch),
    )


def _overhead_bytes(batch: pa.RecordBatch) -> int:
    columns: int = batch.num_columns
    return OVERHEAD_BYTES + COLUMN_OVERHEAD_BYTES * columns
