"""The router's core and the columns that a write needs: known, new, and settled otherwise by another router."""

import pickle

import pytest

from common.catalog.schema_store import settled_tables
from common.catalog.table_schema import COLUMNS_MAX, TableSchema
from common.entry import decode
from common.values.errors import DataCorrupt, Unavailable
from common.values.schema import Columns, ColumnType
from router.core.events import (
    Append,
    Parse,
    Settle,
    SettleFailed,
)
from router.core.outcome import Failed, LinesRefused, PartlyStored, Stored
from router.parsing.draft import NEW_TABLES_MAX
from tests.support.router_core import AWAY, Steps, every, only, outcomes, statuses


def test_known_columns_need_no_store() -> None:
    """Once settled, columns are appended without asking the store again, also in another table of the batch."""
    steps = Steps()
    steps.learn("t f=1")
    assert every(steps.parsed(only(steps.arrive("t f=2"), Parse)), Append)


def test_a_type_that_another_router_settled_first_is_checked_again() -> None:
    """When the store decides otherwise the batch is parsed again: lines that do not fit are refused, others stored."""
    steps = Steps()
    settle = only(steps.parsed(only(steps.arrive("t f=1i,g=1\nt g=2"), Parse)), Settle)
    steps.settle_elsewhere("t", {"f": ColumnType.FLOAT})
    again = only(steps.settled(settle), Parse)
    assert again.news["t"].columns == {"f": ColumnType.FLOAT}
    settle = only(steps.parsed(again), Settle)
    assert settle.additions == {"t": {"g": ColumnType.FLOAT}}
    append = only(steps.settled(settle), Append)
    (record,) = append.records
    assert decode(record.payload).tables["t"].column("g").to_pylist() == [2.0]
    outcome = outcomes(steps.appended(append))[1]
    assert isinstance(outcome, PartlyStored)
    assert [line.number for line in outcome.lines.refused] == [1]


def settled_elsewhere(**tables: Columns) -> Steps:
    """A router that knows nothing, as after a start, of a cluster that has `tables`."""
    steps = Steps(sequencers=1)
    for table, columns in tables.items():
        steps.settle_elsewhere(table, columns)
    return steps


def test_a_refused_line_leaves_no_column() -> None:
    """Its type conflicts with a column that this router had not read yet; its other columns are not settled."""
    steps = settled_elsewhere(m={"a": ColumnType.FLOAT})
    outcome = steps.outcome_of("m a=t,zz=1\nm a=2,b=1")
    assert isinstance(outcome, PartlyStored)
    assert [line.number for line in outcome.lines.refused] == [1]
    assert steps.columns_of("m") == {"a": ColumnType.FLOAT, "b": ColumnType.FLOAT}


def test_a_line_that_would_be_over_the_columns_of_a_table_leaves_none() -> None:
    """The table has nearly as many as it may have; of two new columns in one line none is settled."""
    columns = {f"c{number}": ColumnType.FLOAT for number in range(COLUMNS_MAX - 1)}
    steps = settled_elsewhere(m=columns)
    outcome = steps.outcome_of("m x=1,y=1\nm z=1")
    assert isinstance(outcome, PartlyStored)
    assert [line.number for line in outcome.lines.refused] == [1]
    assert steps.columns_of("m") == columns | {"z": ColumnType.FLOAT}


@pytest.mark.parametrize("body", ["m b=1\nn a=t", "n a=t\nm b=1", "new b=1\nn a=t"])
def test_a_request_that_is_all_or_nothing_leaves_no_column_in_any_table(body: str) -> None:
    """One of its tables has another type; those of the others that are free are not settled either."""
    tables = {"m": {"a": ColumnType.FLOAT}, "n": {"a": ColumnType.FLOAT}}
    steps = settled_elsewhere(**tables)
    assert isinstance(steps.outcome_of(body, all_or_nothing=True), LinesRefused)
    assert {found.table: schema.columns for found, schema in settled_tables(steps.store).items()} == tables


