"""SQL over files and memory: each row once, the later value wins field by field, whatever the names are."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import InvalidRequest, Unavailable
from common.ids import Offset, SequencerId
from common.objectstore import ObjectStore, open_store
from penstock.memory_rows import SequencerClient
from penstock.query import query
from tests.support.live_rig import LiveRig
from tests.support.records import DAY0_NS, NAMESPACE, Row, row


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(f"file://{tmp_path}/store")


@pytest.fixture
def live(store: ObjectStore) -> Iterator[LiveRig]:
    with LiveRig(store) as rig:
        yield rig


def put(live: LiveRig, tables: dict[str, list[Row]], persisted: bool = False) -> None:
    live.rig.append(tables)
    live.rig.poll()
    if persisted:
        live.rig.go_cold()
    live.show()


def ask(store: ObjectStore, sql: str, **how: Any) -> list[dict[str, Any]]:
    return query(sql, NAMESPACE, store, 1, **{"timeout_s": 5.0, **how}).to_pylist()


def test_overlapping_files_and_memory_are_merged_field_by_field(store: ObjectStore, live: LiveRig) -> None:
    """Of equal keys in two files and in memory the latest value of each field stands, in one row."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0, w=1.0, x=1.0), row(DAY0_NS + 9, "a", v=9.0)]}, persisted=True)
    put(live, {"cpu": [row(DAY0_NS, "a", v=2.0, w=2.0)]}, persisted=True)
    assert ask(store, "SELECT v, w, x FROM cpu ORDER BY time")[0] == {"v": 2.0, "w": 2.0, "x": 1.0}
    put(live, {"cpu": [row(DAY0_NS, "a", v=3.0)]})
    assert ask(store, "SELECT v, w, x FROM cpu ORDER BY time") == [
        {"v": 3.0, "w": 2.0, "x": 1.0},
        {"v": 9.0, "w": None, "x": None},
    ]


def test_files_that_do_not_overlap_are_read_as_they_are(store: ObjectStore, live: LiveRig) -> None:
    """Two files of one day apart in time, and columns that one of them lacks."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]}, persisted=True)
    put(live, {"cpu": [row(DAY0_NS + 5, None, w=2)]}, persisted=True)
    assert ask(store, "SELECT host, v, w FROM cpu ORDER BY time") == [
        {"host": "a", "v": 1.0, "w": None},
        {"host": None, "v": None, "w": 2},
    ]


def test_rows_are_counted_once_at_every_step_of_a_persist(store: ObjectStore, live: LiveRig) -> None:
    """In memory, in a running job, in a file that no record names yet, and committed."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]})
    rig = live.rig
    for act in (lambda: None, lambda: rig.tick(301), rig.persist, rig.commit):
        act()
        live.show()
        assert ask(store, "SELECT count(*) AS n FROM cpu") == [{"n": 1}]


def test_stored_only_asks_no_ingester(store: ObjectStore, live: LiveRig) -> None:
    """What is persisted and nothing else, also when no ingester runs."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]}, persisted=True)
    put(live, {"cpu": [row(DAY0_NS + 1, "a", v=2.0)]})
    live.server.shutdown()
    assert ask(store, "SELECT v FROM cpu", stored_only=True) == [{"v": 1.0}]
    with pytest.raises(Unavailable, match=r"sequencer 0: its ingester at .* --stored-only"):
        ask(store, "SELECT v FROM cpu", timeout_s=0.3)


def test_an_unknown_table_lists_those_there_are(store: ObjectStore, live: LiveRig) -> None:
    """And an empty namespace says so."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)], "mem": [row(DAY0_NS, "a", v=1.0)]})
    with pytest.raises(InvalidRequest, match=r"Tables of namespace 'metrics': cpu, mem\."):
        ask(store, "SELECT * FROM nothing")
    with pytest.raises(InvalidRequest, match="Namespace 'other' has no tables"):
        query("SELECT * FROM cpu", "other", store, 1, timeout_s=5.0)


def test_a_token_that_names_an_unknown_sequencer_is_refused(store: ObjectStore, live: LiveRig) -> None:
    """Naming it and how many the cluster has."""
    with pytest.raises(InvalidRequest, match="names sequencer 3; the cluster has 1"):
        ask(store, "SELECT 1", token={SequencerId(3): Offset(0)})


