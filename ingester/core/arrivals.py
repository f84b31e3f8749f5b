"""The records of a poll that are applied, and their rows: batches of many records as they were decoded."""

from bisect import bisect, insort
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

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

    def add_all(self, tables: Sequence[tuple[TableColumns, ...]], arrivals_ns: npt.NDArray[np.int64]) -> None:
        """All records of the poll are applied."""
        self._positions.extend(range(len(tables)))
        self._tables.extend(tables)
        self._arrivals_ns.extend(arrivals_ns.tolist())

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
        """The rows of records that were decoded alone; of one table together, where no other rows of it lie between."""
        firsts: dict[TableId, list[int]] = {}
        for joined in self._polled.joined:
            insort(firsts.setdefault(joined.brought.table, []), _first_record(joined))
        gaps: dict[tuple[TableId, int], list[_Alone]] = {}
        for position, tables in zip(self._positions, self._tables, strict=True):
            content = self._polled.records[position].content
            if isinstance(content, Entry):
                for brought, batch in zip(tables, content.tables.values(), strict=True):
                    gap = bisect(firsts.get(brought.table, ()), position)
                    gaps.setdefault((brought.table, gap), []).append(_Alone(position, brought, batch))
        for found in gaps.values():
            for _, run in groupby(found, lambda one: one.batch.schema):
                yield _together([*run])

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


class _Alone(NamedTuple):
    """What the record at `position` brought to a table, as a batch of its own."""

    position: int
    brought: TableColumns
    batch: pa.RecordBatch


def _together(found: Sequence[_Alone]) -> JoinedRows:
    """The rows of batches with one schema: their series are looked for once, which costs by values, not by rows."""
    batches = [one.batch for one in found]
    if len(batches) > 1:
        batches = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()
    (batch,) = batches
    counts = np.array([one.batch.num_rows for one in found], np.int64)
    records = np.array([one.position for one in found], np.int64)
    return JoinedRows(found[0].brought, series_rows(batch), records, np.cumsum(counts) - counts)
