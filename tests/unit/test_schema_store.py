"""Settling columns: every interleaving of two routers, lost answers, a store that is away, corrupt files."""

import itertools
import json

import pytest

from common.catalog.schema_store import SchemaStore
from common.catalog.table_schema import COLUMNS_MAX, NO_SCHEMA, TableSchema, fits, from_json, to_json
from common.store import objects as objectstore
from common.store.cloud import CloudStore
from common.store.objects import AlreadyExists, Get, MakeDurable, NotFound, PutIfAbsent, Steps, StoreCall
from common.values.errors import DataCorrupt, Unavailable
from common.values.schema import Columns, ColumnType
from router.parsing.draft import Draft, NewTables
from router.parsing.schemas import KnownSchemas

FLOAT, INTEGER, TAG = ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.TAG


class Objects:
    """A store as a dict: what is performed on it is counted, and can be set to fail."""

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
            case MakeDurable(path):
                if path not in self.data:
                    raise NotFound(path)
                return b""
        raise AssertionError(call)


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


def asked(store: SchemaStore, additions: Columns, cached: TableSchema = NO_SCHEMA) -> Steps[TableSchema]:
    """Look, and settle what is missing."""
    newest = yield from store.look("ns", "t", cached)
    return (yield from store.settle("ns", "t", newest, additions))


def settle(objects: Objects, additions: Columns, cached: TableSchema = NO_SCHEMA) -> TableSchema:
    running = Running(asked(schema_store(), additions, cached))
    while running.call is not None:
        running.go_on(objects)
    assert running.result is not None
    return running.result


def versions(objects: Objects) -> list[TableSchema]:
    return [from_json(data, path).schema for path, data in sorted(objects.data.items())]


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


def test_additions_of_which_one_has_another_type_are_not_settled() -> None:
    """Not the free names either: the caller is given what there is, and asks for what it still needs."""
    objects = Objects()
    first = settle(objects, {"a": FLOAT})
    assert settle(objects, {"a": INTEGER, "b": TAG}) == first
    assert settle(objects, {"b": TAG}).columns == {"a": FLOAT, "b": TAG}


def test_a_race_that_is_lost_to_another_type_leaves_nothing() -> None:
    """What another router has written since the look is judged as what the look found."""
    objects = Objects()
    running = Running(asked(schema_store(), {"a": FLOAT, "b": TAG}))
    while not isinstance(running.call, PutIfAbsent):
        running.go_on(objects)
    objects.data[running.call.path] = to_json("ns", "t", TableSchema(1, {"a": INTEGER}), "theirs")
    while running.call is not None:
        running.go_on(objects)
    assert running.result == TableSchema(1, {"a": INTEGER})
    assert len(objects.data) == 1


Lines = tuple[Columns, ...]


def written(store: SchemaStore, lines: Lines, rounds: list[int]) -> Steps[TableSchema]:
    """As a router settles the columns of `lines`: those that do not fit are refused, and it asks for the others' again.

    Counts its rounds. Returns the schema that all lines which it accepts fit.
    """
    known = NO_SCHEMA
    while True:
        rounds.append(1)
        accepted = accepted_of(lines, known)
        known = yield from asked(store, accepted, known)
        if fits(known.columns, accepted):
            assert accepted.items() <= known.columns.items()
            return known


