"""Odd lines, read one by one by the strict parser: those that are wrong, hard to read, or bring new columns.

Here is decided what a line registers and why it is refused; the plain lines beside them (plain.py) change nothing.
"""

import struct
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from common.values.schema import ColumnType
from router.lineprotocol import scalar
from router.lineprotocol.point import Fields, LineError
from router.parsing.draft import Draft, NewTables
from router.parsing.lines.rows import Columns, Rows
from router.parsing.lines.series_cache import NamespaceSeries
from router.parsing.messages import Body, RequestLines
from router.parsing.time_bounds import check_time

_FLOAT = struct.Struct("<d")
_BITS = struct.Struct("<Q")
_MASK = 2**64 - 1


class AddRow(Protocol):
    """Takes one row: the place of its line in the piece, its series, and what it says."""

    def __call__(self, place: int, series: int, table: str, time_ns: int, fields: Fields) -> None: ...


class OddLines:
    """The odd lines of one piece: what they say becomes rows."""

    def __init__(self, series: NamespaceSeries, draft: Draft, add: AddRow) -> None:
        self._known_series = series
        self._draft = draft
        self._add = add

    def read(
        self, place: int, number: int, line: bytes, body: Body, lines: RequestLines, new_tables: NewTables
    ) -> None:
        """place: of the line in the piece, ascending. number: in the body. lines: of the body; records what became of
        this one."""
        try:
            self._read(place, number, line, body, lines, new_tables)
        except LineError as error:
            lines.refuse(number, line, error.reason)

    def _read(
        self, place: int, number: int, line: bytes, body: Body, lines: RequestLines, new_tables: NewTables
    ) -> None:
        parts = scalar.split_line(line)
        if parts is None:
            return
        series = self._known_series.number(parts[0], new_tables.check)
        family = self._known_series.family(series)
        fields, time_ns, dropped = scalar.parse_fields(parts[1], body.precision_ns)
        scalar.check_distinct(family.tag_keys, fields)
        if time_ns is None:
            time_ns = body.default_time_ns
        else:
            check_time(time_ns, body.times)
        if self._draft.admit(family.table, family.tag_keys, fields, new_tables):
            lines.needs_additions = True
            new_tables.begin(family.table)
        if dropped:
            lines.drop(number, dropped)
        lines.accepted += 1
        lines.sequencers.add(self._known_series.sequencer(series))
        self._add(place, series, family.table, time_ns, fields)


class OddRows:
    """Rows of odd lines, one by one."""

    def __init__(self, columns: Columns) -> None:
        """columns: of the piece; grows."""
        self._known_columns = columns
        self._lines: list[int] = []
        self._series: list[int] = []
        self._times_ns: list[int] = []
        self._rows: list[int] = []
        self._columns: list[int] = []
        self._bits: list[int] = []
        self._text_cells: list[int] = []
        self._texts: list[str] = []

    def add(self, place: int, series: int, table: str, time_ns: int, fields: Fields) -> None:
        row = len(self._lines)
        self._lines.append(place)
        self._series.append(series)
        self._times_ns.append(time_ns)
        of_table = self._known_columns.table(table)
        for name, (column, value) in fields.items():
            if isinstance(value, str):
                self._text_cells.append(len(self._rows))
                self._texts.append(value)
            self._rows.append(row)
            self._columns.append(self._known_columns.column(of_table, name, column))
            self._bits.append(_bits(column, value))

    def rows(self) -> Rows:
        """All lines that were accepted."""
        return Rows(
            _int64(self._lines),
            _int64(self._series),
            _int64(self._times_ns),
            _int64(self._rows),
            _int64(self._columns),
            np.array(self._bits, np.uint64),
            _int64(self._text_cells),
            pa.array(self._texts, pa.utf8()),
        )


def _int64(values: Sequence[int]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(values, np.int64)


def _bits(column: ColumnType, value: float | int | str | bool) -> int:
    if isinstance(value, str):
        return 0
    if column is ColumnType.FLOAT:
        bits: int = _BITS.unpack(_FLOAT.pack(value))[0]
        return bits
    return int(value) & _MASK