def test_a_token_is_waited_for(store: ObjectStore, live: LiveRig) -> None:
    """Applied: seen. Not applied in time: the sequencer is named."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]})
    assert ask(store, "SELECT v FROM cpu", token={SequencerId(0): Offset(0)}) == [{"v": 1.0}]
    with pytest.raises(Unavailable, match="sequencer 0"):
        ask(store, "SELECT v FROM cpu", token={SequencerId(0): Offset(7)}, timeout_s=0.3)


@pytest.mark.parametrize("persisted", [False, True])
def test_times_are_exact_to_the_nanosecond(store: ObjectStore, live: LiveRig, persisted: bool) -> None:
    """Also at both ends of what a write may bring."""
    times = [-(2**63) + 2, -1, DAY0_NS + 123_456_789, 2**63 - 2]
    put(live, {"cpu": [row(time_ns, "a", v=1.0) for time_ns in times]}, persisted)
    found = query("SELECT time FROM cpu", NAMESPACE, store, 1, timeout_s=5.0).column("time")
    assert str(found.type) == "timestamp[ns, tz=Etc/UTC]"
    assert sorted(found.cast("int64").to_pylist()) == times


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "CPU Load",
        "größe 日本",
        "it's",
        'a"b',
    ],
)
def test_any_name_can_be_asked_for(store: ObjectStore, live: LiveRig, name: str, persisted: bool) -> None:
    """A table, a tag and a field of that name, quoted as SQL quotes them."""
    put(live, {name: [Row(DAY0_NS, {f"{name} tag": "x"}, {f"{name} field": 1.0})]}, persisted)
    quoted = name.replace('"', '""')
    assert ask(store, f'SELECT "{quoted} tag" AS t, "{quoted} field" AS f FROM "{quoted}"') == [{"t": "x", "f": 1.0}]


def test_tables_that_differ_in_case_only(store: ObjectStore, live: LiveRig) -> None:
    """The one that is written is read: the other is another table."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)], "CPU": [row(DAY0_NS, "a", v=2.0)]})
    assert ask(store, "SELECT v FROM cpu") == [{"v": 1.0}]
    assert ask(store, "SELECT v FROM CPU") == [{"v": 2.0}]
    with pytest.raises(InvalidRequest, match="differ in case only"):
        ask(store, "SELECT v FROM Cpu")


def test_a_store_in_a_folder_that_looks_like_a_pattern(tmp_path: Path) -> None:
    """Brackets and stars are letters of a path."""
    store = open_store(f"file://{tmp_path}/[x]*/store")
    with LiveRig(store) as live:
        put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]}, persisted=True)
        assert ask(store, "SELECT v FROM cpu") == [{"v": 1.0}]


def test_columns_stand_in_order(store: ObjectStore, live: LiveRig) -> None:
    """time, tags by name, fields by name, whatever brought them."""
    put(live, {"cpu": [Row(DAY0_NS, {"z": "1"}, {"b": 1.0})]}, persisted=True)
    put(live, {"cpu": [Row(DAY0_NS + 1, {"y": "1"}, {"a": 1.0})]})
    assert list(ask(store, "SELECT * FROM cpu")[0]) == ["time", "y", "z", "a", "b"]


def test_two_tables_are_joined(store: ObjectStore, live: LiveRig) -> None:
    """One of them in files, the other in memory."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]}, persisted=True)
    put(live, {"mem": [row(DAY0_NS, "a", free=2.0)]})
    assert ask(store, "SELECT v, free FROM cpu JOIN mem USING (time, host)") == [{"v": 1.0, "free": 2.0}]


def test_a_table_persisted_while_tables_are_listed_is_not_missed(store: ObjectStore, live: LiveRig) -> None:
    """The manifest was read before the commit, memory after it: the table is in a file by then."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]})
    client = SequencerClient(store, SequencerId(0), None, time.monotonic() + 5.0)
    live.rig.go_cold()
    live.show()
    assert client.tables(NAMESPACE) == {"cpu"}
