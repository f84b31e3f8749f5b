"""The records of a poll that are applied, and their rows: batches of many records as they were decoded."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from common.entry import Entry
from common.entry.series_rows import SeriesRows, series_rows
from common.values.schema import TableId, union
from ingester.buffer.origins import Origins, TableColumns, records_left
from ingester.core.events import Polled
from ingester.following.joining import JoinedRows

Addition = tuple[TableColumns, SeriesRows, Origins]


class Arrivals:
    """Collects what is applied while the poll's records are decided one after another."""

    def __init__(self, polled: Polled) -> None:
        self._polled = polled
        self._positions: list[int] = []
        self._arrivals_ns: list[int] = []
        self._tables: list[tuple[TableColumns, ...]] = []

    def add(self, position: int, tables: tuple[TableColumns, ...], arrival_ns: int) -> None:
        """The record at `position` of the poll is applied."""
        self._positions.append(position)
        self._tables.append(tables)
        self._arrivals_ns.append(arrival_ns)

    def rows(self) -> Iterator[Addition]:
        """The rows of all records added, for each table in order of offsets."""
        if not self._positions:
            return
        records = self._polled.records
        count = len(records)
        offsets = np.array([record.offset for record in records], np.int64)
        arrivals_ns = np.zeros(count, np.int64)
        arrivals_ns[self._positions] = self._arrivals_ns
        is_applied = np.zeros(count, np.bool_)
        is_applied[self._positions] = True
        for joined in sorted([*self._polled.joined, *self._alone()], key=_first_record):
            kept = joined if is_applied[joined.records].all() else self._only(joined, is_applied)
            if kept is not None:
                at = kept.records
                yield kept.brought, kept.rows, Origins(offsets[at], kept.first_rows, arrivals_ns[at])

    def _alone(self) -> Iterator[JoinedRows]:
        """The batches of records that were decoded alone."""
        for position, tables in zip(self._positions, self._tables, strict=True):
            content = self._polled.records[position].content
            if isinstance(content, Entry):
                for brought, batch in zip(tables, content.tables.values(), strict=True):
                    yield JoinedRows(brought, series_rows(batch), np.array([position]), np.zeros(1, np.int64))

    def _only(self, joined: JoinedRows, is_applied: npt.NDArray[np.bool_]) -> JoinedRows | None:
        """Without the rows of records that are not applied, and without the columns that only those brought."""
        wanted = is_applied[joined.record_of_rows()]
        left, first_rows = records_left(joined.first_rows, wanted)
        if not left.any():
            return None
        brought = self._brought(joined.brought.table, joined.records[left])
        rows = joined.rows.only_fields(brought.columns).take(np.flatnonzero(wanted))
        return JoinedRows(brought, rows, joined.records[left], first_rows)

    def _brought(self, table: TableId, records: npt.NDArray[np.int64]) -> TableColumns:
        found = [each for record in records for each in self._polled.records[record].tables if each.table == table]
        return TableColumns(table, union([each.columns for each in found]))


def _first_record(joined: JoinedRows) -> int:
    return int(joined.records[0])
