"""Which stretch of time a statement can need: never too little, and files outside it are not opened."""

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from common.store.objects import ObjectStore
from common.store.opening import open_store
from common.values.errors import DataCorrupt
from common.values.schema import DAY_NS
from penstock.query import query as querying
from penstock.query.sql import Engine
from penstock.query.time_range import ALWAYS, MARGIN_NS, NEVER, TimeRange, needed
from tests.support.asked import ask, put
from tests.support.live_rig import LiveRig
from tests.support.records import DAY0_NS, row

DAYS = 6
"""From 2023-11-15 on: three are persisted in files that do not overlap, then one of each kind."""
FROM_16 = DAY0_NS + DAY_NS
FROM_18 = DAY0_NS + 3 * DAY_NS


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRig]:
    with LiveRig(open_store(f"file://{tmp_path_factory.mktemp('ranges')}/store")) as rig:
        for table in ("cpu", "mem"):
            rows = [row(DAY0_NS + day * DAY_NS + n, f"h{n}", v=float(day)) for day in range(DAYS) for n in range(3)]
            put(rig, {table: rows[: 4 * 3]}, persisted=True)
            put(rig, {table: rows[3 * 3 : 5 * 3]}, persisted=True)
            put(rig, {table: rows[4 * 3 :]})
        yield rig


@pytest.fixture(scope="module")
def store(live: LiveRig) -> ObjectStore:
    found: ObjectStore = live.rig.store
    return found


def ranges(sql: str) -> dict[str, TimeRange]:
    with Engine(open_store("memory:")) as engine:
        return needed(engine.parsed(sql).nodes, engine.times)


def since(time_ns: int) -> TimeRange:
    return TimeRange(time_ns - MARGIN_NS, ALWAYS.last_ns)


def until(time_ns: int) -> TimeRange:
    return TimeRange(ALWAYS.first_ns, time_ns + MARGIN_NS)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM cpu WHERE time >= '2023-11-16'", since(FROM_16)),
        ("SELECT * FROM cpu WHERE \"TIME\" > TIMESTAMP '2023-11-16'", since(FROM_16)),
        ("SELECT * FROM cpu WHERE TIMESTAMP_NS '2023-11-16' > time", until(FROM_16)),
        ("SELECT * FROM cpu c WHERE c.time <= DATE '2023-11-16' AND v > 1", until(FROM_16)),
        ("SELECT * FROM cpu WHERE time BETWEEN '2023-11-16' AND '2023-11-18'", since(FROM_16).and_(until(FROM_18))),
        ("SELECT * FROM cpu WHERE time = make_timestamp_ns(5)", since(5).and_(until(5))),
        ("SELECT * FROM cpu WHERE time >= DATE '2023-11-18' - INTERVAL 2 DAY", since(FROM_16)),
        ("SELECT * FROM cpu WHERE (v = 1 AND (time >= '2023-11-16'))", since(FROM_16)),
        ("SELECT max(v) FROM (SELECT * FROM cpu WHERE time < '2023-11-16')", until(FROM_16)),
        ("WITH x AS (FROM cpu WHERE time < '2023-11-16') FROM x WHERE v > 1", until(FROM_16)),
        ("SELECT * FROM cpu JOIN mem USING (host) WHERE cpu.time >= '2023-11-16'", since(FROM_16)),
        # of the union of what each place needs
        (
            "FROM cpu WHERE time < '2023-11-16' UNION ALL FROM cpu WHERE time BETWEEN '2023-11-16' AND '2023-11-18'",
            until(FROM_18),
        ),
        # what is not certain counts as everything
        ("SELECT * FROM cpu", ALWAYS),
        ("SELECT * FROM cpu WHERE time >= '2023-11-16' OR v = 1", ALWAYS),
        ("SELECT * FROM cpu WHERE NOT time >= '2023-11-16'", ALWAYS),
        ("SELECT * FROM cpu WHERE time >= 'soon'", ALWAYS),
        ("SELECT * FROM cpu WHERE time >= NULL", ALWAYS),
        ("SELECT * FROM cpu WHERE time >= DATE '2023-11-16' + INTERVAL 9000000 YEAR", ALWAYS),
        ("SELECT * FROM cpu WHERE time >= (SELECT max(time) FROM cpu)", ALWAYS),
        ("SELECT * FROM cpu WHERE time >= make_timestamp_ns((random() * 9)::BIGINT)", ALWAYS),
        ("SELECT * FROM cpu x(a, b, time) WHERE time >= '2023-11-16'", ALWAYS),
        ("SELECT * FROM cpu WHERE time >= '2023-11-16' UNION ALL FROM cpu", ALWAYS),
        ("SELECT * FROM cpu, mem WHERE time >= '2023-11-16'", ALWAYS),
        ("SELECT * FROM cpu POSITIONAL JOIN mem WHERE cpu.time >= '2023-11-16'", ALWAYS),
        ("SELECT * FROM cpu ASOF JOIN mem ON cpu.time >= mem.time WHERE cpu.time >= '2023-11-16'", ALWAYS),
        ("SELECT * FROM cpu TABLESAMPLE 10% (system, 1) WHERE time >= '2023-11-16'", ALWAYS),
        ("SELECT sum(v) FILTER (WHERE time >= '2023-11-16') FROM cpu", ALWAYS),
        ("SELECT max(v) FROM cpu GROUP BY time HAVING time >= '2023-11-16'", ALWAYS),
        ("FROM mem WHERE EXISTS (FROM cpu a WHERE mem.time >= '2023-11-16')", ALWAYS),
    ],
)
def test_what_a_where_clause_needs(sql: str, expected: TimeRange) -> None:
    """Of table cpu."""
    assert ranges(sql)["cpu"] == expected


