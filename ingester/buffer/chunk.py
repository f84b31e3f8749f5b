"""A chunk: rows of one partition that arrived together, with their offsets and arrival times. Immutable.

The rows of one record, or of several small ones that arrived close together, in order of offsets. Tag columns hold
int32 codes of the partition's dictionaries instead of strings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.ids import Offset
from common.schema import ColumnType

OVERHEAD_BYTES = 1_000
"""What a chunk costs besides its buffers: objects of Python and Arrow. Keeps many tiny chunks from looking free."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """batch: `time` and columns, tags as codes; rows by offset, then as the record had them.

    columns: types by name. record_offsets, record_rows: int64, each record's offset and its first row here.
    Arrivals: append times by the log's clock, of the first and the last record.
    """

    batch: pa.RecordBatch
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
    def first_offset(self) -> Offset:
        return Offset(int(self.record_offsets[0]))

    @property
    def last_offset(self) -> Offset:
        return Offset(int(self.record_offsets[-1]))


def chunk_of(
    batch: pa.RecordBatch,
    columns: dict[str, ColumnType],
    offset: Offset,
    arrival_ns: int,
    time_range_ns: tuple[int, int],
) -> Chunk:
    """The rows that one record brought to a partition."""
    return Chunk(
        batch=batch,
        columns=columns,
        record_offsets=np.array([offset], np.int64),
        record_rows=np.zeros(1, np.int64),
        first_arrival_ns=arrival_ns,
        last_arrival_ns=arrival_ns,
        time_ns_min=time_range_ns[0],
        time_ns_max=time_range_ns[1],
        bytes=batch.nbytes + OVERHEAD_BYTES,
    )


def merged(chunks: Sequence[Chunk]) -> Chunk:
    """One chunk of several that follow each other. Columns that one lacks are null there."""
    tables = [pa.Table.from_batches([chunk.batch]) for chunk in chunks]
    table = pa.concat_tables(tables, promote_options="default").combine_chunks()
    batch = table.to_batches()[0]
    starts = np.cumsum([0, *(chunk.rows for chunk in chunks[:-1])])
    columns: dict[str, ColumnType] = {}
    for chunk in chunks:
        columns.update(chunk.columns)
    return Chunk(
        batch=batch,
        columns=columns,
        record_offsets=np.concatenate([chunk.record_offsets for chunk in chunks]),
        record_rows=np.concatenate([chunk.record_rows + start for chunk, start in zip(chunks, starts, strict=True)]),
        first_arrival_ns=chunks[0].first_arrival_ns,
        last_arrival_ns=chunks[-1].last_arrival_ns,
        time_ns_min=min(chunk.time_ns_min for chunk in chunks),
        time_ns_max=max(chunk.time_ns_max for chunk in chunks),
        bytes=batch.nbytes + OVERHEAD_BYTES,
    )
