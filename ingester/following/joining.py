"""Records of packed rows, decoded together: rows of one table that follow each other in a poll become one batch.

What is wrong with one record never costs the others: it is Undecodable alone, with the reason it would have alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from common import entry as codec
from common.entry import cells
from common.entry.decoding import Packed, open_entry
from common.entry.packed_blocks import Blocks, find_tables
from common.entry.packed_columns import rows_of
from common.entry.series import SeriesTable
from common.entry.series_rows import SeriesRows
from common.entry.shape import Shape
from common.entry.values import Entry
from common.values.errors import DataCorrupt
from common.values.schema import TableId, union
from ingester.buffer.origins import Numbers, TableColumns
from ingester.buffer.series import PieceSeries
from ingester.following.decode import Decoded, Joined, Opened, opened, unopened
from writebuffer.contract import SequencedRecord

SERIES_BYTES_MAX = 8 * 1024 * 1024
"""Of series remembered from poll to poll; what is made of them takes about ten times as much."""

_SERIES_TABLE_BYTES = 300
_TAG_KEY_BYTES = 50
"""Counted for each table of series, and for each of its tag keys: many sets of keys cost memory without many values."""

COLUMNS_MAX = 100_000
"""Of the tables remembered from poll to poll: some 3,000 usual ones, or a hundred of a thousand columns."""


@dataclass(frozen=True, slots=True, eq=False)
class JoinedRows:
    """Rows of one table that several records of a poll brought, in the order of the records, K of them.

    records, first_rows: int64[K], the positions of the records in the poll, ascending, and where their rows begin.
    The records of two of one table do not lie between each other.
    """

    brought: TableColumns
    rows: SeriesRows
    records: Numbers
    first_rows: Numbers

    def record_of_rows(self) -> Numbers:
        """The position of each row's record."""
        return np.repeat(self.records, np.diff(self.first_rows, append=self.rows.count))


class Known:
    """What earlier records taught about shapes and series: it makes the next ones cheaper. Of one thread."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, Shape], TableColumns] = {}
        self._columns = 0
        """Of the tables, `time` counted."""
        self._series: dict[tuple[str, ...], SeriesTable] = {}

    def table(self, namespace: str, shape: Shape) -> TableColumns:
        """The same object whenever the shape comes again."""
        found = self._tables.get((namespace, shape))
        if found is None:
            self._columns += 1 + len(shape.columns)
            if self._columns > COLUMNS_MAX:
                self._tables.clear()
                self._columns = 1 + len(shape.columns)
            found = TableColumns(TableId(namespace, shape.table), shape.columns)
            self._tables[namespace, shape] = found
        return found

    def series(self, tag_keys: tuple[str, ...]) -> SeriesTable:
        found = self._series.get(tag_keys)
        if found is None:
            found = self._series[tag_keys] = SeriesTable(tag_keys)
        return found

    def forget_series(self) -> None:
        """Where they have become too many."""
        overhead = sum(_SERIES_TABLE_BYTES + _TAG_KEY_BYTES * len(keys) for keys in self._series)
        if overhead + sum(table.bytes for table in self._series.values()) > SERIES_BYTES_MAX:
            self._series.clear()


class Joining:
    """Records of one poll, or of a part of it: add each, then finish."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._sequenced: list[SequencedRecord] = []
        self._opened: list[Opened[Entry | Packed]] = []
        self._record_bytes: list[int] = []

    def add(
        self,
        sequenced: SequencedRecord,
        condemned: str | None = None,
        found: Opened[Entry | Packed] | None = None,
    ) -> int:
        """Returns about how many bytes it takes now.

        condemned: why its payload may not be looked at. found: by opened_together, where it was.
        """
        if condemned is not None:
            found = unopened(sequenced.record, condemned)
        elif found is None:
            found = opened(sequenced.record, open_entry)
        self._sequenced.append(sequenced)
        self._opened.append(found)
        content = found[3]
        size = len(sequenced.record.header_block) + len(sequenced.record.payload)
        self._record_bytes.append(size)
        if isinstance(content, Packed):
            return size + len(content.raw)
        return size + (content.raw_bytes if isinstance(content, Entry) else 0)

    def finish(self, bytes_max: int) -> Iterator[tuple[tuple[Decoded, ...], tuple[JoinedRows, ...]]]:
        """All records, and the rows of those that are Joined; in parts where they decode to more than `bytes_max`."""
        run = self._run(0, len(self._opened))
        sizes = np.cumsum([0, *(run.decoded_bytes() + self._record_bytes)])
        start, last = 0, len(self._opened)
        while (end := int(np.searchsorted(sizes, sizes[start] + bytes_max))) < last:
            yield self._decoded(self._run(start, end))
            start = end
        yield self._decoded(self._run(start, last) if start else run)

    def _run(self, start: int, end: int) -> "_Run":
        return _Run(self._known, self._sequenced[start:end], self._opened[start:end])

    def _decoded(self, run: "_Run") -> tuple[tuple[Decoded, ...], tuple[JoinedRows, ...]]:
        joined = run.joined()
        self._known.forget_series()
        return run.decoded(), joined


