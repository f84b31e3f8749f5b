"""The router's core under any order of events and failures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalog.schema_store import settled_tables
from common.entry import decode
from common.values.errors import PenstockError
from common.values.schema import ColumnType
from router.core.events import (
    Action,
    Append,
    Cancel,
    Expired,
    Finished,
    Linger,
    Lingered,
    Parse,
    ParseFailed,
    Respond,
    Settle,
    SettleFailed,
    Stop,
    Stopped,
)
from router.core.outcome import LinesRefused, Outcome, PartlyStored, Retry, Stored
from router.parsing.batch import BatchParser
from router.parsing.messages import Body
from tests.support.router_core import AWAY, LATE, Steps, every, last_offsets

T = TypeVar("T")

Column = tuple[str, str, ColumnType]
"""A settled column: table, name, type."""

TYPES = [ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.TAG]

DIED = PenstockError("the process that parsed this body was ended")

LINES = st.sampled_from(
    [
        *["t,host=a f=1", "t,host=b f=2", "t,host=c f=3", "t,host=d new=1", "u x=1i", "u x=1", "v x=1", "w x=1"],
        *["t,host=a f=1i,g=1", "u x=1,y=1", "u x=1i,z=1", "v,x=a y=1"],
        *["bad", "#", "t f="],
    ]
)


@settings(max_examples=150)
@given(st.data())
def test_under_any_schedule_each_request_is_answered_once_and_truthfully(data: st.DataObject) -> None:
    """In any order, with any failures: one answer each, 204 only for durable rows, sequences in order, nothing of a
    request that expired before is appended, no row of a table that is not settled, no table over the limit, and no
    column of a refused line is settled."""
    schedule = Schedule(data)
    schedule.run()
    schedule.check()


@dataclass(frozen=True)
class Sent:
    """A request. whole: all or nothing."""

    body: str
    whole: bool
    no_sync: bool


class Schedule:
    """One order of events and failures, drawn step by step."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._tables_max: int = data.draw(st.integers(0, 3), "tables at most, 0 is any number")
        self._steps = Steps(
            in_flight=2_000,
            batch=40,
            slots=data.draw(st.integers(1, 3)),
            sequencers=3,
            tables_max=self._tables_max,
        )
        self._todo: list[Action] = []
        """What the core asked for and nobody has done yet."""
        self._sent: dict[int, Sent] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._appended: set[int] = set()
        """Requests of which an append was asked for."""
        self._sequences: dict[int, list[int]] = {}
        """Of the records whose appends were asked for, by sequencer."""
        self._durable: set[tuple[int, int]] = set()
        """Sequencer and sequence of records."""
        self._refused_tables: dict[int, set[str]] = {}
        """By batch."""
        self._theirs: set[Column] = set()
        """Columns that another router settled."""

    def run(self) -> None:
        """To the end of a stop."""
        for number in range(self._draw(st.integers(0, 2), "tables that are settled before this router starts")):
            self._settle_elsewhere(may_be_new=not self._tables_max or number < self._tables_max)
        for _ in range(self._draw(st.integers(1, 12))):
            self._go_on()
        self._follow(self._steps.step(Stop()))
        while self._todo:
            self._follow(self._perform(self._next()))

    def check(self) -> None:
        """What holds at the end."""
        assert self._outcomes.keys() == self._sent.keys()
        assert self._steps.admission.bytes_held == 0
        for sequences in self._sequences.values():
            assert sequences == list(range(len(sequences)))
        assert not self._tables_max or len(tables_of(self._steps)) <= self._tables_max
        for request_id, outcome in self._outcomes.items():
            self._check_outcome(request_id, outcome)
        ours = [wanted_by(outcome, self._sent[request_id].body) for request_id, outcome in self._outcomes.items()]
        assert columns_of(self._steps) <= self._theirs.union(*ours)

    def _check_outcome(self, request_id: int, outcome: Outcome) -> None:
        sent = self._sent[request_id]
        if isinstance(outcome, Retry) and LATE in outcome.error.message:
            assert (outcome.error.written == "unknown") >= (request_id in self._appended)
        if isinstance(outcome, Stored | PartlyStored | LinesRefused):
            check_lines(outcome, sent)
            check_durable(outcome, self._durable, has_token=not sent.no_sync)
            check_tables(outcome, sent.body, tables_of(self._steps), self._tables_max)

    def _go_on(self) -> None:
        """One event."""
        if self._draw(st.booleans(), "arrives") or not self._todo:
            self._arrive()
        elif self._draw(st.integers(0, 5), "another router settles at 0") == 0:
            self._settle_elsewhere(may_be_new=not self._tables_max)
        elif self._draw(st.booleans(), "expires"):
            self._follow(self._steps.step(Expired(self._draw(st.integers(1, self._steps.requests)), LATE)))
        else:
            self._follow(self._perform(self._next()))

    def _arrive(self) -> None:
        lines = self._draw(st.lists(LINES, min_size=1, max_size=3))
        body = "\n".join(f"{line} {self._steps.requests + 1}" for line in lines)
        sent = Sent(body, self._draw(st.booleans(), "all or nothing"), self._draw(st.booleans(), "no sync"))
        client = self._draw(st.sampled_from("ab"), "client")
        actions = self._steps.arrive(body, client=client, all_or_nothing=sent.whole, no_sync=sent.no_sync)
        self._sent[self._steps.requests] = sent
        self._follow(actions)

    def _settle_elsewhere(self, *, may_be_new: bool) -> None:
        table = self._draw(st.sampled_from("tuvw"), "another router settles columns of")
        if may_be_new or table in tables_of(self._steps):
            before = columns_of(self._steps)
            names = self._draw(st.sets(st.sampled_from(["f", "g", "new", "x", "y"]), min_size=1), "named")
            self._steps.settle_elsewhere(table, {name: self._draw(st.sampled_from(TYPES)) for name in sorted(names)})
            self._theirs.update(columns_of(self._steps) - before)

    def _follow(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Respond):
                assert action.request_id not in self._outcomes
                self._outcomes[action.request_id] = action.outcome
            elif not isinstance(action, Cancel | Finished | Stopped):
                self._todo.append(action)
            if isinstance(action, Append):
                sequences = [record.headers.producer_sequence for record in action.records]
                self._sequences.setdefault(action.sequencer, []).extend(sequences)
                self._appended.update(requests_in(action))
                tables = set().union(*[decode(record.payload).tables for record in action.records])
                assert tables <= tables_of(self._steps)

    def _perform(self, action: Action) -> Sequence[Action]:
        match action:
            case Parse():
                return self._perform_parse(action)
            case Settle():
                return self._perform_settle(action)
            case Append():
                return self._perform_append(action)
            case Linger():
                return self._steps.step(Lingered())
        raise AssertionError(action)

    def _perform_parse(self, action: Parse) -> Sequence[Action]:
        fate = self._draw(st.integers(0, 5), "the parser is restarted at 0, dies at 1")
        if fate == 1:
            return self._steps.step(ParseFailed(action.batch_id, DIED, parser_died=True))
        if fate == 0:
            self._steps.restart_parser()
        return self._steps.parsed(action)

    def _perform_settle(self, action: Settle) -> Sequence[Action]:
        if not self._draw(st.booleans(), "settles"):
            return self._steps.step(SettleFailed(action.batch_id, AWAY, {}))
        refused = self._refused_tables.setdefault(action.batch_id, set())
        assert refused.isdisjoint(action.additions), "asked again for a table it was refused"
        actions = self._steps.settled(action)
        for parse in every(actions, Parse):
            refused.update(parse.refused_tables)
        return actions

    def _perform_append(self, action: Append) -> Sequence[Action]:
        if not self._draw(st.booleans(), "appends"):
            return self._steps.append_failed(action)
        sequences = [record.headers.producer_sequence for record in action.records]
        self._durable.update((action.sequencer, sequence) for sequence in sequences)
        return self._steps.appended(action, max(sequences))

    def _next(self) -> Action:
        return self._todo.pop(self._draw(st.integers(0, len(self._todo) - 1)))

    def _draw(self, strategy: st.SearchStrategy[T], label: str | None = None) -> T:
        return self._data.draw(strategy, label)


