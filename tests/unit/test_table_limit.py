"""The limit of a namespace's tables: who is refused, what it costs, and what racing routers make of it."""

import itertools
import json
import pickle

import pytest

from common.catalog.schema_store import SchemaStore, settled_tables
from common.catalog.table_limit import RELIST_S, NamespaceFull, TableLimit
from common.catalog.table_schema import NO_SCHEMA, TableSchema
from common.store.objects import List, StoreCall, perform, run
from common.store.objects import Steps as StoreSteps
from common.values.clock import FakeClock
from common.values.config import RouterConfig
from common.values.errors import Misconfigured, PenstockError
from common.values.schema import ColumnType
from router.core.events import Append, Parse, Settle
from router.core.outcome import LinesRefused, PartlyStored, Stored
from router.parsing.draft import NEW_TABLES_MAX
from tests.support.dict_store import DictStore
from tests.support.router_core import Steps, every, only, outcomes, statuses
from tests.support.router_fixtures import StartRouter

COLUMNS = {"f": ColumnType.FLOAT}


class Router:
    """What one router makes of the limit."""

    def __init__(self, store: DictStore, tables_max: int, name: str = "one") -> None:
        self.clock = FakeClock()
        numbers = itertools.count()
        self.schemas = SchemaStore(lambda: f"{name} {next(numbers)}", TableLimit(tables_max, self.clock))
        self._store = store

    def settle(self, table: str, namespace: str = "ns", cached: TableSchema = NO_SCHEMA) -> TableSchema:
        return run(self.settling(table, namespace, cached), self._store)

    def settling(self, table: str, namespace: str = "ns", cached: TableSchema = NO_SCHEMA) -> StoreSteps[TableSchema]:
        newest = yield from self.schemas.look(namespace, table, cached)
        return (yield from self.schemas.settle(namespace, table, newest, COLUMNS))


def lists(store: DictStore) -> int:
    return [kind for kind, _ in store.calls].count("list")


def test_a_full_namespace_has_its_tables_and_no_further_one() -> None:
    """The reason names the namespace, its tables and the setting; another namespace has a count of its own."""
    store = DictStore()
    router = Router(store, 2)
    for table in "ab":
        router.settle(table)
    with pytest.raises(
        NamespaceFull, match=r"namespace 'ns' may have no new table: it has 2 of at most 2; .* tables_max"
    ):
        router.settle("c")
    assert router.settle("a").version == 1
    assert router.settle("c", "other").version == 1
    assert len(settled_tables(store)) == 3


def test_a_refused_table_costs_no_call_of_the_store() -> None:
    """Nor does a client that sends it again and again; a known table never needs the limit."""
    store = DictStore()
    router = Router(store, 1)
    known = router.settle("a")
    calls = len(store.calls)
    for _ in range(3):
        with pytest.raises(NamespaceFull):
            router.settle("b")
    assert len(store.calls) == calls
    router.settle("a", cached=known)
    assert lists(store) == 1


def test_many_new_tables_cost_one_listing() -> None:
    """A router lists a namespace once, and counts on from there."""
    store = DictStore()
    router = Router(store, 100)
    for number in range(100):
        router.settle(f"t{number}")
    with pytest.raises(NamespaceFull):
        router.settle("t100")
    assert lists(store) == 1


def test_without_a_limit_nothing_is_listed() -> None:
    """0 is no limit."""
    store = DictStore()
    Router(store, 0).settle("a")
    assert lists(store) == 0


def test_a_limit_below_what_exists_refuses_only_new_tables() -> None:
    """A router that starts with a lower limit writes to every table there is, found by their names of any kind."""
    store = DictStore()
    names = ["cpu", "CPU", "Größe", "x" * 500, "a/b"]
    for name in names:
        Router(store, 0).settle(name)
    router = Router(store, 2)
    for name in names:
        assert router.settle(name).version == 1
    with pytest.raises(NamespaceFull, match="it has 5 of at most 2"):
        router.settle("new")
    assert lists(store) == 1


def test_what_others_made_or_removed_is_seen_by_the_next_listing() -> None:
    """At a new table, once the list is RELIST_S old, and not before."""
    store = DictStore()
    router = Router(store, 3)
    router.settle("a")
    for table in "bc":
        Router(store, 0).settle(table)
    router.clock.advance(RELIST_S)
    with pytest.raises(NamespaceFull):
        router.settle("d")
    store.delete("schema/ns/c/0000000001.json")
    with pytest.raises(NamespaceFull):
        router.settle("d")
    router.clock.advance(RELIST_S)
    assert router.settle("d").version == 1


