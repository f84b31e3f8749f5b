"""The bodies of one or more requests of one namespace, turned into payloads for the sequencers they touch.

Lines are taken in order of the bodies. Each is parsed, checked against the schemas (those settled, and what earlier
accepted lines of the batch would add), and put on its series' sequencer; a refused line leaves no trace but its reason.
Nothing here is final until the additions are settled: if the store decides otherwise, the batch is parsed again.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.errors import Unavailable
from common.ids import SequencerId
from common.schema import Columns
from router.entries import encode_entries
from router.lineprotocol import scalar
from router.lineprotocol.lines import split_lines
from router.lineprotocol.point import LineError
from router.rows import SequencerRows
from router.schema_gate import Draft, NewTables, Schemas
from router.series_cache import SeriesCache

REFUSED_SHOWN_MAX = 100
"""Refused lines of one request that are told in full; the rest is counted."""

_LINE_START_CHARS = 20
_LINES_BETWEEN_CHECKS = 256
"""A fraction of a millisecond of parsing."""


@dataclass(frozen=True, slots=True)
class Body:
    """One request's lines. default_time_ns: the time of lines that name none. precision_ns: of those that do."""

    data: bytes
    precision_ns: int
    default_time_ns: int


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """number: from 1. start: the line's first characters."""

    number: int
    reason: str
    start: str


@dataclass(slots=True)
class RequestLines:
    """What became of one body. refused: the first REFUSED_SHOWN_MAX of `refused_count`."""

    accepted: int = 0
    refused_count: int = 0
    refused: list[RefusedLine] = field(default_factory=list)
    sequencers: set[SequencerId] = field(default_factory=set)
    needs_additions: bool = False

    def refuse(self, number: int, line: bytes, reason: str) -> None:
        self.refused_count += 1
        if len(self.refused) < REFUSED_SHOWN_MAX:
            start = line[: 4 * _LINE_START_CHARS].decode(errors="replace")[:_LINE_START_CHARS]
            self.refused.append(RefusedLine(number, reason, start))


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """payloads: entries by sequencer, in order. requests: one for each body, in order.

    additions: columns that accepted lines need and that are not settled yet, by table.
    """

    payloads: Mapping[SequencerId, Sequence[bytes]]
    requests: Sequence[RequestLines]
    additions: Mapping[str, Columns]


class BatchParser:
    """Parses batches; remembers series between them. For one thread."""

    def __init__(self, sequencers: int) -> None:
        self._series = SeriesCache(sequencers)

    def parse(
        self, namespace: str, bodies: Sequence[Body], schemas: Schemas, cancelled: threading.Event | None = None
    ) -> ParsedBatch:
        """Raises Unavailable soon after `cancelled` is set."""
        batch = _Batch(namespace, schemas, self._series, cancelled or threading.Event())
        requests = [batch.take(body) for body in bodies]
        return ParsedBatch(batch.finish(), requests, batch.draft.additions)


class _Batch:
    """One batch while it is parsed."""

    def __init__(self, namespace: str, schemas: Schemas, series: SeriesCache, cancelled: threading.Event) -> None:
        self.draft = Draft(schemas)
        self._schemas = schemas
        self._cancelled = cancelled
        self._namespace = namespace
        self._series = series
        self._rows: dict[SequencerId, SequencerRows] = {}
        self._payloads: dict[SequencerId, list[bytes]] = {}

    def take(self, body: Body) -> RequestLines:
        lines = RequestLines()
        new_tables = NewTables(self._schemas)
        for count, (number, line) in enumerate(split_lines(body.data)):
            if count % _LINES_BETWEEN_CHECKS == 0:
                self._check_wanted()
            try:
                self._take_line(line, body, lines, new_tables)
            except LineError as error:
                lines.refuse(number, line, error.reason)
        return lines

    def finish(self) -> Mapping[SequencerId, Sequence[bytes]]:
        for sequencer in list(self._rows):
            self._encode(sequencer)
        return self._payloads

    def _take_line(self, line: bytes, body: Body, lines: RequestLines, new_tables: NewTables) -> None:
        parts = scalar.split_line(line)
        if parts is None:
            return
        series = self._series.place(self._namespace, parts[0], new_tables.check)
        fields, time_ns = scalar.parse_fields(parts[1], body.precision_ns)
        scalar.check_distinct(series.tags, fields)
        if self.draft.admit(series.table, series.tags, fields):
            lines.needs_additions = True
            new_tables.begin(series.table)
        lines.accepted += 1
        lines.sequencers.add(series.sequencer)
        rows = self._rows.get(series.sequencer)
        if rows is None:
            rows = self._rows[series.sequencer] = SequencerRows()
        rows.add(series, fields, body.default_time_ns if time_ns is None else time_ns, len(line))
        if rows.is_full:
            self._encode(series.sequencer)

    def _check_wanted(self) -> None:
        if self._cancelled.is_set():
            raise Unavailable("parsing was given up: nobody waits for these lines any longer")

    def _encode(self, sequencer: SequencerId) -> None:
        self._check_wanted()
        batches = self._rows.pop(sequencer).batches()
        self._payloads.setdefault(sequencer, []).extend(encode_entries(self._namespace, batches))