def accepted_of(lines: Lines, known: TableSchema) -> Columns:
    """The columns of those lines that fit the schema and one another, in their order."""
    columns: Columns = {}
    for line in lines:
        if fits({**known.columns, **columns}, line):
            columns = {**columns, **line}
    return columns


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (({"a": FLOAT},), ({"a": INTEGER},)),
        (({"a": FLOAT},), ({"b": TAG},)),
        (({"a": FLOAT, "b": TAG},), ({"b": FLOAT, "c": TAG},)),
        (({"a": FLOAT}, {"b": TAG}), ({"b": FLOAT}, {"c": TAG})),
        (({"a": FLOAT, "b": TAG}, {"a": INTEGER, "c": TAG}), ({"a": INTEGER, "d": TAG}, {"b": FLOAT})),
        (({"old0": TAG, "a": FLOAT}, {"b": TAG}), ({"b": FLOAT, "old1": TAG}, {"b": TAG, "c": TAG})),
    ],
)
@pytest.mark.parametrize("existing", [0, 1, 2])
def test_every_interleaving_of_two_routers_settles_one_history(left: Lines, right: Lines, existing: int) -> None:
    """In any order of their store calls, versions stay dense and growing, both routers end on one truth, soon, and
    every column is of a line that one of them accepted."""
    schedules = 0
    pending: list[tuple[int, ...]] = [()]
    while pending:
        schedule = pending.pop()
        objects, routers, rounds = play(schedule, (left, right), existing)
        alive = [number for number, router in enumerate(routers) if router.call is not None]
        if alive:
            pending += [(*schedule, number) for number in alive]
            continue
        schedules += 1
        check_history(objects)
        newest = versions(objects)[-1]
        columns: Columns = {f"old{number}": FLOAT for number in range(existing)}
        for router, lines in zip(routers, (left, right), strict=True):
            assert router.result is not None
            assert router.result.columns.items() <= newest.columns.items()
            columns = {**columns, **accepted_of(lines, router.result)}
        assert newest.columns == columns
        assert all(len(one) <= 1 + newest.version for one in rounds), "each further round has found a new version"
    assert schedules >= 6


def play(
    schedule: tuple[int, ...], lines: tuple[Lines, Lines], existing: int
) -> tuple[Objects, list[Running], list[list[int]]]:
    objects = Objects()
    for number in range(existing):
        settle(objects, {f"old{number}": FLOAT})
    store = schema_store()
    rounds: list[list[int]] = [[], []]
    routers = [Running(written(store, one, counted)) for one, counted in zip(lines, rounds, strict=True)]
    for number in schedule:
        routers[number].go_on(objects)
    return objects, routers, rounds


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
    settled = objectstore.run(asked(schema_store(), {"a": FLOAT}), store)
    assert settled == TableSchema(1, {"a": FLOAT})
    assert store.puts == 1


@pytest.mark.parametrize(("writes", "away"), [(False, False), (True, True)])
def test_a_put_that_cannot_be_resolved_is_unavailable(writes: bool, away: bool) -> None:
    """Where reading shows nothing, or fails too, the caller is asked to retry, and the next try settles."""
    store = LossyStore(writes=writes, away=away)
    with pytest.raises(Unavailable):
        objectstore.run(asked(schema_store(), {"a": FLOAT}), store)


def test_a_client_that_retried_by_itself_meets_its_own_object() -> None:
    """AlreadyExists on one's own nonce is a success, not a lost race."""
    objects = Objects()
    running = Running(asked(schema_store(), {"a": FLOAT}))
    while not isinstance(running.call, PutIfAbsent):
        running.go_on(objects)
    objects.perform(running.call)
    while running.call is not None:
        running.go_on(objects)
    assert running.result == TableSchema(1, {"a": FLOAT})
    assert len(objects.data) == 1


def test_a_lost_answer_under_another_router_s_win_is_no_success() -> None:
    """When the put was lost and another router's version is there, ours goes on top of it."""
    objects = Objects()
    running = Running(asked(schema_store(), {"a": FLOAT}))
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


def test_additions_for_which_a_table_has_no_room_are_not_settled() -> None:
    """None of them, though the table has room for one; that one alone is."""
    objects = Objects()
    first = settle(objects, {f"c{number:04}": FLOAT for number in range(COLUMNS_MAX - 1)})
    assert settle(objects, {"x": FLOAT, "y": FLOAT}) == first
    assert not fits(first.columns, {"x": FLOAT, "y": FLOAT})
    full = settle(objects, {"x": FLOAT})
    assert len(full.columns) == COLUMNS_MAX
    assert settle(objects, {"x": FLOAT}) == settle(objects, {"y": FLOAT}) == full


