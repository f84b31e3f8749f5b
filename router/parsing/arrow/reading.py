"""One body that is an Arrow stream for one table, turned into payloads for the sequencers it touches.

Rows are read two million cells at a time, so that narrow columns which widen need little memory at once. As
with lines, a refused row leaves no trace but its reason, nor do the rows of a body that is all or nothing and has one;
row numbers take the place of line numbers. A column whose type differs from the table's refuses the rows that have a
value in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from common.catalog.table_schema import COLUMNS_MAX, NO_SCHEMA
from common.ipc.client_stream import ClientStream
from common.values.errors import DataCorrupt
from common.values.ids import SequencerId
from common.values.schema import ColumnType
from common.values.shown import shown
from router.parsing.arrow.columns import Layout, StreamRefused, check_name, layout_of
from router.parsing.arrow.encoding import encode_rows
from router.parsing.arrow.slice import Slice
from router.parsing.arrow.tags import series_of_rows, tags_of_rows
from router.parsing.draft import said
from router.parsing.messages import Body, ParsedBatch, RequestLines
from router.parsing.partition import sequencer_of, series_hash
from router.parsing.schemas import Schemas

CELLS_MAX = 2_000_000
"""Of the rows that are read at once."""

_SERIES_BETWEEN_CHECKS = 10_000
"""Hashing them takes some 50 ms; a body may bring half a million."""


@dataclass(frozen=True, slots=True)
class ArrowTarget:
    """Where rows go. refused_tables: new tables whose rows are refused, with the reason. sequencers: how many."""

    namespace: str
    known: Schemas
    refused_tables: Mapping[str, str]
    sequencers: int


def read_arrow(body: Body, target: ArrowTarget, check_wanted: Callable[[], None]) -> ParsedBatch:
    """check_wanted: called every now and then; raises what ends the batch."""
    reading = _Reading(body, target, check_wanted)
    try:
        reading.read()
    except (DataCorrupt, StreamRefused) as error:
        return ParsedBatch({}, [RequestLines(refusal=str(error))], {}, {})
    return reading.result()


def _instead(known: ColumnType, given: ColumnType) -> str:
    """What to do about a tag that came as plain strings, which is easily done."""
    is_plain_tag = known is ColumnType.TAG and given is ColumnType.STRING
    return ": give a tag as a dictionary of strings" if is_plain_tag else ""


class _Reading:
    def __init__(self, body: Body, target: ArrowTarget, check_wanted: Callable[[], None]) -> None:
        self._body = body
        self._target = target
        self._schema = target.known.get(body.table, NO_SCHEMA)
        self._check_wanted = check_wanted
        self._lines = RequestLines()
        self._payloads: dict[SequencerId, list[bytes]] = {}
        self._additions: dict[str, ColumnType] = {}
        self._lacking: Mapping[str, int] = {}

    def read(self) -> None:
        """Raises DataCorrupt, StreamRefused."""
        check_name("table", self._body.table)
        stream = ClientStream(self._body.data)
        layout = layout_of(stream.schema)
        if not layout.columns.keys() <= self._schema.columns.keys():
            self._lacking = {self._body.table: self._schema.version}
        rows = max(1, CELLS_MAX // len(stream.schema))
        for batch in stream.batches():
            for at in range(0, batch.num_rows, rows):
                self._check_wanted()
                self._read_slice(Slice(batch.slice(at, rows), layout), layout)

    def result(self) -> ParsedBatch:
        if self._body.all_or_nothing and self._lines.refused_count:
            self._lines.withdraw()
            return ParsedBatch({}, [self._lines], {}, self._lacking)
        additions = {self._body.table: self._additions} if self._additions else {}
        return ParsedBatch(self._payloads, [self._lines], additions, self._lacking)

    def _read_slice(self, rows: Slice, layout: Layout) -> None:
        first_number = self._lines.count + 1
        rows.check(self._body.times)
        self._fit(rows, layout)
        accepted = np.flatnonzero(~rows.refusals.refused)
        sequencer_of_row = self._sequencers_of(rows)
        for sequencer in map(SequencerId, np.unique(sequencer_of_row[accepted]).tolist()):
            self._check_wanted()
            batch = rows.take(accepted[sequencer_of_row[accepted] == sequencer])
            self._payloads.setdefault(sequencer, []).extend(
                encode_rows(self._target.namespace, self._body.table, batch)
            )
            self._lines.sequencers.add(sequencer)
        self._lines.accepted += len(accepted)
        rows.refusals.report(self._lines, first_number)

    def _fit(self, rows: Slice, layout: Layout) -> None:
        """Refuse the rows that do not fit the table's columns, and register the new columns of the others."""
        table = self._body.table
        if table not in self._target.known and table in self._target.refused_tables:
            rows.refusals.refuse(np.ones(rows.rows, np.bool_), _because(self._target.refused_tables[table]))
        known = {**self._schema.columns, **self._additions}
        for name, column in layout.columns.items():
            if name in known and known[name] is not column:
                place = f"column {shown(name)} of table {shown(table)}"
                reason = f"{place} is {said(known[name])}, the stream has {said(column)}{_instead(known[name], column)}"
                rows.refusals.refuse(rows.with_value(name), _because(reason))
        new = rows.used({name: column for name, column in layout.columns.items() if name not in known})
        if len(known) + len(new) > COLUMNS_MAX:
            reason = f"table {shown(table)} has {len(known)} columns; {len(new)} more would be over {COLUMNS_MAX}"
            for name in new:
                rows.refusals.refuse(rows.with_value(name), _because(reason))
            return
        self._additions.update((name, layout.columns[name]) for name in sorted(new))
        self._lines.needs_additions = bool(self._additions)

    def _sequencers_of(self, rows: Slice) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """By row. Each series is hashed once, and not remembered: a million of many tags would be gigabytes."""
        first_rows, series_of_row = series_of_rows([tag.codes for tag in rows.tags.values()], rows.rows)
        sequencers = np.empty(len(first_rows), np.int64)
        for number, tags in enumerate(tags_of_rows(rows.tags, first_rows)):
            if number % _SERIES_BETWEEN_CHECKS == 0:
                self._check_wanted()
            hashed = series_hash(self._target.namespace, self._body.table, tags)
            sequencers[number] = sequencer_of(hashed, self._target.sequencers)
        return sequencers[series_of_row]


def _because(reason: str) -> Callable[[int], str]:
    """The same for every row."""
    return lambda row: reason
