"""The rows of a partition that are in no persist job yet: chunks that merge as they come, and their series.

Small chunks that arrive close together form a group. Within the open group (the last one) each MERGE_COUNT new chunks
become one, together with the older ones that are not large against what follows them, so that a row is copied
O(log rows) times and O(log rows) chunks are left, in any order of large and small records. A group is closed,
and becomes one chunk, when the next record is too late or too large for it.
"""

from dataclasses import replace

from common.entry.series_rows import SeriesRows
from common.values.ids import Offset
from common.values.schema import Columns
from ingester.buffer.chunk import Chunk, chunk_of, merged, split
from ingester.buffer.origins import Origins
from ingester.buffer.piece import Piece, least_offset
from ingester.buffer.series import PieceSeries

MERGE_COUNT = 16
"""So many new chunks are merged at once: merging at each record would cost more than the record itself."""

MERGE_RATIO = 3
"""An older chunk is merged with those after it once they have this many times its rows. Higher: fewer copies of a
row (about log of rows to the base of 1 + ratio), and more chunks (at most log to the base of 1 + 1 / ratio)."""

MERGE_ROWS_MAX = 131_072
"""The most rows of a merged chunk; one with more than the MERGE_COUNT-th part of it is never copied into another."""

MERGE_BYTES_MAX = 256 * 1024 * 1024
"""The same in bytes of buffers, for rows of long strings: Arrow's strings end at 2 GiB an array."""

MERGE_ARRIVAL_NS_MAX = 30 * 1_000_000_000
"""Chunks further apart stay apart, or a stream that never pauses would never settle. Also never above the window."""


class Waiting:
    """Mutable; chunks by offset. bytes: of the chunks and the series."""

    def __init__(self, merge_arrival_ns_max: int = MERGE_ARRIVAL_NS_MAX) -> None:
        self.chunks: list[Chunk] = []
        self.rows = 0
        self._chunk_bytes = 0
        self._series = PieceSeries()
        self._merge_arrival_ns_max = merge_arrival_ns_max
        self._group_start = 0
        self._group_rows = 0
        self._group_bytes = 0
        self._new_chunks = 0

    @property
    def bytes(self) -> int:
        return self._chunk_bytes + self._series.held_bytes

    @property
    def first_offset(self) -> Offset:
        return least_offset(self.chunks)

    def piece(self) -> Piece:
        return Piece(tuple(self.chunks), self._series)

    def add(self, rows: SeriesRows, columns: Columns, origins: Origins) -> None:
        """Add rows of one or several records; those that arrived too far apart for a chunk get one each."""
        series = self._series.encode(rows.numbers, rows.series)
        for first, end, part in origins.spans(rows.count, self._merge_arrival_ns_max):
            here = rows if end - first == rows.count else rows.slice(first, end)
            self._append(chunk_of(here, series[first:end], columns, part))

    def split(self, until_ns: int) -> tuple[Piece, "Waiting"]:
        """The rows with time <= until_ns with the series of all, and the others with their own."""
        parts = [split(chunk, until_ns) for chunk in self.chunks]
        later = Waiting(self._merge_arrival_ns_max)
        series = self._series.series()
        for _, rest in parts:
            if rest is not None:
                later._append(replace(rest, series=later._series.encode(rest.series, series)))
        return Piece(tuple(early for early, _ in parts if early is not None), self._series), later

    def _append(self, chunk: Chunk) -> None:
        is_large = MERGE_COUNT * chunk.rows > MERGE_ROWS_MAX or MERGE_COUNT * chunk.data_bytes > MERGE_BYTES_MAX
        if is_large or not self._fits_group(chunk):
            self._close_group()
        self.chunks.append(chunk)
        self.rows += chunk.rows
        self._chunk_bytes += chunk.bytes
        self._group_rows += chunk.rows
        self._group_bytes += chunk.data_bytes
        self._new_chunks += 1
        if is_large:
            self._begin_group()
        elif self._new_chunks == MERGE_COUNT:
            self._merge_new()

    def _fits_group(self, chunk: Chunk) -> bool:
        if self._group_start == len(self.chunks):
            return True
        span_ns = chunk.last_arrival_ns - self.chunks[self._group_start].first_arrival_ns
        is_within_rows = self._group_rows + chunk.rows <= MERGE_ROWS_MAX
        is_within_bytes = self._group_bytes + chunk.data_bytes <= MERGE_BYTES_MAX
        return is_within_rows and is_within_bytes and span_ns <= self._merge_arrival_ns_max

    def _close_group(self) -> None:
        self._merge_from(self._group_start)
        self._begin_group()

    def _begin_group(self) -> None:
        self._group_start = len(self.chunks)
        self._group_rows = self._group_bytes = self._new_chunks = 0

    def _merge_new(self) -> None:
        """Merge the new chunks, and all from the oldest chunk on that is small against what follows it."""
        start = first_new = len(self.chunks) - self._new_chunks
        after = sum(chunk.rows for chunk in self.chunks[first_new:])
        for at in range(first_new - 1, self._group_start - 1, -1):
            if self.chunks[at].rows * MERGE_RATIO <= after:
                start = at
            after += self.chunks[at].rows
        self._merge_from(start)
        self._new_chunks = 0

    def _merge_from(self, start: int) -> None:
        tail = self.chunks[start:]
        if len(tail) > 1:
            self.chunks[start:] = [merged(tail)]
            self._chunk_bytes += self.chunks[start].bytes - sum(chunk.bytes for chunk in tail)