def test_a_name_written_in_two_ways_is_one_table(store: ObjectStore) -> None:
    """What each place needs of it counts."""
    sql = "SELECT (SELECT count(*) FROM cpu WHERE time < '2023-11-16') AS a, (SELECT count(*) FROM CPU) AS b"
    assert ask(store, sql) == [{"a": 3, "b": 18}]


def test_now_is_the_same_everywhere() -> None:
    """In the range and in the statement: fixed when the query begins."""
    with Engine(open_store("memory:")) as engine:
        statement = engine.parsed("SELECT * FROM cpu WHERE time >= now() AND time < today() + INTERVAL 1 DAY")
        within = needed(statement.nodes, engine.times)["cpu"]
        sql = "SELECT epoch_ns(now()) AS now, epoch_ns((today() + INTERVAL 1 DAY)::TIMESTAMP_NS) AS tomorrow"
        (found,) = engine.run(sql, "", "").to_pylist()
    assert (within.first_ns + MARGIN_NS, within.last_ns - MARGIN_NS) == (found["now"], found["tomorrow"])


CONDITIONS = [
    "time >= '2023-11-17'",
    "time > '2023-11-17 00:00:00.000000001'",
    "time < '2023-11-16'",
    "time <= '2023-11-16'",
    "time <= DATE '2023-11-16'",
    "time = DATE '2023-11-16'",
    "time = '2023-11-16 00:00:00.000000002'",
    "time BETWEEN DATE '2023-11-16' AND DATE '2023-11-17'",
    "time BETWEEN TIMESTAMP '2023-11-16' AND '2023-11-18 12:00:00'",
    "time >= TIMESTAMP_S '2023-11-17 00:00:00'",
    "time >= date_trunc('month', DATE '2023-11-17') AND time < '2023-11-18'",
    "time > make_timestamp(2023, 11, 19, 0, 0, 0)",
    "'2023-11-20' <= time",
    "time > now() - INTERVAL 1 DAY",
    "time < now() + INTERVAL 1 DAY",
    "time > '2023-11-17' AND time < '2023-11-16'",
    "time > '2023-11-18' AND host = 'h1' AND v > 3",
    "time::DATE = '2023-11-18'",
    "date_trunc('day', time) = '2023-11-18'",
]
SHAPES = [
    "SELECT epoch_ns(time) AS t, host, v FROM cpu WHERE {} ORDER BY ALL",
    "SELECT count(*) AS n, sum(v) AS s FROM cpu x WHERE {}",
    "SELECT v AS time, host FROM cpu WHERE {} ORDER BY ALL",
    "SELECT host, (SELECT count(*) FROM mem WHERE {}) AS n FROM cpu ORDER BY ALL",
    "SELECT m.v AS a, c.v AS b FROM mem m LEFT JOIN (SELECT * FROM cpu WHERE {}) c USING (time, host) ORDER BY ALL",
    "SELECT host, v FROM cpu WHERE {} AND host NOT IN (SELECT host FROM mem WHERE {}) ORDER BY ALL",
    "SELECT host, row_number() OVER (PARTITION BY host ORDER BY time) AS n FROM cpu WHERE {} ORDER BY ALL",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_range_changes_no_result(store: ObjectStore, condition: str) -> None:
    """The same rows as when everything is read."""
    for shape in SHAPES:
        sql = shape.replace("{}", condition)
        found = ask(store, sql)
        with mock.patch.object(querying, "needed", lambda nodes, evaluate: _everything(nodes)):
            assert found == ask(store, sql), sql


def _everything(nodes: object) -> dict[str, TimeRange]:
    return dict.fromkeys(("cpu", "mem"), ALWAYS)


@pytest.mark.parametrize("kind", ["LEFT", "RIGHT", "FULL", "INNER"])
@pytest.mark.parametrize("side", ["c", "m"])
def test_a_range_changes_no_join(store: ObjectStore, kind: str, side: str) -> None:
    """With the condition on either side, of any ordinary join."""
    condition = f"{side}.time >= '2023-11-18'"
    sql = f"SELECT c.v AS a, m.v AS b FROM cpu c {kind} JOIN mem m ON c.v = m.v + 1 WHERE {condition} ORDER BY ALL"
    found = ask(store, sql)
    with mock.patch.object(querying, "needed", lambda nodes, evaluate: _everything(nodes)):
        assert found == ask(store, sql)
    assert found


def test_files_outside_the_range_are_not_opened(tmp_path: Path) -> None:
    """Nor read for a merge: a damaged one does no harm there, and is named where it counts."""
    store = open_store(f"file://{tmp_path}/store")
    with LiveRig(store) as live:
        put(live, {"cpu": [row(DAY0_NS + day * DAY_NS, "a", v=float(day)) for day in range(3)]}, persisted=True)
        put(live, {"cpu": [row(DAY0_NS, "a", w=1.0)]}, persisted=True)
        for file in live.rig.core.state.files.values():
            if file.partition.day == DAY0_NS // DAY_NS:
                Path(store.local_path(file.path) or "").write_bytes(b"")
        assert ask(store, "SELECT v FROM cpu WHERE time >= '2023-11-16' ORDER BY v") == [{"v": 1.0}, {"v": 2.0}]
        with pytest.raises(DataCorrupt, match="utc_day=2023-11-15"):
            ask(store, "SELECT v FROM cpu WHERE time >= '2023-11-15'")


def test_ranges_are_joined_and_cut() -> None:
    """An empty one adds nothing."""
    assert NEVER.hull(TimeRange(1, 2)) == TimeRange(1, 2).hull(NEVER) == TimeRange(1, 2)
    assert TimeRange(1, 2).hull(TimeRange(5, 6)) == TimeRange(1, 6)
    assert TimeRange(1, 5).and_(TimeRange(3, 9)) == TimeRange(3, 5)
    assert not NEVER.meets(ALWAYS.first_ns, ALWAYS.last_ns)
    assert [TimeRange(3, 5).meets(*other) for other in ((1, 2), (1, 3), (5, 9), (6, 9))] == [False, True, True, False]