def test_without_the_schema_store_known_columns_go_on_and_nothing_of_the_others_is_appended() -> None:
    """A request that needs an unknown column is 503 and leaves no row; its neighbours in the batch are stored."""
    steps = Steps(sequencers=1)
    steps.learn("t f=1")
    first = only(steps.arrive("#"), Parse)
    for body in ("t f=2", "t f=3\nt new=1", "t new=2i\nt f=4", "t f=5\nbad"):
        steps.arrive(body)
    settle = every(steps.parsed(every(steps.parsed(first), Parse)[0]), Settle)[0]
    failed = steps.step(SettleFailed(settle.batch_id, Unavailable("the store is away"), {}))
    assert statuses(failed) == {4: 503}
    append_or_settle = steps.parsed(every(failed, Parse)[0])
    again = only(append_or_settle, Settle)  # `new` is an integer now that the line which said float is gone
    failed = steps.step(SettleFailed(again.batch_id, Unavailable("the store is away"), {}))
    assert statuses(failed) == {5: 503}
    append = only(steps.parsed(every(failed, Parse)[0]), Append)
    (record,) = append.records
    assert decode(record.payload).tables["t"].column("f").to_pylist() == [2.0, 5.0]
    assert statuses(steps.appended(append)) == {3: 204, 6: 400}


def test_tables_settled_before_the_store_went_away_are_kept() -> None:
    """What was settled before the error is known from then on, so that a client's next try needs less."""
    steps = Steps()
    settle = only(steps.parsed(only(steps.arrive("t f=1\nu f=1"), Parse)), Settle)
    settled = {"t": TableSchema(1, {"f": ColumnType.FLOAT})}
    assert statuses(steps.step(SettleFailed(settle.batch_id, AWAY, settled))) == {1: 503}
    assert only(steps.parsed(only(steps.arrive("t f=1"), Parse)), Append)


def test_a_corrupt_schema_file_fails_the_request() -> None:
    """An error that no retry cures is not called one."""
    steps = Steps()
    settle = only(steps.parsed(only(steps.arrive("t f=1"), Parse)), Settle)
    error = DataCorrupt("schema/x")
    assert outcomes(steps.step(SettleFailed(settle.batch_id, error, {})))[1] == Failed(error)


def forgetful(*bodies: str, **limits: int) -> Steps:
    """Steps that know the columns of `bodies`, with a parser that was sent all of it and has then been restarted."""
    steps = Steps(**limits)
    for body in bodies:
        steps.learn(body)
    for append in every(steps.parsed(only(steps.arrive(bodies[-1]), Parse)), Append):
        steps.appended(append)
    steps.restart_parser()
    return steps


def test_a_parser_that_forgot_everything_needs_no_store_and_learns_again() -> None:
    """What it asks for is known here: the rows are appended at once, and its next batch brings the schemas."""
    steps = forgetful("t,host=a f=1")
    parse = only(steps.arrive("t,host=a f=2"), Parse)
    assert parse.news == {}
    append = only(steps.parsed(parse), Append)
    assert statuses(steps.appended(append)) == {3: 204}
    assert only(steps.arrive("t,host=a f=3"), Parse).news["t"].columns == {
        "host": ColumnType.TAG,
        "f": ColumnType.FLOAT,
    }


def test_a_parser_that_lacked_schemas_and_refused_is_asked_again_with_them() -> None:
    """It may have refused the wrong line: with the schemas the first one is refused, and the second is not."""
    steps = forgetful("t f=1")
    again = only(steps.parsed(only(steps.arrive("t f=2i\nt f=2.5"), Parse)), Parse)
    assert again.news["t"].columns == {"f": ColumnType.FLOAT}
    append = only(steps.parsed(again), Append)
    outcome = outcomes(steps.appended(append))[3]
    assert isinstance(outcome, PartlyStored)
    assert [line.number for line in outcome.lines.refused] == [1]


