"""Settling columns: every interleaving of two routers, lost answers, a store that is away, corrupt files."""

import itertools
import json

import pytest

from common import objectstore
from common.cloudstore import CloudStore
from common.errors import DataCorrupt, Unavailable
from common.objectstore import AlreadyExists, Get, NotFound, PutIfAbsent, Steps, StoreCall
from common.schema import Columns, ColumnType
from router.schema_gate import Draft, SchemaGate, agree
from router.schema_store import SchemaStore
from router.table_schema import COLUMNS_MAX, NO_SCHEMA, TableSchema, from_json, to_json

FLOAT, INTEGER, TAG = ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.TAG


class Objects:
    """A store as a dict: what is performed on it is counted, and can be told to fail."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.gets = 0

    def perform(self, call: StoreCall) -> bytes:
        match call:
            case Get(path):
                self.gets += 1
                if path not in self.data:
                    raise NotFound(path)
                return self.data[path]
            case PutIfAbsent(path, data):
                if path in self.data:
                    raise AlreadyExists(path)
                self.data[path] = data
                return b""


class Running:
    """One router in the middle of its steps."""

    def __init__(self, steps: Steps[TableSchema]) -> None:
        self._steps = steps
        self.result: TableSchema | None = None
        self.call: StoreCall | None = next(steps)

    def go_on(self, objects: Objects) -> None:
        assert self.call is not None
        try:
            try:
                answer = objects.perform(self.call)
            except (NotFound, AlreadyExists) as error:
                self.call = self._steps.throw(error)
            else:
                self.call = self._steps.send(answer)
        except StopIteration as stop:
            self.result, self.call = stop.value, None

    def lose_answer(self) -> None:
        """The call under way ends without telling whether it was done."""
        self.call = self._steps.throw(Unavailable("answer lost", written="unknown"))


def schema_store() -> SchemaStore:
    numbers = itertools.count()
    return SchemaStore(nonce=lambda: f"nonce-{next(numbers)}")


def settle(objects: Objects, additions: Columns, cached: TableSchema = NO_SCHEMA) -> TableSchema:
    running = Running(schema_store().settle("ns", "t", cached, additions))
    while running.call is not None:
        running.go_on(objects)
    assert running.result is not None
    return running.result


def versions(objects: Objects) -> list[TableSchema]:
    return [from_json(data, path)[0] for path, data in sorted(objects.data.items())]


def check_history(objects: Objects) -> None:
    history = versions(objects)
    assert [schema.version for schema in history] == list(range(1, len(history) + 1))
    for earlier, later in itertools.pairwise(history):
        assert earlier.columns.items() < later.columns.items()


def test_a_new_table_gets_version_1_and_a_known_column_costs_no_write() -> None:
    """The first settle writes version 1; settling the same again writes nothing."""
    objects = Objects()
    assert settle(objects, {"a": FLOAT}) == TableSchema(1, {"a": FLOAT})
    assert settle(objects, {"a": FLOAT}) == TableSchema(1, {"a": FLOAT})
    assert list(objects.data) == ["schema/ns/t/0000000001.json"]


def test_an_existing_type_wins_and_the_rest_is_added() -> None:
    """A name that is settled keeps its type; the free names of the same settle are added beside it."""
    objects = Objects()
    settle(objects, {"a": FLOAT})
    settled = settle(objects, {"a": INTEGER, "b": TAG})
    assert settled.columns == {"a": FLOAT, "b": TAG}
    assert not agree({"t": settled}, {"t": {"a": INTEGER, "b": TAG}})
    assert agree({"t": settled}, {"t": {"b": TAG}})


@pytest.mark.parametrize(
    ("left", "right"),
    [({"a": FLOAT}, {"a": INTEGER}), ({"a": FLOAT}, {"b": TAG}), ({"a": FLOAT, "b": TAG}, {"b": FLOAT, "c": TAG})],
)
@pytest.mark.parametrize("existing", [0, 1, 2])
def test_every_interleaving_of_two_routers_settles_one_history(left: Columns, right: Columns, existing: int) -> None:
    """Whatever the order of their store calls, versions stay dense and growing, and both routers end on one truth."""
    schedules = 0
    pending: list[tuple[int, ...]] = [()]
    while pending:
        schedule = pending.pop()
        objects, routers = play(schedule, (left, right), existing)
        alive = [number for number, router in enumerate(routers) if router.call is not None]
        if alive:
            pending += [(*schedule, number) for number in alive]
            continue
        schedules += 1
        check_history(objects)
        newest = versions(objects)[-1]
        assert newest.columns.keys() >= left.keys() | right.keys()
        for router, asked in zip(routers, (left, right), strict=True):
            assert router.result is not None
            assert router.result.columns.items() <= newest.columns.items()
            assert router.result.columns.keys() >= asked.keys()
    assert schedules >= 6


def play(schedule: tuple[int, ...], asked: tuple[Columns, Columns], existing: int) -> tuple[Objects, list[Running]]:
    objects = Objects()
    for number in range(existing):
        settle(objects, {f"old{number}": FLOAT})
    store = schema_store()
    routers = [Running(store.settle("ns", "t", NO_SCHEMA, additions)) for additions in asked]
    for number in schedule:
        routers[number].go_on(objects)
    return objects, routers


@pytest.mark.parametrize("existing", [0, 1, 2, 3, 7, 8, 9, 100])
def test_the_newest_version_is_found_in_few_reads_from_any_cache(existing: int) -> None:
    """From any cached version the newest is found, in a number of reads that grows with the logarithm of the gap."""
    objects = Objects()
    for number in range(existing):
        settle(objects, {f"c{number}": FLOAT}, versions(objects)[-1] if number else NO_SCHEMA)
    history = [NO_SCHEMA, *versions(objects)]
    for cached in history:
        objects.gets = 0
        found = settle(objects, history[-1].columns, cached)
        assert found == history[-1]
        assert objects.gets <= 2 * (existing - cached.version + 1).bit_length()


class LossyStore(CloudStore):
    """Puts raise `written: unknown` after (or without) having written; reads of `away` fail."""

    def __init__(self, *, writes: bool, away: bool = False) -> None:
        super().__init__("memory:")
        self._writes = writes
        self._away = away
        self.puts = 0

    def put_if_absent(self, path: str, data: bytes) -> None:
        self.puts += 1
        if self._writes:
            super().put_if_absent(path, data)
        raise Unavailable("answer lost", written="unknown")

    def get(self, path: str) -> bytes:
        if self._away and self.puts:
            raise Unavailable("away")
        return super().get(path)


def test_a_put_whose_answer_is_lost_is_recognised_by_its_nonce() -> None:
    """A put that succeeded without an answer is read back and counts: one version, written once."""
    store = LossyStore(writes=True)
    settled = objectstore.run(schema_store().settle("ns", "t", NO_SCHEMA, {"a": FLOAT}), store)
    assert settled == TableSchema(1, {"a": FLOAT})
    assert store.puts == 1


@pytest.mark.parametrize(("writes", "away"), [(False, False), (True, True)])
def test_a_put_that_cannot_be_resolved_is_unavailable(writes: bool, away: bool) -> None:
    """Where reading shows nothing, or fails too, the caller is told to come back, and the next try settles."""
    store = LossyStore(writes=writes, away=away)
    with pytest.raises(Unavailable):
        objectstore.run(schema_store().settle("ns", "t", NO_SCHEMA, {"a": FLOAT}), store)


def test_a_client_that_retried_by_itself_meets_its_own_object() -> None:
    """AlreadyExists on one's own nonce is a success, not a lost race."""
    objects = Objects()
    running = Running(schema_store().settle("ns", "t", NO_SCHEMA, {"a": FLOAT}))
    while not isinstance(running.call, PutIfAbsent):
        running.go_on(objects)
    objects.perform(running.call)
    while running.call is not None:
        running.go_on(objects)
    assert running.result == TableSchema(1, {"a": FLOAT})
    assert len(objects.data) == 1


