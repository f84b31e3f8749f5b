"""Rows packed for each sequencer and table.

Cells are scattered into one matrix for each group of rows, so that the cost follows the cells, not columns times
sequencers.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from common.entry import PackedRows
from common.values.ids import SequencerId
from common.values.schema import ColumnType
from router.parsing.lines.entries import without_absent
from router.parsing.lines.groups import Groups, SeriesOfGroups, TagKeys, groups_of
from router.parsing.lines.rows import Bits, Columns, Ints, Rows
from router.parsing.lines.series_cache import NamespaceSeries

CELLS_MAX = 1024 * 1024
"""More are assembled in parts: sparse rows of a thousand columns would otherwise need gigabytes."""

NAME_BYTES_MAX = 256 * 1024
"""Of the tag keys of rows that have not all of them. Each entry names them all, also where it has one of these rows."""

Fields = tuple[tuple[str, ColumnType], ...]


def packed(rows: Rows, columns: Columns, series: NamespaceSeries) -> Iterator[Mapping[SequencerId, list[PackedRows]]]:
    """The rows by sequencer and table, each table once; several times where all at once would be too much."""
    parts = [rows] if len(rows) else []
    while parts:
        part = parts.pop()
        groups = groups_of(part, columns, series)
        keys = TagKeys(part, groups, series)
        matrix = _Matrix(part, columns, groups)
        if len(part) > 1 and (matrix.cells + keys.cells > CELLS_MAX or keys.name_bytes > NAME_BYTES_MAX):
            half = len(part) // 2
            parts += [part.part(half, len(part)), part.part(0, half)]
        else:
            yield matrix.packed(keys, SeriesOfGroups(part, groups, series))


class _Matrix:
    """The cells of all groups, one group after another, each as many as rows times fields of its table."""

    def __init__(self, rows: Rows, columns: Columns, groups: Groups) -> None:
        self._rows = rows
        self._columns = columns
        self._groups = groups
        self._fields, self._rank, widths = _sorted_fields(columns)
        self._widths = widths[groups.tables]
        self._ends = np.cumsum(groups.rows * self._widths)
        self._starts = self._ends - groups.rows * self._widths

    @property
    def cells(self) -> int:
        return int(self._ends[-1])

    def packed(self, keys: TagKeys, series: SeriesOfGroups) -> Mapping[SequencerId, list[PackedRows]]:
        groups = self._groups
        places = self._places()
        present = np.zeros(self.cells, np.bool_)
        present[places] = True
        values = np.zeros(self.cells, np.uint64)
        values[places] = self._rows.bits  # of a field that occurs twice in a line the last is left
        strings = _strings(self._rows, places, values, self._ends)
        times_ns = self._rows.times_ns[groups.order]
        all_present = bool(present.all())
        bounds = [groups.sequencers, groups.tables, groups.starts, groups.ends, self._starts, self._ends]
        result: dict[SequencerId, list[PackedRows]] = {}
        for number, (sequencer, table, start, end, cell, cell_end) in enumerate(np.stack(bounds, axis=1).tolist()):
            shape = end - start, len(self._fields[table])
            one = PackedRows(
                self._columns.tables[table],
                keys.of_group[number],
                self._fields[table],
                times_ns[start:end],
                values[cell:cell_end].reshape(shape),
                None if all_present else present[cell:cell_end].reshape(shape),
                strings[number],
                series.tags(number, keys),
                None if series.in_order[number] else series.codes[start:end],
            )
            result.setdefault(SequencerId(sequencer), []).append(one if all_present else without_absent(one))
        return result

    def _places(self) -> Ints:
        """Where each cell of the rows goes."""
        groups = self._groups
        row_starts = np.empty(len(self._rows), np.int64)
        row_starts[groups.order] = self._starts[groups.group] + groups.place * self._widths[groups.group]
        return row_starts[self._rows.rows] + self._rank[self._rows.columns]


def _sorted_fields(columns: Columns) -> tuple[list[Fields], Ints, Ints]:
    """The fields of each table by name; each column's place among those of its table; how many each table has."""
    rank = np.empty(len(columns.types), np.int64)
    fields: list[Fields] = []
    for of_table in columns.of_table:
        names = sorted(of_table)
        rank[[of_table[name] for name in names]] = np.arange(len(names))
        fields.append(tuple((name, columns.types[of_table[name]]) for name in names))
    return fields, rank, np.array([len(one) for one in fields], np.int64)


def _strings(rows: Rows, places: Ints, values: Bits, cell_ends: Ints) -> list[bytes]:
    """The strings of each group, joined in the order of its cells; writes their lengths into `values`."""
    places = places[rows.text_cells]
    if not len(places):
        return [b""] * len(cell_ends)
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    last = np.append(ordered[1:] != ordered[:-1], True)  # of a field that occurs twice in a line
    texts = rows.texts.take(pa.array(order[last]))
    offsets = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1)
    values[ordered[last]] = np.diff(offsets)
    data = texts.buffers()[2].to_pybytes() if texts.buffers()[2] else b""
    ends = offsets[np.searchsorted(ordered[last], cell_ends)].tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