def test_two_routers_that_race_make_at_most_one_table_each_too_many() -> None:
    """In every order of their store calls; the one who lists after the other is refused, and what it has is kept."""
    made: set[int] = set()
    pending: list[tuple[int, ...]] = [()]
    while pending:
        schedule = pending.pop()
        store, alive = race(schedule)
        if alive:
            pending += [(*schedule, number) for number in alive]
        else:
            made.add(len(settled_tables(store)))
    assert made == {2, 3}


def race(schedule: tuple[int, ...]) -> tuple[DictStore, list[int]]:
    """Two routers, each with a new table, in a namespace with room for one of them; who is not at the end yet."""
    store = DictStore()
    Router(store, 0).settle("old")
    routers = [Router(store, 2, name) for name in ("one", "two")]
    steps = [router.settling(table) for router, table in zip(routers, "ab", strict=True)]
    calls: list[StoreCall | None] = [next(one) for one in steps]
    assert all(isinstance(call, List) for call in calls)
    for number in schedule:
        call = calls[number]
        assert call is not None
        try:
            try:
                answer = perform(call, store)
            except PenstockError as error:
                calls[number] = steps[number].throw(error)
            else:
                calls[number] = steps[number].send(answer)
        except (StopIteration, NamespaceFull):
            calls[number] = None
    return store, [number for number, call in enumerate(calls) if call is not None]


def full(*tables: str, **options: int) -> Steps:
    """A router that knows `tables`, in a namespace that has them and may have no further one."""
    steps = Steps(tables_max=len(tables), sequencers=1, **options)
    steps.learn("\n".join(f"{table} f=1" for table in tables))
    return steps


def test_lines_of_known_tables_are_stored_beside_refused_ones() -> None:
    """A request with lines of a further new table is a partial write, and says why; its neighbours are not touched."""
    steps = full("t", "u")
    first = only(steps.arrive("#"), Parse)
    steps.arrive("t f=2\nnew f=1\nu f=3\nnew,host=a g=1")
    steps.arrive("t f=4")
    settle = every(steps.parsed(every(steps.parsed(first), Parse)[0]), Settle)[0]
    again = only(steps.settled(settle), Parse)
    assert list(again.refused_tables) == ["new"]
    assert pickle.loads(pickle.dumps(again)) == again
    found = outcomes(steps.appended(only(steps.parsed(again), Append)))
    assert isinstance(found[3], PartlyStored)
    assert [one.number for one in found[3].lines.refused] == [2, 4]
    assert "namespace 'ns' may have no new table: it has 2 of at most 2; " in found[3].lines.refused[0].reason
    assert isinstance(found[4], Stored)
    assert [table for _, table in settled_tables_of(steps)] == ["t", "u"]


def settled_tables_of(steps: Steps) -> list[tuple[str, str]]:
    return [(found.namespace, found.table) for found in settled_tables(steps.store)]


def test_in_a_full_namespace_known_tables_need_no_store_and_refused_ones_do_not_either() -> None:
    """The steady state stays without I/O, whatever a client goes on sending."""
    steps = full("t")
    calls = len(steps.store.calls)
    assert isinstance(steps.outcome_of("t f=2"), Stored)
    for _ in range(3):
        assert isinstance(steps.outcome_of("t f=2\nnew f=1"), PartlyStored)
        assert isinstance(steps.outcome_of("new f=1"), LinesRefused)
    assert len(steps.store.calls) == calls


def test_new_columns_of_known_tables_are_settled_in_a_full_namespace() -> None:
    """The limit is of tables."""
    steps = full("t")
    assert isinstance(steps.outcome_of("t f=2,g=1"), Stored)


def test_a_request_that_is_all_or_nothing_is_withdrawn_for_a_refused_table() -> None:
    """None of its good lines is stored."""
    outcome = full("t").outcome_of("t f=2\nnew f=1", all_or_nothing=True)
    assert isinstance(outcome, LinesRefused)
    assert (outcome.lines.withdrawn, outcome.lines.refused_count) == (1, 1)


def test_a_request_that_is_withdrawn_for_a_refused_table_leaves_no_column() -> None:
    """Else a client in error could use up the columns of a table without one stored row."""
    steps = full("t")
    assert isinstance(steps.outcome_of("t f=2,g=1\nnew f=1", all_or_nothing=True), LinesRefused)
    assert steps.columns_of("t") == COLUMNS


