"""What a BatchParser must give for any bodies, worked out line by line with the strict parser alone.

No cache, no staging and no encoding: whatever is faster than this is held equal to it. `expected` and `found` give the
same plain form, which knows nothing of how rows are encoded, and `assert_equal` reports where two of them first differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa

from common.entry import decode
from common.values import schema
from common.values.ids import SequencerId
from common.values.schema import Columns, ColumnType
from router.lineprotocol import scalar
from router.lineprotocol.lines import split_lines, without_byte_order_mark
from router.lineprotocol.point import Fields, LineError, Tags
from router.parsing.draft import NO_TABLES, Draft, NewTables
from router.parsing.messages import PAYLOAD_BYTES_MAX, Body, ParsedBatch, RequestLines
from router.parsing.partition import sequencer_of, series_hash
from router.parsing.schemas import Schemas
from router.parsing.time_bounds import check_time

Place = tuple[SequencerId, str]
"""A sequencer and a table."""


@dataclass(frozen=True, slots=True)
class Row:
    """fields: type and value by name, floats as `float.hex` writes them, so that they are compared bit by bit."""

    time_ns: int
    tags: Tags
    fields: Mapping[str, tuple[ColumnType, Any]]


@dataclass(slots=True)
class Outcome:
    """What became of a batch. rows: in order, by place. columns: those of the rows, by place."""

    requests: Sequence[RequestLines]
    additions: Mapping[str, Columns]
    lacking: Mapping[str, int]
    rows: dict[Place, list[Row]] = field(default_factory=dict)
    columns: dict[Place, dict[str, ColumnType]] = field(default_factory=dict)

    @property
    def line_count(self) -> int:
        return sum(lines.count for lines in self.requests)


def expected(
    namespace: str,
    sequencers: int,
    schemas: Schemas,
    bodies: Sequence[Body],
    refused_tables: Mapping[str, str] = NO_TABLES,
) -> Outcome:
    """What must become of `bodies`. schemas: all that the parser knows of `namespace`, its news included."""
    draft = Draft(schemas)
    outcome = Outcome([], draft.additions, draft.lacking)
    outcome.requests = [
        _Reading(namespace, sequencers, draft, body).into(outcome, NewTables(schemas, refused_tables))
        for body in bodies
    ]
    return outcome


class _Reading:
    """One body while it is read."""

    def __init__(self, namespace: str, sequencers: int, draft: Draft, body: Body) -> None:
        self._namespace = namespace
        self._sequencers = sequencers
        self._draft = draft
        self._body = body
        self._lines = RequestLines()
        self._rows: list[tuple[Place, Row]] = []

    def into(self, outcome: Outcome, new_tables: NewTables) -> RequestLines:
        """Read the body; its rows are added to `outcome` unless it is withdrawn."""
        mark = self._draft.mark()
        for number, line in split_lines(without_byte_order_mark(self._body.data)):
            try:
                self._read_line(number, line, new_tables)
            except LineError as error:
                self._lines.refuse(number, line, error.reason)
        if self._body.all_or_nothing and self._lines.refused_count:
            self._draft.withdraw(mark)
            self._lines.withdraw()
            return self._lines
        for place, row in self._rows:
            outcome.rows.setdefault(place, []).append(row)
            columns = outcome.columns.setdefault(place, {})
            columns.update((key, ColumnType.TAG) for key, _ in row.tags)
            columns.update((name, column) for name, (column, _) in row.fields.items())
        return self._lines

    def _read_line(self, number: int, line: bytes, new_tables: NewTables) -> None:
        parts = scalar.split_line(line)
        if parts is None:
            return
        series = scalar.parse_series(parts[0])
        new_tables.check(series.table)
        fields, time_ns, dropped = scalar.parse_fields(parts[1], self._body.precision_ns)
        keys = tuple(key for key, _ in series.tags)
        scalar.check_distinct(keys, fields)
        if time_ns is None:
            time_ns = self._body.default_time_ns
        else:
            check_time(time_ns, self._body.times)
        if self._draft.admit(series.table, keys, fields, new_tables):
            self._lines.needs_additions = True
            new_tables.begin(series.table)
        if dropped:
            self._lines.drop(number, dropped)
        self._lines.accepted += 1
        hashed = series_hash(self._namespace, series.table, series.tags)
        sequencer = sequencer_of(hashed, self._sequencers)
        self._lines.sequencers.add(sequencer)
        self._rows.append(((sequencer, series.table), Row(time_ns, series.tags, _by_bits(fields))))


def _by_bits(fields: Fields) -> dict[str, tuple[ColumnType, Any]]:
    return {
        name: (column, float(value).hex() if column is ColumnType.FLOAT else value)
        for name, (column, value) in fields.items()
    }


def found(namespace: str, parsed: ParsedBatch) -> Outcome:
    """What a parser made of a batch, its payloads decoded. AssertionError for a payload that no record would hold."""
    outcome = Outcome(parsed.requests, parsed.additions, parsed.lacking)
    for sequencer, payloads in parsed.payloads.items():
        for payload in payloads:
            assert len(payload) <= PAYLOAD_BYTES_MAX, f"a payload of {len(payload)} bytes"
            entry = decode(payload)
            assert entry.namespace == namespace, f"namespace {entry.namespace!r}, not {namespace!r}"
            for table, batch in entry.tables.items():
                outcome.rows.setdefault((sequencer, table), []).extend(_rows(batch))
                outcome.columns.setdefault((sequencer, table), {}).update(schema.columns_of(batch.schema))
    return outcome


def _rows(batch: pa.RecordBatch) -> Iterator[Row]:
    columns = schema.columns_of(batch.schema)
    tags: list[list[tuple[str, str]]] = [[] for _ in range(batch.num_rows)]
    fields: list[dict[str, tuple[ColumnType, Any]]] = [{} for _ in range(batch.num_rows)]
    for name, column in sorted(columns.items()):
        for row, value in enumerate(batch.column(name).to_pylist()):
            if value is None:
                continue
            if column is ColumnType.TAG:
                tags[row].append((name, value))
            else:
                fields[row][name] = (column, value.hex() if column is ColumnType.FLOAT else value)
    return map(Row, schema.times_ns(batch).tolist(), map(tuple, tags), fields)


def assert_equal(expected: Outcome, found: Outcome) -> None:
    """AssertionError with the first difference, in the order in which its cause would show."""
    for difference in _differences(expected, found):
        raise AssertionError(difference)


def _differences(expected: Outcome, found: Outcome) -> Iterator[str]:
    if len(expected.requests) != len(found.requests):
        yield f"{len(found.requests)} requests, not {len(expected.requests)}"
    for number, (wanted, got) in enumerate(zip(expected.requests, found.requests, strict=False)):
        yield from _request_differences(f"body {number}", wanted, got)
    yield from _mapping_differences("additions", expected.additions, found.additions)
    yield from _mapping_differences("lacking", expected.lacking, found.lacking)
    for place in expected.rows | found.rows:
        where = f"sequencer {place[0]}, table {_short(place[1])}"
        yield from _row_differences(where, expected.rows.get(place, []), found.rows.get(place, []))
    yield from _mapping_differences("columns", expected.columns, found.columns)


def _request_differences(where: str, expected: RequestLines, found: RequestLines) -> Iterator[str]:
    for name in ("refused", "dropped"):
        yield from _list_differences(f"{where}: {name}", getattr(expected, name), getattr(found, name))
    for one in fields(RequestLines):
        wanted, got = getattr(expected, one.name), getattr(found, one.name)
        if wanted != got:
            yield f"{where}: {one.name} is {_short(got)}, not {_short(wanted)}"


def _row_differences(where: str, expected: list[Row], found: list[Row]) -> Iterator[str]:
    for number, (wanted, got) in enumerate(zip(expected, found, strict=False)):
        if wanted.time_ns != got.time_ns:
            yield f"{where}: time_ns of row {number} is {got.time_ns}, not {wanted.time_ns}"
        if wanted.tags != got.tags:
            yield f"{where}: tags of row {number} is {_short(got.tags)}, not {_short(wanted.tags)}"
        if wanted.fields != got.fields:
            yield from _mapping_differences(f"{where}: fields of row {number}", wanted.fields, got.fields)
    if len(expected) != len(found):
        yield f"{where}: {len(found)} rows, not {len(expected)}"


def _list_differences(where: str, expected: Sequence[Any], found: Sequence[Any]) -> Iterator[str]:
    for number, (wanted, got) in enumerate(zip(expected, found, strict=False)):
        if wanted != got:
            yield f"{where}[{number}] is {_short(got)}, not {_short(wanted)}"
    if len(expected) != len(found):
        yield f"{where}: {len(found)}, not {len(expected)}"


def _mapping_differences(where: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> Iterator[str]:
    for name in {**expected, **found}:
        wanted, got = expected.get(name), found.get(name)
        if wanted != got:
            yield f"{where}[{_short(name)}] is {_short(got)}, not {_short(wanted)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:150]} … {text[-100:]}"
