"""Which records rows came with, and when: offsets and arrival times, as a batch of one or many records has them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.values.ids import Offset
from common.values.schema import Columns, TableId

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TableColumns:
    """A table and columns of it, but `time`. One object for all records of a shape: a set of them finds it at once."""

    table: TableId
    columns: Columns


def records_left(first_rows: Numbers, wanted: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], Numbers]:
    """Which records have a row where `wanted` is true, and where those rows begin once the others are gone."""
    rows = np.add.reduceat(wanted, first_rows, dtype=np.int64)
    left = rows > 0
    return left, (np.cumsum(rows) - rows)[left]


@dataclass(frozen=True, slots=True, eq=False)
class Origins:
    """Of K records, in order of offsets: int64[K] each; every record has at least one row.

    first_rows: where a record's rows begin. arrivals_ns: by the lifecycle's clock, never falling.
    """

    offsets: Numbers
    first_rows: Numbers
    arrivals_ns: Numbers

    @classmethod
    def of_one(cls, offset: Offset, arrival_ns: int) -> "Origins":
        return cls(np.array([offset], np.int64), np.zeros(1, np.int64), np.array([arrival_ns], np.int64))

    def of_rows(self, rows: int) -> Numbers:
        """The offset of each of all `rows` rows."""
        return np.repeat(self.offsets, np.diff(self.first_rows, append=rows))

    def only(self, rows: Numbers) -> "Origins":
        """Of the rows at these positions, ascending, at least one: records without any are left out."""
        records = np.searchsorted(self.first_rows, rows, side="right") - 1
        first_rows = np.flatnonzero(np.diff(records, prepend=-1))
        left = records[first_rows]
        return Origins(self.offsets[left], first_rows, self.arrivals_ns[left])

    def spans(self, rows: int, span_ns: int) -> Iterator[tuple[int, int, "Origins"]]:
        """Parts whose records arrived within `span_ns`: first row, end, and their origins counted from that row."""
        if self.arrivals_ns[-1] - self.arrivals_ns[0] <= span_ns:
            yield 0, rows, self
            return
        start = 0
        while start < len(self.offsets):
            end = int(np.searchsorted(self.arrivals_ns, self.arrivals_ns[start] + span_ns, side="right"))
            first_row = int(self.first_rows[start])
            end_row = int(self.first_rows[end]) if end < len(self.offsets) else rows
            part = slice(start, end)
            yield (
                first_row,
                end_row,
                Origins(self.offsets[part], self.first_rows[part] - first_row, self.arrivals_ns[part]),
            )
            start = end