def test_a_lost_answer_under_another_router_s_win_is_no_success() -> None:
    """When the put was lost and another router's version stands there, ours goes on top of it."""
    objects = Objects()
    running = Running(schema_store().settle("ns", "t", NO_SCHEMA, {"a": FLOAT}))
    while not isinstance(running.call, PutIfAbsent):
        running.go_on(objects)
    objects.data[running.call.path] = to_json("ns", "t", TableSchema(1, {"a": INTEGER}), "theirs")
    running.lose_answer()
    while running.call is not None:
        running.go_on(objects)
    assert running.result == TableSchema(1, {"a": INTEGER})
    assert len(objects.data) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"format": 2}',
        b'{"format": 1, "version": "1", "nonce": "n", "columns": {}}',
        b'{"format": 1, "version": 1, "nonce": "n", "columns": {"a": "decimal"}}',
        b'{"format": 1, "version": 7, "nonce": "n", "columns": {}}',
    ],
)
def test_a_corrupt_schema_file_is_named(data: bytes) -> None:
    """A file that settle cannot have written stops it with the file's path, and is not overwritten."""
    objects = Objects()
    objects.data["schema/ns/t/0000000001.json"] = data
    with pytest.raises(DataCorrupt, match=r"schema/ns/t/0000000001\.json"):
        settle(objects, {"a": FLOAT})
    assert objects.data == {"schema/ns/t/0000000001.json": data}