def test_in_a_namespace_with_too_little_room_the_first_tables_are_made_and_no_column_of_others() -> None:
    """Nobody can say whose lines the last places are for; once they are taken the reason of the refusal is true."""
    steps = Steps(tables_max=2, sequencers=1)
    steps.learn("t f=1")
    outcome = steps.outcome_of("t f=2,g=1\nnew f=1\nnewer f=1", all_or_nothing=True)
    assert isinstance(outcome, LinesRefused)
    assert "it has 2 of at most 2" in outcome.lines.refused[0].reason
    assert [table for _, table in settled_tables_of(steps)] == ["new", "t"]
    assert steps.columns_of("t") == COLUMNS


def test_tables_that_are_refused_one_after_the_other_stay_refused_for_the_batch() -> None:
    """A line that was refused at first, and is not once another router has settled its type, brings a further one."""
    steps = full("t")
    first = only(steps.arrive("#"), Parse)
    steps.arrive("t g=1i")
    steps.arrive("t g=1\nw f=1", all_or_nothing=True)
    steps.arrive("v f=1")
    settle = every(steps.parsed(every(steps.parsed(first), Parse)[0]), Settle)[0]
    assert set(settle.additions) == {"t", "v"}
    steps.settle_elsewhere("t", {"g": ColumnType.FLOAT})
    settle = only(steps.parsed(only(steps.settled(settle), Parse)), Settle)
    assert set(settle.additions) == {"w"}
    again = only(steps.settled(settle), Parse)
    assert set(again.refused_tables) == {"v", "w"}
    assert set(outcomes(steps.parsed(again))) == {3, 4, 5}


def test_a_router_that_starts_over_a_full_namespace_finds_its_tables() -> None:
    """It knows none of them; those that exist are stored, the new one is refused."""
    steps = Steps(tables_max=2)
    for table in "tu":
        steps.settle_elsewhere(table, COLUMNS)
    outcome = steps.outcome_of("t f=1\nnew f=1\nu f=1")
    assert isinstance(outcome, PartlyStored)
    assert [one.number for one in outcome.lines.refused] == [2]


def test_a_table_that_was_refused_is_stored_once_there_is_room() -> None:
    """A refusal is remembered by nobody: neither the parser nor the core keeps the name."""
    steps = full("t")
    assert isinstance(steps.outcome_of("new f=1"), LinesRefused)
    steps.store.delete("schema/ns/t/0000000001.json")
    steps.clock.advance(RELIST_S)
    assert isinstance(steps.outcome_of("new f=1"), Stored)


def test_a_body_of_very_many_new_tables_is_asked_for_once() -> None:
    """Refused tables count as new ones of the request: those beyond that limit are not asked for in their place."""
    steps = full("t", in_flight=10**6)
    body = "\n".join(f"n{number} f=1" for number in range(3 * NEW_TABLES_MAX))
    settle = only(steps.parsed(only(steps.arrive(body), Parse)), Settle)
    assert len(settle.additions) == NEW_TABLES_MAX
    again = only(steps.settled(settle), Parse)
    found = outcomes(steps.parsed(again))[2]
    assert isinstance(found, LinesRefused)
    assert found.lines.refused_count == 3 * NEW_TABLES_MAX


def test_a_store_that_cannot_be_listed_is_503() -> None:
    """Nobody knows whether there is room: the client sends again."""
    steps = Steps(tables_max=1)
    settle = only(steps.parsed(only(steps.arrive("t f=1"), Parse)), Settle)
    steps.store.fail_reads()
    assert statuses(steps.settled(settle)) == {1: 503}


@pytest.mark.parametrize("path", ["/write?db=ns", "/api/v2/write?bucket=ns", "/api/v3/write_lp?db=ns"])
def test_each_api_names_the_limit_and_stores_the_rest(start_router: StartRouter, path: str) -> None:
    """400 with line and reason, and the rows of the other tables are durable."""
    router = start_router(tables_max=1)
    response, content = router.request("POST", path, b"t f=1 1700000000000000000\nu f=1 1700000000000000000")
    assert response.status == 400
    assert "namespace 'ns' may have no new table: it has 1 of at most 1; " in json.dumps(json.loads(content))
    metrics = router.request("GET", "/metrics")[1]
    assert b'penstock_router_schema_settles_total{result="refused"} 1.0' in metrics
    assert len(router.rows("ns", "t")) == 1
    assert router.rows("ns", "u") == []


def test_a_limit_below_0_is_refused_at_the_start() -> None:
    """The message names the setting and what may be given."""
    with pytest.raises(Misconfigured, match="tables_max is -1: give 0 or more"):
        RouterConfig(tables_max=-1)
