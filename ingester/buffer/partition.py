"""A partition in memory: rows that are in no job yet, and those that running persist jobs hold until committed."""

from common.catalog.manifest.frontier import TIME_END
from common.catalog.partition_key import PartitionKey
from common.entry.series_rows import SeriesRows
from common.values.ids import Offset
from common.values.schema import Columns
from ingester.buffer.chunk import Chunk
from ingester.buffer.origins import Origins
from ingester.buffer.piece import PartitionView, Piece
from ingester.buffer.waiting import MERGE_ARRIVAL_NS_MAX, Waiting


class Partition:
    """Mutable, owned by the core. Rows come in order of offsets.

    A cut has the series so far: rows that come later, and those that stay, begin new ones.
    """

    def __init__(self, key: PartitionKey, merge_arrival_ns_max: int = MERGE_ARRIVAL_NS_MAX) -> None:
        self.key = key
        self.in_jobs: dict[int, Piece] = {}
        self._job_bytes = 0
        self._job_rows = 0
        self._merge_arrival_ns_max = merge_arrival_ns_max
        self._waiting = Waiting(merge_arrival_ns_max)

    @property
    def chunks(self) -> list[Chunk]:
        """Those of the rows that are in no job yet, by offset."""
        return self._waiting.chunks

    @property
    def rows(self) -> int:
        return self._waiting.rows + self._job_rows

    @property
    def bytes(self) -> int:
        return self.waiting_bytes + self._job_bytes

    @property
    def waiting_bytes(self) -> int:
        """What is freed once a job of all rows that are in none yet is committed: chunks and series."""
        return self._waiting.bytes

    def add(self, rows: SeriesRows, columns: Columns, origins: Origins) -> int:
        """Add rows of one or several records; returns by how many bytes the partition grew (merging may shrink it)."""
        before = self.bytes
        self._waiting.add(rows, columns, origins)
        return self.bytes - before

    def cut(self, job: int, until_ns: int = TIME_END) -> PartitionView:
        """Hand the rows with time <= until_ns that are in no job yet to `job`: at least one row must be.

        The others stay, with their offsets and arrivals. Bytes may grow: a tag value that occurs on both sides of
        `until_ns` is then held twice, until the job is dropped.
        """
        piece, self._waiting = self._waiting.split(until_ns)
        assert piece.chunks, f"job {job}: {self.key} has no row up to {until_ns} that is in no job"
        self.in_jobs[job] = piece
        self._job_bytes += piece.bytes
        self._job_rows += piece.rows
        return PartitionView(self.key, (piece,))

    def drop(self, job: int) -> int:
        """Forget the rows of a committed job; returns the bytes freed."""
        piece = self.in_jobs.pop(job)
        self._job_bytes -= piece.bytes
        self._job_rows -= piece.rows
        return piece.bytes

    def view(self) -> PartitionView:
        waiting = self._waiting.piece()
        return PartitionView(self.key, (*self.in_jobs.values(), *([waiting] if waiting.chunks else [])))

    def first_offset(self, without_jobs: frozenset[int] = frozenset()) -> Offset | None:
        """The least offset with rows here, those of `without_jobs` left out; None when there are none."""
        found = [piece.first_offset for job, piece in self.in_jobs.items() if job not in without_jobs]
        if self.chunks:
            found.append(self._waiting.first_offset)
        return min(found, default=None)

    @property
    def is_empty(self) -> bool:
        return not self.chunks and not self.in_jobs
