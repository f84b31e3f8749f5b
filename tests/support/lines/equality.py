"""Batches held equal to the model: one alone, or by seed one after another in a parser that keeps its state."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from common.catalog.table_schema import COLUMNS_MAX, NO_SCHEMA, TableSchema
from common.values.schema import Columns, ColumnType
from router.parsing.batch import BatchParser
from router.parsing.messages import Body
from router.parsing.schemas import KnownSchemas, Schemas
from tests.support.lines.grammar import Grammar
from tests.support.lines.smaller import smaller
from tests.support.reference_batch import Outcome, assert_equal, expected, found

NAMESPACES = ("ns", "bücher", "n" * 200)
NASTINESS = (0, 0, 0.003, 0.03, 0.2, 0.6, 1)

MakeParser = Callable[[int], BatchParser]
"""A parser for so many sequencers."""


@dataclass(slots=True)
class Tally:
    """What a run covered."""

    batches: int = 0
    bodies: int = 0
    lines: int = 0
    refused: int = 0
    rows: int = 0

    def count(self, outcome: Outcome) -> None:
        self.batches += 1
        self.bodies += len(outcome.requests)
        self.lines += outcome.line_count
        self.refused += sum(lines.refused_count for lines in outcome.requests)
        self.rows += sum(map(len, outcome.rows.values()))

    def add(self, other: "Tally") -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def __str__(self) -> str:
        return (
            f"{self.lines} lines of {self.bodies} bodies in {self.batches} batches, "
            f"{self.refused} of them refused, {self.rows} rows"
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """What a parser is given. known: what it knows already. news: what it is given with the bodies. refused_tables:
    those that are not to be made, with the reason."""

    namespace: str
    sequencers: int
    bodies: Sequence[Body]
    news: Schemas = field(default_factory=dict)
    known: Schemas = field(default_factory=dict)
    refused_tables: Mapping[str, str] = field(default_factory=dict)

    def schemas(self) -> Schemas:
        """All that the parser knows when it reads the bodies."""
        both = KnownSchemas()
        both.learn(self.namespace, self.known)
        both.learn(self.namespace, self.news)
        return both.known(self.namespace)

    def expected(self) -> Outcome:
        """What the model makes of it."""
        return expected(self.namespace, self.sequencers, self.schemas(), self.bodies, self.refused_tables)


class Different(AssertionError):
    """A parser's outcome is not the model's."""

    def __init__(self, batch: Batch, make: MakeParser, difference: AssertionError) -> None:
        super().__init__(str(difference))
        self.batch = batch
        self._make = make

    def report(self) -> str:
        """The difference with a small input that makes one in a new parser, if it does."""
        bodies = self._smaller()
        if bodies is None:
            return f"{self}\nnot in a parser that is new: what it was given before counts"
        tables = {table: schema for table, schema in self.batch.schemas().items() if _name(bodies, table)}
        refused = f" and refused tables {dict(self.batch.refused_tables)}" if self.batch.refused_tables else ""
        return f"{self}\nsmall input, with known schemas {tables}{refused}:\n" + "\n".join(map(repr, bodies))

    def _smaller(self) -> Sequence[Body] | None:
        batch = self.batch

        def fails(bodies: Sequence[Body]) -> bool:
            try:
                check(replace(batch, bodies=bodies), self._make)
            except Different:
                return True
            return False

        return smaller(batch.bodies, fails) if fails(batch.bodies) else None


def _name(bodies: Sequence[Body], table: str) -> bool:
    return any(table.encode() in body.data.replace(b"\\", b"") for body in bodies)


def check(batch: Batch, make: MakeParser = BatchParser, parser: BatchParser | None = None) -> Outcome:
    """The model's outcome. Raises Different. parser: one that knows `batch.known` already, else a new one is made."""
    model = batch.expected()
    news = batch.news if parser else batch.schemas()
    parser = parser or make(batch.sequencers)
    try:
        parsed = parser.parse(batch.namespace, batch.bodies, news, refused_tables=batch.refused_tables)
        assert_equal(model, found(batch.namespace, parsed))
    except AssertionError as difference:
        raise Different(batch, make, difference) from None
    return model


def run(seed: int, lines: int, make: MakeParser = BatchParser) -> Tally:
    """Batches until about so many lines are covered. Raises Different."""
    rng = random.Random(seed)
    tally = Tally()
    while tally.lines < lines:
        _Life(rng, make).go_on(tally, min(lines, tally.lines + rng.choice((100, 1_000, 10_000))))
    return tally


class _Life:
    """One parser and what it is given, as by a router: columns that lines add are settled, sooner or later."""

    def __init__(self, rng: random.Random, make: MakeParser) -> None:
        self._rng = rng
        self._make = make
        self._sequencers = rng.choice((1, 2, 4, 7))
        self._parser = make(self._sequencers)
        self._known = KnownSchemas()
        self._settled: dict[str, dict[str, TableSchema]] = {}
        self._grammar = Grammar(rng, rng.choice(NASTINESS))

    def go_on(self, tally: Tally, lines: int) -> None:
        while tally.lines < lines:
            if self._rng.random() < 0.3:
                self._grammar = Grammar(self._rng, self._rng.choice(NASTINESS))
            batch = self._some_refused(self._next(lines - tally.lines))
            model = check(batch, self._make, self._parser)
            tally.count(model)
            self._known.learn(batch.namespace, batch.news)
            self._settle(batch.namespace, model.additions)

    def _next(self, room: int) -> Batch:
        rng = self._rng
        namespace = NAMESPACES[0] if rng.random() < 0.8 else rng.choice(NAMESPACES)
        sizes = [rng.choice((0, 1, 1, 2, 5, 20, 100, 300)) for _ in range(rng.choice((1, 1, 2, 3, 8)))]
        if rng.random() < 0.05:
            sizes.append(rng.choice((1_000, 4_000)))
        bodies = [self._grammar.body(min(size, room + 1)) for size in sizes]
        settled = self._settled.get(namespace, {})
        news = {table: schema for table, schema in settled.items() if rng.random() < 0.7}
        return Batch(namespace, self._sequencers, bodies, news, self._known.known(namespace))

    def _some_refused(self, batch: Batch) -> Batch:
        """Now and then some of the tables that it would make are not to be: the namespace is full."""
        if self._rng.random() < 0.8:
            return batch
        new = sorted(set(batch.expected().additions) - set(batch.schemas()))
        return replace(batch, refused_tables={table: "no room" for table in new if self._rng.random() < 0.5})

    def _settle(self, namespace: str, additions: Mapping[str, Columns]) -> None:
        """Most of what was added is settled, some of it by somebody else with another type."""
        settled = self._settled.setdefault(namespace, {})
        for table, columns in additions.items():
            if self._rng.random() < 0.3:
                continue
            before = settled.get(table, NO_SCHEMA)
            others = {
                name: self._rng.choice([*ColumnType]) if self._rng.random() < 0.03 else column
                for name, column in columns.items()
            }
            both = {**before.columns, **others, **before.columns}
            settled[table] = TableSchema(before.version + 1, dict(list(both.items())[:COLUMNS_MAX]))