def test_tables_that_only_the_parser_took_for_new_are_not_refused() -> None:
    """More known tables in one request than there may be new ones, at a parser that knows none: all are stored."""
    known = ["\n".join(f"t{number + start} f=1" for number in range(NEW_TABLES_MAX)) for start in (0, NEW_TABLES_MAX)]
    steps = forgetful(*known, in_flight=10**6, batch=10**6)
    body = "\n".join(f"t{number} f=2" for number in range(2 * NEW_TABLES_MAX))
    parse = only(steps.arrive(body, all_or_nothing=True), Parse)
    while not (appends := every(actions := steps.parsed(parse), Append)):
        parse = only(actions, Parse)
    answered = [action for append in appends for action in steps.appended(append)]
    outcome = outcomes(answered)[4]
    assert isinstance(outcome, Stored)
    assert outcome.lines.accepted == 2 * NEW_TABLES_MAX


def test_a_column_that_is_new_to_all_is_settled_though_the_parser_lacked_others() -> None:
    """One known and one new column, at a parser that knows neither: only the new one is asked for."""
    steps = forgetful("t f=1")
    again = only(steps.parsed(only(steps.arrive("t f=2,g=2"), Parse)), Parse)
    settle = only(steps.parsed(again), Settle)
    assert settle.additions == {"t": {"g": ColumnType.FLOAT}}
    assert settle.cached["t"].version == 1


def test_what_goes_to_a_parser_is_small_and_crosses_processes() -> None:
    """A Parse and its event pickle, and a Parse is as large in a namespace of many tables as in one of few."""
    few, many = Steps(in_flight=10**6), Steps(in_flight=10**6)
    few.learn("t,host=a f=1")
    many.learn("\n".join(["t,host=a f=1", *(f"t{number} a=1,b=2,c=3" for number in range(900))]))
    parses = [only(steps.arrive("t,host=a f=2"), Parse) for steps in (few, many)]
    first, second = (pickle.dumps(parse) for parse in parses)
    news = [pickle.dumps(parse.news) for parse in parses]
    assert len(first) - len(news[0]) == len(second) - len(news[1])
    for steps, parse in zip((few, many), parses, strict=True):
        event = steps.parser.parse(pickle.loads(pickle.dumps(parse)))
        assert pickle.loads(pickle.dumps(event)) == event
        for append in every(steps.step(event), Append):
            steps.appended(append)
    first, second = (pickle.dumps(only(steps.arrive("t,host=a f=3"), Parse)) for steps in (few, many))
    assert len(first) == len(second) < 500


def test_a_request_that_is_all_or_nothing_is_withdrawn_for_one_bad_line() -> None:
    """Its good lines are not appended and its columns not settled; its neighbours in the batch are stored."""
    steps = Steps(sequencers=1)
    steps.learn("t f=1")
    first = only(steps.arrive("#"), Parse)
    steps.arrive("t f=2\nt new=1\nbad", all_or_nothing=True)
    steps.arrive("t f=3\nbad")
    actions = steps.parsed(every(steps.parsed(first), Parse)[0])
    (append,) = every(actions, Append)
    (record,) = append.records
    assert decode(record.payload).tables["t"].column("f").to_pylist() == [3.0]
    outcome = outcomes(actions)[3]
    assert isinstance(outcome, LinesRefused)
    assert (outcome.lines.withdrawn, outcome.lines.refused_count) == (2, 1)
    assert statuses(steps.appended(append)) == {4: 400}


def test_a_type_that_another_router_settled_withdraws_a_request_that_is_all_or_nothing() -> None:
    """It was good when it was parsed; once the store has decided otherwise nothing of it is stored."""
    steps = Steps()
    settle = only(steps.parsed(only(steps.arrive("t f=1i,g=1\nt g=2", all_or_nothing=True), Parse)), Settle)
    steps.settle_elsewhere("t", {"f": ColumnType.FLOAT})
    actions = steps.parsed(only(steps.settled(settle), Parse))
    assert isinstance(outcomes(actions)[1], LinesRefused)
    assert not every(actions, Append)
