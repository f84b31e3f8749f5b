"""A partition in memory: its chunks, and those that running persist jobs hold until they are committed."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from common.ids import Offset
from common.schema import TIME, Columns, ColumnType
from ingester.buffer.chunk import Chunk, chunk_of, merged
from ingester.buffer.dictionary import TagDictionary
from ingester.partition_key import PartitionKey

MERGE_COUNT = 16
"""So many neighbours of one size class become one chunk: a row is copied once a class, not once a record."""

MERGE_ROWS_MAX = 131_072
MERGE_ARRIVAL_NS_MAX = 30 * 1_000_000_000
"""Chunks further apart stay apart, or a stream that never pauses would never settle. Also never above the window."""


@dataclass(frozen=True, slots=True)
class PartitionView:
    """What a query or a persist job sees of a partition: immutable; rows by offset.

    dictionaries: for each tag, values that every code in the chunks finds its own in.
    """

    key: PartitionKey
    chunks: tuple[Chunk, ...]
    dictionaries: Mapping[str, TagDictionary]

    @property
    def rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks)

    @property
    def columns(self) -> dict[str, ColumnType]:
        found: dict[str, ColumnType] = {}
        for chunk in self.chunks:
            found.update(chunk.columns)
        return found


class Partition:
    """Mutable, owned by the core. Rows come in order of offsets."""

    def __init__(self, key: PartitionKey, merge_arrival_ns_max: int = MERGE_ARRIVAL_NS_MAX) -> None:
        self.key = key
        self.chunks: list[Chunk] = []
        self.in_jobs: dict[int, tuple[Chunk, ...]] = {}
        self.bytes = 0
        self.rows = 0
        self._dictionaries: dict[str, TagDictionary] = {}
        self._merge_arrival_ns_max = merge_arrival_ns_max

    def take(
        self, batch: pa.RecordBatch, columns: Columns, offset: Offset, arrival_ns: int, time_range_ns: tuple[int, int]
    ) -> int:
        """Take in the rows of one record; returns by how many bytes the partition grew (merging may make it less)."""
        before = self.bytes
        coded = self._coded(batch, columns)
        self.chunks.append(chunk_of(coded, dict(columns), offset, arrival_ns, time_range_ns))
        self.rows += coded.num_rows
        self._merge_tail()
        self._count_bytes()
        return self.bytes - before

    def cut(self, job: int) -> PartitionView:
        """Hand all chunks that are in no job yet to `job`."""
        self.in_jobs[job] = tuple(self.chunks)
        self.chunks = []
        return PartitionView(self.key, self.in_jobs[job], dict(self._dictionaries))

    def drop(self, job: int) -> int:
        """Forget the chunks of a committed job; returns the bytes freed."""
        before = self.bytes
        self.rows -= sum(chunk.rows for chunk in self.in_jobs.pop(job))
        self._count_bytes()
        return before - self.bytes

    def view(self) -> PartitionView:
        chunks = tuple(chunk for cut in self.in_jobs.values() for chunk in cut)
        return PartitionView(self.key, chunks + tuple(self.chunks), dict(self._dictionaries))

    def first_offset(self, without_jobs: frozenset[int] = frozenset()) -> Offset | None:
        """The least offset with rows here, those of `without_jobs` left out; None when there are none."""
        for job, cut in self.in_jobs.items():
            if job not in without_jobs:
                return cut[0].first_offset
        return self.chunks[0].first_offset if self.chunks else None

    @property
    def waiting_bytes(self) -> int:
        """What is freed once a job of all that is in none yet is committed: its chunks and the dictionaries."""
        return self.bytes - sum(chunk.bytes for cut in self.in_jobs.values() for chunk in cut)

    @property
    def is_empty(self) -> bool:
        return not self.chunks and not self.in_jobs

    def _coded(self, batch: pa.RecordBatch, columns: Columns) -> pa.RecordBatch:
        arrays = [batch.column(TIME)]
        names = [TIME]
        for name, column in columns.items():
            values = batch.column(name)
            if column is ColumnType.TAG:
                values = self._dictionaries.setdefault(name, TagDictionary()).encode(values)
            arrays.append(values)
            names.append(name)
        return pa.RecordBatch.from_arrays(arrays, names)

    def _merge_tail(self) -> None:
        while len(self.chunks) >= MERGE_COUNT:
            tail = self.chunks[-MERGE_COUNT:]
            span_ns = tail[-1].last_arrival_ns - tail[0].first_arrival_ns
            classes = {chunk.rows.bit_length() // 4 for chunk in tail}
            rows = sum(chunk.rows for chunk in tail)
            if len(classes) > 1 or rows > MERGE_ROWS_MAX or span_ns > self._merge_arrival_ns_max:
                return
            self.chunks[-MERGE_COUNT:] = [merged(tail)]

    def _count_bytes(self) -> None:
        held = sum(chunk.bytes for chunk in self.chunks)
        held += sum(chunk.bytes for cut in self.in_jobs.values() for chunk in cut)
        self.bytes = held + sum(tag.value_bytes for tag in self._dictionaries.values())