def test_the_file_is_the_documented_json() -> None:
    """The bytes of a schema file, to the letter: a change of format must be noticed."""
    schema = TableSchema(2, {"usage": FLOAT, "host": TAG})
    text = to_json("metrics", "cpu", schema, "abc").decode()
    assert text == (
        '{\n "format": 1,\n "namespace": "metrics",\n "table": "cpu",\n "version": 2,\n "nonce": "abc",\n'
        ' "columns": {\n  "host": "tag",\n  "usage": "float"\n }\n}\n'
    )
    file = from_json(text.encode(), "p")
    assert (file.schema, file.nonce) == (schema, "abc")
    assert json.loads(text)["columns"] == {"host": "tag", "usage": "float"}


def test_names_from_clients_stay_in_their_folder() -> None:
    """A namespace and a table of dots and slashes are escaped in the path."""
    running = Running(schema_store().look("../../etc", "a/b", NO_SCHEMA))
    assert running.call == Get("schema/!2e.!2f..!2fetc/a!2fb/0000000001.json")


def test_a_copy_keeps_the_newest_and_never_changes_a_value_it_gave() -> None:
    """An older version learnt late changes nothing, and a reader's view stays as it was."""
    copy = KnownSchemas()
    copy.learn("ns", {"t": TableSchema(2, {"a": FLOAT, "b": FLOAT})})
    before = copy.known("ns")
    copy.learn("ns", {"t": TableSchema(1, {"a": FLOAT})})
    assert copy.known("ns") is before
    copy.learn("ns", {"u": TableSchema(1, {"a": TAG})})
    assert set(before) == {"t"}
    assert set(copy.known("ns")) == {"t", "u"}
    assert copy.known("other") == {}


def test_a_draft_adds_only_what_is_unknown() -> None:
    """Columns of the settled schema are no additions, and lines that use only those say so."""
    draft = Draft({"t": TableSchema(1, {"a": FLOAT})})
    assert not draft.admit("t", (), {"a": (FLOAT, 1.0)}, NewTables({}))
    assert draft.admit("t", ("host",), {"a": (FLOAT, 1.0)}, NewTables({}))
    assert draft.admit("t", ("host",), {"a": (FLOAT, 1.0)}, NewTables({}))
    assert draft.additions == {"t": {"host": TAG}}


def steps_of(objects: Objects, columns: Columns, cached: TableSchema) -> list[StoreCall]:
    """The store calls of one settlement, in order."""
    running, calls = Running(asked(schema_store(), columns, cached)), []
    while running.call is not None:
        calls.append(running.call)
        running.go_on(objects)
    return calls


def test_what_another_router_settled_is_durable_before_it_is_built_on() -> None:
    """Were it lost in a power cut, entries of types that nobody has settled would be in the log."""
    objects = Objects()
    first = settle(objects, {"a": FLOAT})
    path = "schema/ns/t/0000000001.json"
    assert steps_of(objects, {"a": FLOAT}, NO_SCHEMA)[-1] == MakeDurable(path)
    calls = steps_of(objects, {"a": FLOAT, "b": FLOAT}, NO_SCHEMA)
    assert calls.index(MakeDurable(path)) < next(at for at, call in enumerate(calls) if isinstance(call, PutIfAbsent))
    assert MakeDurable(path) not in steps_of(objects, {"c": FLOAT}, TableSchema(2, {"a": FLOAT, "b": FLOAT}))
    assert first.version == 1


def test_one_s_own_version_whose_answer_was_lost_is_durable_before_it_counts() -> None:
    """It was found by reading, which says nothing about a power cut."""
    objects = Objects()
    running = Running(asked(schema_store(), {"a": FLOAT}))
    while not isinstance(running.call, PutIfAbsent):
        running.go_on(objects)
    objects.perform(running.call)
    running.lose_answer()
    running.go_on(objects)
    assert running.call == MakeDurable("schema/ns/t/0000000001.json")
    running.go_on(objects)
    assert running.result == TableSchema(1, {"a": FLOAT})
