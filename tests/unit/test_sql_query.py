"""SQL over files and memory: each row once, the later value wins field by field, with any names."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.catalog.cluster import found_or_join
from common.store.objects import ObjectStore, run
from common.store.opening import open_store
from common.values.errors import DataCorrupt, InvalidRequest, Unavailable
from common.values.ids import ZERO, Offset, SequencerId
from penstock.cli import cli
from penstock.query.memory_rows import Behind, SequencerClient, cause
from penstock.query.query import query
from tests.support.asked import ask, put
from tests.support.live_rig import LiveRig
from tests.support.records import DAY0_NS, NAMESPACE, Row, row


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(f"file://{tmp_path}/store")


@pytest.fixture
def live(store: ObjectStore) -> Iterator[LiveRig]:
    with LiveRig(store) as rig:
        yield rig


def test_overlapping_files_and_memory_are_merged_field_by_field(store: ObjectStore, live: LiveRig) -> None:
    """Of equal keys in two files and in memory the latest value of each field is seen, in one row."""
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
    with pytest.raises(
        InvalidRequest, match=r"Persisted tables of namespace 'metrics': cpu; without --stored-only rows"
    ):
        ask(store, "SELECT v FROM mem", stored_only=True)
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
    assert str(found.type) == "timestamp[ns]"
    assert sorted(found.cast("int64").to_pylist()) == times


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "CPU Load",
        "größe 日本",
        "it's",
        'a"b',
        "cpu.load (1+)*",
        "$x",
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


def test_a_part_of_a_word_names_no_table(store: ObjectStore, live: LiveRig) -> None:
    """Tables `a` and `A` are not meant by a word that holds the letter; quoted or alone they are."""
    put(live, {name: [row(DAY0_NS, "x", v=1.0)] for name in ("a", "A", "weather")})
    assert ask(store, "SELECT avg(v) AS Avg_A FROM weather") == [{"Avg_A": 1.0}]
    assert ask(store, "SELECT max(v) AS v FROM main.weather") == [{"v": 1.0}]
    for sql in ("SELECT v FROM a", 'SELECT v FROM "A"', "SELECT(v)FROM(SELECT*FROM a)", "SELECT v FROM\nA;"):
        assert ask(store, sql) == [{"v": 1.0}]


def test_an_ingester_that_is_behind_is_reported(store: ObjectStore, live: LiveRig) -> None:
    """The caller learns how far it was, also when the table asked for may be among what is missing."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]})
    reported: list[Behind] = []
    assert ask(store, "SELECT v FROM cpu", on_behind=reported.append) == [{"v": 1.0}]
    assert reported == []
    live.published.begin(live.rig.core.state.epoch, live.rig.core.view, ZERO, lambda: Offset(9))
    assert ask(store, "SELECT v FROM cpu", on_behind=reported.append) == [{"v": 1.0}]
    with pytest.raises(InvalidRequest, match="mem"):
        ask(store, "SELECT v FROM mem", on_behind=reported.append)
    assert reported == [Behind(SequencerId(0), Offset(1), Offset(9))] * 2
    ask(store, "SELECT v FROM cpu", on_behind=reported.append, token={SequencerId(0): Offset(0)})
    assert len(reported) == 2


def test_the_command_says_who_is_behind(store: ObjectStore, live: LiveRig) -> None:
    """One line on stderr, apart from the rows, which stay as they are for a script."""
    run(found_or_join(1, store.url), store)
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]})
    live.published.begin(live.rig.core.state.epoch, live.rig.core.view, ZERO, lambda: Offset(9))
    asked = ["query", "SELECT v FROM cpu", "--namespace", NAMESPACE, "--store", store.url, "--format", "csv"]
    result = CliRunner().invoke(cli, asked)
    assert (result.exit_code, result.stdout) == (0, '"v"\n1\n')
    assert result.stderr == ("sequencer 0 is behind: applied 1 of 9; rows may be missing (give --token to wait)\n")


def test_a_token_is_waited_for_also_by_a_table_that_its_write_made(store: ObjectStore, live: LiveRig) -> None:
    """The table is not known yet when the query comes: a reader of its own write still finds it."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]})
    later = threading.Timer(0.3, lambda: put(live, {"mem": [row(DAY0_NS, "a", v=2.0)]}))
    later.start()
    assert ask(store, "SELECT v FROM mem", token={SequencerId(0): Offset(1)}, timeout_s=20.0) == [{"v": 2.0}]
    later.join()


def test_a_store_in_a_folder_that_looks_like_a_pattern(tmp_path: Path) -> None:
    """Brackets and stars are letters of a path."""
    store = open_store(f"file://{tmp_path}/[x]*/store")
    with LiveRig(store) as live:
        put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]}, persisted=True)
        assert ask(store, "SELECT v FROM cpu") == [{"v": 1.0}]


def test_columns_are_in_order(store: ObjectStore, live: LiveRig) -> None:
    """time, tags by name, fields by name, from every source."""
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


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize(
    "expression",
    [
        "time > now() - INTERVAL 1 HOUR",
        "time < current_timestamp",
        "date_trunc('hour', time)",
        "time_bucket(INTERVAL 1 minute, time)",
        "extract(hour FROM time)",
        "time - INTERVAL 1 HOUR",
        "time BETWEEN '2020-01-01' AND now()",
        "strftime(time, '%H:%M')",
    ],
)
def test_time_can_be_worked_with(store: ObjectStore, live: LiveRig, expression: str, persisted: bool) -> None:
    """What people write about time in SQL runs, over files and memory alike."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]}, persisted)
    assert len(ask(store, f"SELECT {expression} AS x FROM cpu")) == 1


