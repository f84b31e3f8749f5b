"""What a query or a persist job sees of a partition: pieces, each of chunks that share their series."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from common.catalog.partition_key import PartitionKey
from common.entry.series_rows import arrow_batch
from common.values.ids import Offset
from common.values.schema import ColumnType
from ingester.buffer.chunk import Chunk
from ingester.buffer.series import PieceSeries


@dataclass(frozen=True, slots=True)
class Piece:
    """Chunks by offset, and the series that their numbers belong to, which may get more. Else immutable.

    The rows of one persist job are a piece, and so are the rows that are in no job yet. Each has series of its own, so
    that memory for tag values that no longer come is freed with the job.
    """

    chunks: tuple[Chunk, ...]
    series: PieceSeries

    @property
    def rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks)

    @property
    def bytes(self) -> int:
        """Of the chunks and, once, of the series."""
        return sum(chunk.bytes for chunk in self.chunks) + self.series.held_bytes

    @property
    def first_offset(self) -> Offset:
        return least_offset(self.chunks)


@dataclass(frozen=True, slots=True)
class PartitionView:
    """Rows of one partition: immutable. Rows of one key (tags and time) come by offset, the newest last."""

    key: PartitionKey
    pieces: tuple[Piece, ...]

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return tuple(chunk for piece in self.pieces for chunk in piece.chunks)

    @property
    def rows(self) -> int:
        return sum(piece.rows for piece in self.pieces)

    @property
    def columns(self) -> dict[str, ColumnType]:
        found: dict[str, ColumnType] = {}
        for chunk in self.chunks:
            found.update(chunk.columns)
        return found

    @property
    def first_offset(self) -> Offset:
        return least_offset(self.chunks)

    def tag_values(self, tag: str) -> int:
        """How many values `tag` has here; a value that occurs in several pieces counts in each."""
        return sum(len(piece.series.tags[tag]) for piece in self.pieces if tag in piece.series.tags)


def least_offset(chunks: Iterable[Chunk]) -> Offset:
    """After a split by time, chunks are no longer in the order of their first offsets."""
    return min(chunk.first_offset for chunk in chunks)


def with_values(chunk: Chunk, series: PieceSeries) -> pa.RecordBatch:
    """The rows in penstock's schema. Numbers are not copied."""
    tags = [name for name, column in chunk.columns.items() if column is ColumnType.TAG]
    return arrow_batch(chunk.columns, chunk.times, {tag: series.column(tag, chunk.series) for tag in tags}, chunk.cells)
