"""Rows put into partitions and trees of an ingester's buffer, and read from them."""

from common.catalog.manifest.frontier import Frontier
from common.catalog.partition_key import PartitionKey
from common.entry.series_rows import series_rows
from common.values.ids import Offset
from common.values.schema import DAY_NS
from ingester.buffer.origins import Origins
from ingester.buffer.partition import Partition
from ingester.buffer.piece import PartitionView
from ingester.buffer.tree import BufferTree
from ingester.persist.job import view_batches
from tests.support.records import DAY0_NS, NAMESPACE, Row, add_rows, batch, columns, rows_of

KEY = PartitionKey(NAMESPACE, "cpu", DAY0_NS // DAY_NS)


def put(partition: Partition, rows: list[Row], offset: int, arrival_ns: int = 0) -> None:
    """Add a record's rows."""
    partition.add(series_rows(batch(rows)), columns(rows), Origins.of_one(Offset(offset), arrival_ns))


def rows_in(view: PartitionView) -> list[Row]:
    """In order."""
    return [each for one in view_batches(view) for each in rows_of(one)]


def add(tree: BufferTree, offset: int, tables: dict[str, list[Row]], **frontiers: Frontier) -> int:
    """Add a record; returns how many rows were durable. frontiers: by table, for DAY0."""
    known = {PartitionKey(NAMESPACE, table, KEY.day): frontier for table, frontier in frontiers.items()}
    return sum(add_rows(tree, table, rows, offset, 0, known) for table, rows in tables.items())
