"""The router's core under any order of events and failures."""

from collections.abc import Sequence

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
    tables_max = data.draw(st.integers(0, 3), "tables at most, 0 is any number")
    steps = Steps(in_flight=2_000, batch=40, slots=data.draw(st.integers(1, 3)), sequencers=3, tables_max=tables_max)
    todo: list[Action] = []
    outcomes_of: dict[int, Outcome] = {}
    asked: dict[int, list[int]] = {}
    durable: set[tuple[int, int]] = set()
    bodies: dict[int, str] = {}
    withdrawable: set[int] = set()
    without_sync: set[int] = set()
    appended: set[int] = set()
    refused_of: dict[int, set[str]] = {}
    theirs: set[Column] = set()

    def follow(actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Respond):
                assert action.request_id not in outcomes_of
                outcomes_of[action.request_id] = action.outcome
            elif isinstance(action, Append):
                sequences = [record.headers.producer_sequence for record in action.records]
                asked.setdefault(action.sequencer, []).extend(sequences)
                appended.update(requests_in(action))
                assert set().union(*[decode(one.payload).tables for one in action.records]) <= tables_of(steps)
                todo.append(action)
            elif not isinstance(action, Cancel | Finished | Stopped):
                todo.append(action)

    def perform(action: Action) -> list[Action]:
        match action:
            case Parse():
                fate = data.draw(st.integers(0, 5), "the parser is restarted at 0, dies at 1")
                if fate == 1:
                    return steps.step(ParseFailed(action.batch_id, DIED, parser_died=True))
                if fate == 0:
                    steps.restart_parser()
                return steps.parsed(action)
            case Settle(batch_id, _, additions) if data.draw(st.booleans(), "settles"):
                assert refused_of.get(batch_id, set()).isdisjoint(additions), "asked again for a table it was refused"
                actions = steps.settled(action)
                for parse in every(actions, Parse):
                    refused_of.setdefault(batch_id, set()).update(parse.refused_tables)
                return actions
            case Settle(batch_id):
                return steps.step(SettleFailed(batch_id, AWAY, {}))
            case Append(_, sequencer, records) if data.draw(st.booleans(), "appends"):
                durable.update((sequencer, record.headers.producer_sequence) for record in records)
                return steps.appended(action, max(record.headers.producer_sequence for record in records))
            case Append():
                return steps.append_failed(action)
            case Linger():
                return steps.step(Lingered())
        raise AssertionError(action)

    def settle_elsewhere(may_be_new: bool) -> None:
        table = data.draw(st.sampled_from("tuvw"), "another router settles columns of")
        if may_be_new or table in tables_of(steps):
            before = columns_of(steps)
            names = data.draw(st.sets(st.sampled_from(["f", "g", "new", "x", "y"]), min_size=1), "named")
            steps.settle_elsewhere(table, {name: data.draw(st.sampled_from(TYPES)) for name in sorted(names)})
            theirs.update(columns_of(steps) - before)

    for number in range(data.draw(st.integers(0, 2), "tables that are settled before this router starts")):
        settle_elsewhere(may_be_new=not tables_max or number < tables_max)
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans(), "arrives") or not todo:
            lines = data.draw(st.lists(LINES, min_size=1, max_size=3))
            body = "\n".join(f"{line} {steps.requests + 1}" for line in lines)
            whole = data.draw(st.booleans(), "all or nothing")
            no_sync = data.draw(st.booleans(), "no sync")
            client = data.draw(st.sampled_from("ab"), "client")
            actions = steps.arrive(body, client=client, all_or_nothing=whole, no_sync=no_sync)
            withdrawable |= {steps.requests} if whole else set()
            without_sync |= {steps.requests} if no_sync else set()
            bodies[steps.requests] = body
            follow(actions)
        elif data.draw(st.integers(0, 5), "another router settles at 0") == 0:
            settle_elsewhere(may_be_new=not tables_max)
        elif data.draw(st.booleans(), "expires"):
            follow(steps.step(Expired(data.draw(st.integers(1, steps.requests)), LATE)))
        else:
            follow(perform(todo.pop(data.draw(st.integers(0, len(todo) - 1)))))
    follow(steps.step(Stop()))
    while todo:
        follow(perform(todo.pop(data.draw(st.integers(0, len(todo) - 1)))))
    assert outcomes_of.keys() == bodies.keys()
    assert steps.admission.bytes_held == 0
    for sequences in asked.values():
        assert sequences == list(range(len(sequences)))
    assert not tables_max or len(tables_of(steps)) <= tables_max
    for request_id, outcome in outcomes_of.items():
        if isinstance(outcome, Retry) and LATE in outcome.error.message:
            assert (outcome.error.written == "unknown") >= (request_id in appended)
        if isinstance(outcome, Stored | PartlyStored | LinesRefused):
            check_lines(outcome, bodies[request_id], request_id in withdrawable)
            check_durable(outcome, durable, has_token=request_id not in without_sync)
            check_tables(outcome, bodies[request_id], tables_of(steps), tables_max)
    ours = [wanted_by(outcome, bodies[request_id]) for request_id, outcome in outcomes_of.items()]
    assert columns_of(steps) <= theirs.union(*ours)


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


def check_lines(outcome: Stored | PartlyStored | LinesRefused, body: str, is_withdrawable: bool) -> None:
    """Every line is accounted for, and none of a body that is all or nothing is left out."""
    assert outcome.lines.count == len([line for line in body.split("\n") if not line.startswith("#")])
    assert not (is_withdrawable and isinstance(outcome, PartlyStored))


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
