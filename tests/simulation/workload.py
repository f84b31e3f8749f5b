"""What comes into the buffer: the clients' batches, and records that no router of ours would append."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.entry import Entry, encode
from common.values.schema import DAY_NS
from router.core.outcome import LinesRefused, Outcome, PartlyStored, Stored
from tests.simulation.chaos import SimulationFailure
from tests.simulation.model import Key, ModelRecord, SequencerModel, keyed, line_of
from tests.support.records import DAY0_NS, Row, batch
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

NAMESPACES = ("metrics", "other")
TABLES = ("cpu", "mem", "none")
"""`none` has no tags: all its rows are one series."""

TIMES = 10
"""Distinct times of a day, so that keys are overwritten, within a batch, a record and across files."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of line protocol. Every one of its field values holds its number, so that a row says where it is from.
    is_bad: no router may accept it."""

    number: int
    namespace: str
    table: str
    row: Row
    is_bad: bool = False

    def text(self) -> str:
        tags = "".join(f",{name}={value}" for name, value in sorted(self.row.tags.items()))
        fields = ",".join(f"{name}={_value(value)}" for name, value in self.row.fields.items())
        return f"{self.table}{tags} {'=' if self.is_bad else ''}{fields} {self.row.time_ns}"

    def keyed(self) -> tuple[Key, Mapping[str, Any]]:
        return keyed(self.namespace, self.table, self.row)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value}i" if isinstance(value, int) else repr(value)


@dataclass(slots=True)
class Clients:
    """Everything that was ever sent. waiting: lines of the requests not answered yet, by request id."""

    rng: random.Random
    sent: dict[int, Line] = field(default_factory=dict)
    waiting: dict[int, Sequence[Line]] = field(default_factory=dict)
    missed: list[Sequence[Line]] = field(default_factory=list)
    """Requests whose answer was an error or never came."""
    requests: int = 0
    acknowledged: int = 0

    def next_request(self) -> tuple[int, Sequence[Line]]:
        """A new batch, or one again whose answer was missed."""
        self.requests += 1
        if self.missed and self.rng.random() < 0.2:
            lines = self.missed.pop(self.rng.randrange(len(self.missed)))
        else:
            namespace = self.rng.choices(NAMESPACES, (4, 1))[0]
            lines = [self._line(namespace) for _ in range(self.rng.randint(1, 8))]
        self.waiting[self.requests] = lines
        return self.requests, lines

    def lose(self, request_ids: Sequence[int]) -> None:
        """The router died: these are never answered."""
        for request_id in request_ids:
            self.missed.append(self.waiting.pop(request_id))

    def answered(self, request_id: int, outcome: Outcome, models: Sequence[SequencerModel]) -> None:
        """Raises SimulationFailure when a line is acknowledged that is not in the buffer."""
        lines = self.waiting.pop(request_id, None)
        if lines is None:
            raise SimulationFailure(f"request {request_id} was answered twice")
        if not isinstance(outcome, Stored | PartlyStored | LinesRefused):
            self.missed.append(lines)
            return
        if isinstance(outcome, LinesRefused):
            return
        refused = {line.number for line in outcome.lines.refused}
        last_offsets = outcome.last_offsets
        for number, line in enumerate(lines, 1):
            if number in refused:
                continue
            self.acknowledged += 1
            is_stored = any(
                offset <= last_offsets.get(model.sequencer, -1)
                for model in models
                for offset in model.offsets_of_line.get(line.number, ())
            )
            if not is_stored or line.is_bad:
                raise SimulationFailure(f"acknowledged with {dict(last_offsets)}, not in the buffer: {line}")

    def check(self, record: ModelRecord) -> None:
        """Raises SimulationFailure for a row in the buffer that nobody sent, or that was changed on the way."""
        for key, fields in record.rows:
            number = line_of(fields)
            if number not in self.sent or self.sent[number].keyed() != (key, fields):
                raise SimulationFailure(f"offset {record.offset} holds {key} {fields}; sent: {self.sent.get(number)}")

    def _line(self, namespace: str) -> Line:
        rng, number = self.rng, len(self.sent)
        table = rng.choices(TABLES, (4, 1, 1))[0]
        tags = {"host": f"h{rng.randrange(5)}"} if table != "none" else {}
        if tags and rng.random() < 0.3:
            tags["region"] = rng.choice(("eu", "us"))
        values: dict[str, Any] = {"a": number, "b": number + 0.5, "s": str(number)}
        names = rng.sample(sorted(values), rng.randint(1, 3))
        fields = {name: values[name] for name in sorted(names)}
        if rng.random() < 0.1:  # its type is that of the first write, for each table
            fields["x"] = rng.choice((number, float(number)))
        time_ns = DAY0_NS + rng.choice((0, 0, 0, 1)) * DAY_NS + rng.randrange(TIMES) * 1_000_000_000
        line = Line(number, namespace, table, Row(time_ns, tags, fields), is_bad=rng.random() < 0.02)
        self.sent[number] = line
        return line


def strange_record(rng: random.Random, model: SequencerModel, now_ns: int) -> Record:
    """A repeat of an earlier record, or one that must be put aside: broken with or without a readable entry header, or
    with a column of another type than it has."""
    kind = rng.choice(("repeat", "repeat", "broken", "noise", "type")) if model.records else "noise"
    if kind == "repeat":
        return rng.choice(model.records[-30:]).record
    if kind == "broken":
        earlier = rng.choice(model.records[-30:]).record.payload
        return Record.of(_headers(rng, now_ns), earlier[:-1] + bytes([earlier[-1] ^ 1]))
    mistyped = [table for table, columns in model.columns.items() if "a" in columns]
    if kind == "type" and mistyped:
        table = rng.choice(mistyped)
        payload = encode(Entry(table.namespace, {table.table: batch([Row(DAY0_NS, {}, {"a": "text"})])}))
        return Record.of(_headers(rng, now_ns, table.namespace), payload)
    return Record.of(_headers(rng, now_ns), rng.randbytes(rng.randrange(1, 80)))


def _headers(rng: random.Random, now_ns: int, namespace: str = NAMESPACES[0]) -> RecordHeaders:
    return RecordHeaders(ENTRY_CONTENT_TYPE, namespace, rng.randbytes(16), 0, now_ns)
