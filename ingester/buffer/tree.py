"""The buffer tree of one sequencer: namespace / table / day partition / chunk, with its totals."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from common.catalog.manifest.frontier import Frontier
from common.catalog.partition_key import PartitionKey
from common.entry.series_rows import SeriesRows
from common.values.ids import Offset
from common.values.schema import DAY_NS, Columns, TableId
from ingester.buffer.first_offsets import FirstOffsets
from ingester.buffer.late_rows import LateRows, PersistedUntil
from ingester.buffer.origins import Origins, TableColumns
from ingester.buffer.partition import Partition
from ingester.buffer.piece import PartitionView, least_offset
from ingester.buffer.waiting import MERGE_ARRIVAL_NS_MAX


class BufferTree:
    """All partitions with rows in memory; empty ones are removed.

    waiting_bytes: of the rows that are in no job yet. What the totals and first offsets cost follows what changes, not
    how many partitions there are.
    """

    def __init__(
        self, merge_arrival_ns_max: int = MERGE_ARRIVAL_NS_MAX, persisted_until: PersistedUntil = lambda key: None
    ) -> None:
        """persisted_until: as LateRows takes it."""
        self.late_rows = LateRows(persisted_until)
        self.partitions: dict[PartitionKey, Partition] = {}
        self.bytes = 0
        self.waiting_bytes = 0
        self.rows = 0
        self._first_offsets = FirstOffsets()  # of a partition's waiting rows under its key, of a job's under its number
        self._merge_arrival_ns_max = merge_arrival_ns_max

    def __iter__(self) -> Iterator[Partition]:
        return iter(self.partitions.values())

    def add(
        self, brought: TableColumns, rows: SeriesRows, origins: Origins, frontiers: Mapping[PartitionKey, Frontier]
    ) -> tuple[int, set[PartitionKey]]:
        """Add the rows, which one or several records brought to a table, that its frontiers do not cover.

        Records come in order of offsets for each table. Returns how many rows the frontiers cover, durable already, and
        the partitions touched. A column has one type in all batches of a table; the caller made sure.
        """
        durable = 0
        touched = set()
        for key, whole, of_day in _by_day(brought.table, rows, origins):
            left, here = _not_covered(whole, of_day, frontiers.get(key))
            durable += whole.count - left.count
            if left.count:
                self._put(key, left, brought.columns, here)
                touched.add(key)
        return durable, touched

    def cut(self, key: PartitionKey, job: int, until_ns: int) -> PartitionView:
        """Hand the rows of a partition with time <= until_ns to `job`; see Partition.cut."""
        partition = self.partitions[key]
        before, waiting_before = partition.bytes, partition.waiting_bytes
        view = partition.cut(job, until_ns)
        self.late_rows.cut(key, max(chunk.time_ns_max for chunk in view.chunks))
        self.bytes += partition.bytes - before
        self.waiting_bytes += partition.waiting_bytes - waiting_before
        self._first_offsets.put(job, view.first_offset)
        if partition.chunks:
            self._first_offsets.put(key, least_offset(partition.chunks))
        else:
            self._first_offsets.remove(key)
        return view

    def drop(self, key: PartitionKey, job: int) -> None:
        """Forget the rows of a committed job."""
        partition = self.partitions[key]
        rows = partition.rows
        self.bytes -= partition.drop(job)
        self.rows -= rows - partition.rows
        self._first_offsets.remove(job)
        if partition.is_empty:
            del self.partitions[key]

    def first_offset(self, without_jobs: frozenset[int] = frozenset()) -> Offset | None:
        """The least offset with rows in memory, those of `without_jobs` left out."""
        found = self._first_offsets.least(without_jobs)
        return None if found is None else Offset(found)

    def _put(self, key: PartitionKey, rows: SeriesRows, columns: Columns, origins: Origins) -> None:
        partition = self.partitions.get(key)
        if partition is None:
            partition = self.partitions[key] = Partition(key, self._merge_arrival_ns_max)
        if not partition.chunks:
            self._first_offsets.put(key, int(origins.offsets[0]))
        self.late_rows.arrived(key, rows.times)
        grown = partition.add(rows, columns, origins)
        self.bytes += grown
        self.waiting_bytes += grown
        self.rows += rows.count


Part = tuple[SeriesRows, Origins]


def _by_day(table: TableId, rows: SeriesRows, origins: Origins) -> Iterator[tuple[PartitionKey, SeriesRows, Origins]]:
    """The rows of each UTC day, in their order."""
    times = rows.times
    first, last = int(times.min()) // DAY_NS, int(times.max()) // DAY_NS
    if first == last:
        yield PartitionKey(table.namespace, table.table, first), rows, origins
        return
    days = times // DAY_NS
    order = np.argsort(days, kind="stable")  # once, not a look at all rows for each day
    for of_day in np.split(order, np.flatnonzero(np.diff(days[order])) + 1):
        yield PartitionKey(table.namespace, table.table, int(days[of_day[0]])), *_only(rows, origins, of_day)


def _not_covered(rows: SeriesRows, origins: Origins, frontier: Frontier | None) -> Part:
    if not frontier or origins.offsets[0] > frontier.corners[-1][0]:
        return rows, origins
    covered = frontier.covered(origins.of_rows(rows.count), rows.times)
    return _only(rows, origins, np.flatnonzero(~covered)) if covered.any() else (rows, origins)


def _only(rows: SeriesRows, origins: Origins, wanted: npt.NDArray[np.intp]) -> Part:
    return rows.take(wanted), origins.only(wanted)
