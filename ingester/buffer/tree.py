"""The buffer tree of one sequencer: namespace / table / day partition / chunk, with its totals."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from common.entry import Entry
from common.ids import Offset
from common.schema import DAY_NS, columns_of, times_ns
from ingester.buffer.partition import MERGE_ARRIVAL_NS_MAX, Partition
from ingester.frontier import Frontier
from ingester.partition_key import PartitionKey


class BufferTree:
    """All partitions with rows in memory; empty ones are dropped."""

    def __init__(self, merge_arrival_ns_max: int = MERGE_ARRIVAL_NS_MAX) -> None:
        self.partitions: dict[PartitionKey, Partition] = {}
        self.bytes = 0
        self.rows = 0
        self._merge_arrival_ns_max = merge_arrival_ns_max

    def __iter__(self) -> Iterator[Partition]:
        return iter(self.partitions.values())

    def take(
        self, entry: Entry, offset: Offset, arrival_ns: int, frontiers: Mapping[PartitionKey, Frontier]
    ) -> tuple[int, set[PartitionKey]]:
        """Take in what of `entry` its frontiers do not cover; returns the rows left out as durable already, and the
        partitions touched. A column has one type in all entries of a table; the caller made sure.
        """
        slices = [piece for table, batch in entry.tables.items() for piece in _by_day(entry.namespace, table, batch)]
        durable = 0
        touched = set()
        for key, whole in slices:
            batch = _not_covered(whole, offset, frontiers.get(key))
            durable += whole.num_rows - batch.num_rows
            if batch.num_rows:
                self._put(key, batch, offset, arrival_ns)
                touched.add(key)
        return durable, touched

    def drop(self, key: PartitionKey, job: int) -> None:
        """Forget the rows of a committed job."""
        partition = self.partitions[key]
        rows = partition.rows
        self.bytes -= partition.drop(job)
        self.rows -= rows - partition.rows
        if partition.is_empty:
            self.bytes -= partition.bytes
            del self.partitions[key]

    def first_offset(self, without_jobs: frozenset[int] = frozenset()) -> Offset | None:
        """The least offset with rows in memory, those of `without_jobs` left out."""
        offsets = (partition.first_offset(without_jobs) for partition in self)
        return min((offset for offset in offsets if offset is not None), default=None)

    def _put(self, key: PartitionKey, batch: pa.RecordBatch, offset: Offset, arrival_ns: int) -> None:
        partition = self.partitions.get(key)
        if partition is None:
            partition = self.partitions[key] = Partition(key, self._merge_arrival_ns_max)
        times = times_ns(batch)
        columns = columns_of(batch.schema)
        self.bytes += partition.take(batch, columns, offset, arrival_ns, (int(times.min()), int(times.max())))
        self.rows += batch.num_rows


def _by_day(namespace: str, table: str, batch: pa.RecordBatch) -> Iterator[tuple[PartitionKey, pa.RecordBatch]]:
    """The rows of each UTC day, in their order."""
    days = times_ns(batch) // DAY_NS
    first = int(days[0])
    if (days == first).all():
        yield PartitionKey(namespace, table, first), batch
        return
    for day in np.unique(days):
        yield PartitionKey(namespace, table, int(day)), batch.take(pa.array(np.flatnonzero(days == day)))


def _not_covered(batch: pa.RecordBatch, offset: Offset, frontier: Frontier | None) -> pa.RecordBatch:
    if frontier is None:
        return batch
    covered = frontier.covered(offset, times_ns(batch))
    return batch.filter(pa.array(~covered)) if covered.any() else batch
