"""Accepted rows of one piece of text as arrays, and the columns that they have."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.values.schema import ColumnType

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]


class Columns:
    """The field columns that rows of a piece have, by number: dense from 0."""

    def __init__(self) -> None:
        self.tables: list[str] = []
        self.of_table: list[dict[str, int]] = []
        """Column numbers by name, by table number."""
        self.types: list[ColumnType] = []
        self._tables: dict[str, int] = {}

    def table(self, name: str) -> int:
        """The number of a table: dense from 0."""
        number = self._tables.get(name)
        if number is None:
            number = self._tables[name] = len(self.tables)
            self.tables.append(name)
            self.of_table.append({})
        return number

    def column(self, table: int, name: str, column: ColumnType) -> int:
        """The number of a field column. A name has one type in a table."""
        columns = self.of_table[table]
        number = columns.get(name)
        if number is None:
            number = columns[name] = len(self.types)
            self.types.append(column)
        return number


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows, and their m cells in the order of the rows; within a row a later cell of one column replaces an earlier.

    lines: int64[n], ascending: the order of the rows. series: int64[n]. times_ns: int64[n].
    rows: int64[m], ascending. columns: int64[m]. bits: uint64[m], as in PackedRows but for strings.
    text_cells: int64[k], ascending: the cells that are strings. texts: utf8[k].
    """

    lines: Ints
    series: Ints
    times_ns: Ints
    rows: Ints
    columns: Ints
    bits: Bits
    text_cells: Ints
    texts: pa.StringArray

    def __len__(self) -> int:
        return len(self.lines)

    def part(self, first: int, end: int) -> "Rows":
        """Rows first..end - 1."""
        cell, cell_end = np.searchsorted(self.rows, (first, end))
        text, text_end = np.searchsorted(self.text_cells, (cell, cell_end))
        return Rows(
            self.lines[first:end],
            self.series[first:end],
            self.times_ns[first:end],
            self.rows[cell:cell_end] - first,
            self.columns[cell:cell_end],
            self.bits[cell:cell_end],
            self.text_cells[text:text_end] - cell,
            self.texts[text:text_end],
        )


def joined(one: Rows, other: Rows) -> Rows:
    """The rows of both, in the order of their lines."""
    if not len(other):
        return one
    if not len(one):
        return other
    lines = np.concatenate([one.lines, other.lines])
    order = np.argsort(lines, kind="stable")
    place = np.empty(len(lines), np.int64)
    place[order] = np.arange(len(lines))
    rows = place[np.concatenate([one.rows, other.rows + len(one)])]
    cells = np.argsort(rows, kind="stable")
    cell_place = np.empty(len(rows), np.int64)
    cell_place[cells] = np.arange(len(rows))
    text_cells = cell_place[np.concatenate([one.text_cells, other.text_cells + len(one.rows)])]
    text_order = np.argsort(text_cells, kind="stable")
    return Rows(
        lines[order],
        np.concatenate([one.series, other.series])[order],
        np.concatenate([one.times_ns, other.times_ns])[order],
        rows[cells],
        np.concatenate([one.columns, other.columns])[cells],
        np.concatenate([one.bits, other.bits])[cells],
        text_cells[text_order],
        pa.concat_arrays([one.texts, other.texts]).take(pa.array(text_order)),
    )