def test_a_full_table_takes_no_more_columns() -> None:
    """Additions beyond the limit are left out, which the caller sees as a disagreement."""
    objects = Objects()
    settle(objects, {f"c{number:04}": FLOAT for number in range(COLUMNS_MAX - 1)})
    settled = settle(objects, {"x": FLOAT, "y": FLOAT})
    assert len(settled.columns) == COLUMNS_MAX
    assert not agree({"t": settled}, {"t": {"x": FLOAT, "y": FLOAT}})


def test_the_file_is_the_documented_json() -> None:
    """The bytes of a schema file, to the letter: a change of format must be noticed."""
    schema = TableSchema(2, {"usage": FLOAT, "host": TAG})
    text = to_json("metrics", "cpu", schema, "abc").decode()
    assert text == (
        '{\n "format": 1,\n "namespace": "metrics",\n "table": "cpu",\n "version": 2,\n "nonce": "abc",\n'
        ' "columns": {\n  "host": "tag",\n  "usage": "float"\n }\n}\n'
    )
    assert from_json(text.encode(), "p") == (schema, "abc")
    assert json.loads(text)["columns"] == {"host": "tag", "usage": "float"}


def test_names_from_clients_stay_in_their_folder() -> None:
    """A namespace and a table of dots and slashes are escaped in the path."""
    running = Running(schema_store().settle("../../etc", "a/b", NO_SCHEMA, {"a": FLOAT}))
    assert running.call == Get("schema/!2e.!2f..!2fetc/a!2fb/0000000001.json")


def test_the_gate_keeps_the_newest_and_never_changes_a_value_it_gave() -> None:
    """An older version learnt late changes nothing, and a reader's view stays as it was."""
    gate = SchemaGate()
    gate.learn("ns", {"t": TableSchema(2, {"a": FLOAT, "b": FLOAT})})
    before = gate.known("ns")
    gate.learn("ns", {"t": TableSchema(1, {"a": FLOAT})})
    assert gate.known("ns") is before
    gate.learn("ns", {"u": TableSchema(1, {"a": TAG})})
    assert set(before) == {"t"}
    assert set(gate.known("ns")) == {"t", "u"}
    assert gate.known("other") == {}


def test_a_draft_adds_only_what_is_unknown() -> None:
    """Columns of the settled schema are no additions, and lines that use only those say so."""
    draft = Draft({"t": TableSchema(1, {"a": FLOAT})})
    assert not draft.admit("t", (), {"a": (FLOAT, 1.0)})
    assert draft.admit("t", (("host", "x"),), {"a": (FLOAT, 1.0)})
    assert draft.admit("t", (("host", "y"),), {"a": (FLOAT, 1.0)})
    assert draft.additions == {"t": {"host": TAG}}