def tables_of(steps: Steps) -> set[str]:
    """The tables that are settled by now."""
    return {found.table for found in settled_tables(steps.store)}


def columns_of(steps: Steps) -> set[Column]:
    """Every column that is settled by now."""
    tables = settled_tables(steps.store).items()
    return {(found.table, name, column) for found, schema in tables for name, column in schema.columns.items()}


def wanted_by(outcome: Outcome, body: str) -> set[Column]:
    """The columns that may be settled for a request: those of its accepted lines, or of all its lines where it was
    given up before it was known which these are.

    A namespace that has room for some of its new tables only makes these first (router/settling.py).
    """
    if not isinstance(outcome, Stored | PartlyStored | LinesRefused):
        return columns_in(body.split("\n"))
    refused = {line.number for line in outcome.lines.refused}
    lines = [line for number, line in enumerate(body.split("\n"), 1) if number not in refused]
    if not outcome.lines.withdrawn:
        return columns_in(lines)
    is_for_room = any("may have no new table" in line.reason for line in outcome.lines.refused)
    return columns_in(lines) if is_for_room else set()


def columns_in(lines: Sequence[str]) -> set[Column]:
    """Of the lines that are right, all for themselves."""
    parser = BatchParser(sequencers=1)
    parsed = [parser.parse("ns", [Body(line.encode(), 1, 0)], {}) for line in lines]
    return {
        (table, name, column)
        for one in parsed
        for table, columns in one.additions.items()
        for name, column in columns.items()
    }


def requests_in(append: Append) -> set[int]:
    """Whose rows are in it: a request's rows have its number as their time."""
    entries = [decode(record.payload) for record in append.records]
    times = [table["time"].cast("int64").to_pylist() for entry in entries for table in entry.tables.values()]
    return {request_id for column in times for request_id in column}


def check_lines(outcome: Stored | PartlyStored | LinesRefused, sent: Sent) -> None:
    """Every line is accounted for, and none of a body that is all or nothing is left out."""
    assert outcome.lines.count == len([line for line in sent.body.split("\n") if not line.startswith("#")])
    assert not (sent.whole and isinstance(outcome, PartlyStored))


def check_durable(
    outcome: Stored | PartlyStored | LinesRefused, durable: set[tuple[int, int]], has_token: bool
) -> None:
    """The token names durable records; an offset is the record's producer sequence here."""
    offsets = set(last_offsets(outcome).items())
    assert bool(offsets) == (has_token and bool(outcome.lines.accepted))
    assert offsets <= durable


def check_tables(outcome: Stored | PartlyStored | LinesRefused, body: str, settled: set[str], tables_max: int) -> None:
    """Only a full namespace refuses tables, and those that were refused do not exist: it never has room again."""
    for line in outcome.lines.refused:
        if "may have no new table" in line.reason:
            assert len(settled) == tables_max
            assert body.split("\n")[line.number - 1][0] not in settled
