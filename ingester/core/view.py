"""What queries see of an ingester's memory: one immutable value, replaced at each step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from common.catalog.partition_key import PartitionKey
from common.values.ids import ManifestNumber, Offset
from ingester.buffer.piece import PartitionView
from ingester.buffer.tree import BufferTree


@dataclass(frozen=True, slots=True)
class View:
    """The rows in memory, and the manifest number whose files they complement."""

    manifest_number: ManifestNumber
    applied_offset: Offset
    partitions: Mapping[PartitionKey, PartitionView]


class Views:
    """Makes the views; only the partitions that a step has touched are looked at again."""

    def __init__(self, tree: BufferTree) -> None:
        self._tree = tree
        self._partitions: dict[PartitionKey, PartitionView] = {}

    def after(self, touched: Iterable[PartitionKey], number: ManifestNumber, applied_offset: Offset) -> View:
        """The view once the rows of `touched` have changed."""
        for key in sorted(touched):
            partition = self._tree.partitions.get(key)
            if partition is None:
                self._partitions.pop(key, None)
            else:
                self._partitions[key] = partition.view()
        return View(number, applied_offset, dict(self._partitions))