class _Run:
    """Records that follow each other. packed: the content of those that are Packed, at `positions`."""

    def __init__(
        self, known: Known, sequenced: Sequence[SequencedRecord], opened: Sequence[Opened[Entry | Packed]]
    ) -> None:
        self._known = known
        self._sequenced = sequenced
        self._opened = list(opened)
        self._find_tables()

    def _find_tables(self) -> None:
        """Again, without what is wrong, until nothing is."""
        while True:
            found = [(at, each[3]) for at, each in enumerate(self._opened) if isinstance(each[3], Packed)]
            self._packed = [content for _, content in found]
            self._positions = np.array([at for at, _ in found], np.int64)
            if not found:
                return
            self._tables = find_tables([packed.envelope for packed in self._packed])
            if not self._tables.wrong:
                return
            self._read_alone(self._tables.wrong)

    def _read_alone(self, entries: Iterable[int]) -> None:
        for entry in entries:
            at = int(self._positions[entry])
            self._opened[at] = opened(self._sequenced[at].record, codec.decode)

    def decoded_bytes(self) -> Numbers:
        """Of each record's content."""
        sizes = np.array([each[3].raw_bytes if isinstance(each[3], Entry) else 0 for each in self._opened], np.int64)
        if self._packed:
            sizes[self._positions] = self._tables.decoded_bytes
        return sizes

    def joined(self) -> tuple[JoinedRows, ...]:
        """The rows of all that is Packed; what is corrupt is then Undecodable."""
        while self._packed:
            joined: list[JoinedRows] = []
            corrupt: set[int] = set()
            groups = self._groups()
            for parts in self._apart(groups):
                try:
                    joined += self._join(parts)
                except DataCorrupt:
                    found = [entry for group in parts for entry in _corrupt_entries(group.blocks)]
                    assert found, "rows that are corrupt together are those of a record that is corrupt alone"
                    corrupt.update(found)
            if not corrupt:
                self._join_contents(groups)
                return tuple(joined)
            self._read_alone(corrupt)
            self._find_tables()
        return ()

    def decoded(self) -> tuple[Decoded, ...]:
        """The records, once `joined` has looked at their rows."""
        return tuple(
            [
                Decoded(sequenced.offset, sequenced.record, sequenced.record.checksum(), *found)  # type: ignore[arg-type]
                for sequenced, found in zip(self._sequenced, self._opened, strict=True)
            ]
        )

    def _groups(self) -> list["_Group"]:
        data = b"".join([packed.raw for packed in self._packed])
        names = [packed.envelope.namespace for packed in self._packed]
        namespaces = {name: number for number, name in enumerate(dict.fromkeys(names))}
        kinds = np.array([namespaces[name] for name in names], np.int64)[self._tables.entries]
        listed = list(namespaces)
        return [
            _Group(self._known.table(listed[kind], shape), self._tables.blocks(shape, data, at), at)
            for kind, shape, at in self._tables.groups(kinds)
        ]

    def _join_contents(self, groups: Sequence["_Group"]) -> None:
        tables = self._tables
        brought = np.empty(len(tables.entries), object)
        for group in groups:
            brought[group.tables] = group.brought
        each, at = brought.tolist(), 0
        sizes = zip(tables.rows.tolist(), tables.decoded_bytes.tolist(), strict=True)
        for position, packed, (rows, size) in zip(self._positions.tolist(), self._packed, sizes, strict=True):
            end = at + packed.envelope.tables_count
            content = Joined(packed.envelope.namespace, tuple(each[at:end]), rows, size)
            self._opened[position] = (*self._opened[position][:3], content)
            at = end

    def _apart(self, groups: Sequence["_Group"]) -> Iterator[list["_Group"]]:
        """Groups of one table each; those of other shapes are apart. No row of an Entry lies between their rows."""
        by_table: dict[TableId, list[_Group]] = {}
        for group in groups:
            by_table.setdefault(group.brought.table, []).append(group)
        cuts = self._cuts()
        for table, of_table in by_table.items():
            if table not in cuts:
                yield of_table
                continue
            for low, high in pairwise([-1, *cuts[table], len(self._opened)]):
                parts = [group.between(self._records(group.blocks), low, high) for group in of_table]
                if left := [part for part in parts if len(part.tables)]:
                    yield left

    def _cuts(self) -> dict[TableId, list[int]]:
        """The records that bring rows of a table as a batch of their own."""
        cuts: dict[TableId, list[int]] = {}
        for at, each in enumerate(self._opened):
            if isinstance(each[3], Entry):
                for table in each[3].tables:
                    cuts.setdefault(TableId(each[3].namespace, table), []).append(at)
        return cuts

    def _records(self, blocks: Blocks) -> Numbers:
        return self._positions[blocks.entries]

    def _join(self, parts: Sequence["_Group"]) -> list[JoinedRows]:
        """One batch; or one for each record, where the shapes do not agree about a column and none can have all."""
        if len(parts) == 1:
            return [self._batch(parts[0].brought, parts[0].blocks)]
        table = parts[0].brought.table
        try:
            columns = union([group.brought.columns for group in parts])
        except DataCorrupt:
            return [self._batch(group.brought, one) for group in parts for one in _each(group.blocks)]
        return [_united(TableColumns(table, columns), [self._batch(group.brought, group.blocks) for group in parts])]

    def _batch(self, brought: TableColumns, blocks: Blocks) -> JoinedRows:
        series = self._known.series(blocks.shape.tag_keys)
        first_rows = np.cumsum(blocks.rows) - blocks.rows
        return JoinedRows(brought, rows_of(blocks, series), self._records(blocks), first_rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Blocks of one namespace and shape. tables: int64[B], their positions among all tables."""

    brought: TableColumns
    blocks: Blocks
    tables: Numbers

    def between(self, records: Numbers, low: int, high: int) -> "_Group":
        wanted = (records > low) & (records < high)
        return _Group(self.brought, self.blocks.only(wanted), self.tables[wanted])


def _each(blocks: Blocks) -> Iterator[Blocks]:
    for at in range(len(blocks.rows)):
        yield blocks.only(np.array([at]))


def _corrupt_entries(blocks: Blocks) -> list[int]:
    corrupt = []
    for one in _each(blocks):
        try:
            rows_of(one, SeriesTable(one.shape.tag_keys))
        except DataCorrupt:
            corrupt.append(int(one.entries[0]))
    return corrupt


def _united(brought: TableColumns, parts: Sequence[JoinedRows]) -> JoinedRows:
    """The rows of batches with other columns each, in the order of their records."""
    series = PieceSeries()
    numbers = np.concatenate([series.encode(part.rows.numbers, part.rows.series) for part in parts])
    times = np.concatenate([part.rows.times for part in parts])
    rows = SeriesRows(times, cells.joined([part.rows.cells for part in parts]), numbers, series.series())
    records = np.concatenate([part.record_of_rows() for part in parts])
    order = np.argsort(records, kind="stable")
    of_record, first_rows = np.unique(records[order], return_index=True)
    return JoinedRows(brought, rows.take(order), of_record, first_rows)
