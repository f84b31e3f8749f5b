"""A partition: one table's rows of one UTC day, on one sequencer."""

from typing import NamedTuple

import numpy as np

from common.catalog.paths import partition_folder
from common.values.errors import DataCorrupt
from common.values.schema import TableId


class PartitionKey(NamedTuple):
    """`day` counts UTC days since 1970; days before it are negative."""

    namespace: str
    table: str
    day: int

    @property
    def table_id(self) -> TableId:
        return TableId(self.namespace, self.table)

    @property
    def day_name(self) -> str:
        """YYYY-MM-DD."""
        return str(np.datetime64(self.day, "D"))

    @property
    def folder(self) -> str:
        """Where its files are in the store."""
        return partition_folder(self.namespace, self.table, self.day_name)

    def to_json(self) -> list[str]:
        return [self.namespace, self.table, self.day_name]

    @classmethod
    def from_json(cls, value: list[str]) -> "PartitionKey":
        try:
            namespace, table, day = value
            return cls(namespace, table, int(np.datetime64(day, "D").astype(np.int64)))
        except (ValueError, TypeError) as error:
            raise DataCorrupt(f"{value!r} does not name a partition: {error}") from None