@pytest.mark.parametrize("text", ["2026", "yesterday"])
def test_a_text_that_is_no_time_is_explained(store: ObjectStore, live: LiveRig, text: str) -> None:
    """DuckDB says only that the text is no INT64."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]})
    with pytest.raises(InvalidRequest, match="write it as '2026-01-31' or '2026-01-31 12:00:00'"):
        ask(store, f"SELECT * FROM cpu WHERE time > '{text}'")


def test_a_time_zone_that_does_not_fit_is_explained(store: ObjectStore, live: LiveRig) -> None:
    """DuckDB's refusal comes with the cast that helps, and without its list of candidates."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]})
    with pytest.raises(InvalidRequest, match=r"cast what it is compared with: …::TIMESTAMP_NS"):
        ask(store, "SELECT * FROM cpu WHERE time > TIMESTAMPTZ '2020-01-01'")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT 1; SELECT 2", "one statement"),
        ("CREATE TABLE x (i INT)", "only queries"),
        ("COPY (SELECT 1) TO '/tmp/penstock-never.csv'", "only queries"),
        ("ATTACH '/tmp/penstock-never.db'", "only queries"),
        ("SELECT * FROM read_csv('/etc/passwd')", "table function read_csv is not available"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_a_statement_reads_the_tables_and_nothing_else(
    store: ObjectStore, live: LiveRig, sql: str, message: str
) -> None:
    """One query; no other file, no second statement."""
    with pytest.raises(InvalidRequest, match=message):
        ask(store, sql)


def test_tables_can_be_listed(store: ObjectStore, live: LiveRig) -> None:
    """SHOW TABLES and the information schema know the tables of the namespace, and nothing of how they are made."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)], "mem": [row(DAY0_NS, "a", v=1.0)]})
    assert [found["name"] for found in ask(store, "SHOW TABLES")] == ["cpu", "mem"]
    columns = ask(store, "SELECT column_name FROM information_schema.columns WHERE table_name = 'mem' ORDER BY 1")
    assert [found["column_name"] for found in columns] == ["host", "time", "v"]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ("overwrite", r"the checksum of its bytes is [0-9a-f]{16}, and [0-9a-f]{16} was written \(xxh3-64\)"),
        ("flip", r"the checksum of its bytes is [0-9a-f]{16}, and [0-9a-f]{16} was written \(xxh3-64\)"),
        ("cut", r"it has 100 bytes, and \d+ were written"),
        ("remove", "it is missing"),
    ],
)
@pytest.mark.parametrize("overlap", [False, True])
def test_a_damaged_file_is_named(store: ObjectStore, live: LiveRig, harm: str, why: str, overlap: bool) -> None:
    """Missing, cut or changed: DataCorrupt with the file's path and which of the three, never the caller's fault."""
    put(live, {"cpu": [row(DAY0_NS, f"h{n}", v=1.0 * n) for n in range(1000)]}, persisted=True)
    if overlap:
        put(live, {"cpu": [row(DAY0_NS, "h1", v=2.0)]})
    (file,) = live.rig.core.state.files.values()
    path = Path(store.local_path(file.path) or "")
    data = path.read_bytes()
    path.unlink()
    if harm == "overwrite":
        path.write_bytes(data[:40] + b"\xff" * (len(data) // 2) + data[40 + len(data) // 2 :])
    elif harm == "flip":
        path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    elif harm == "cut":
        path.write_bytes(data[:100])
    with pytest.raises(
        DataCorrupt, match=f"{re.escape(file.path)}: {why}. The manifest names this file with 1000 rows"
    ):
        ask(store, "SELECT max(time), sum(v), max(host) FROM cpu")


def test_the_files_are_looked_at_before_the_statement_is_blamed(store: ObjectStore, live: LiveRig) -> None:
    """A statement that fails while it runs is the caller's only when every file is as it was written."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)]}, persisted=True)
    with pytest.raises(InvalidRequest, match="Could not convert string"):
        ask(store, "SELECT host::INTEGER FROM cpu")
    (file,) = live.rig.core.state.files.values()
    path = Path(store.local_path(file.path) or "")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataCorrupt, match=re.escape(file.path)):
        ask(store, "SELECT host::INTEGER FROM cpu")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            (
                "Flight returned unavailable error, with message: failed to connect to all addresses; last error: "
                "UNKNOWN: ipv6:%5B::1%5D:1: Failed to connect to remote host: Connection refused. "
                "gRPC client debug context: UNAVAILABLE:failed to connect to all addresses"
            ),
            "Connection refused",
        ),
        (
            "Flight returned timed out error, with message: Deadline Exceeded. gRPC client debug context: x",
            "Deadline Exceeded",
        ),
        ("no ingester ever claimed it", "no ingester ever claimed it"),
        (
            "Flight returned unavailable error, with message: sequencer 0 has applied up to 7. Detail: Unavailable",
            "sequencer 0 has applied up to 7",
        ),
    ],
)
def test_why_an_ingester_does_not_answer_is_said_without_grpcs_words(error: str, said: str) -> None:
    """What the operating system or the deadline says; the address is named beside it."""
    assert cause(error) == said
