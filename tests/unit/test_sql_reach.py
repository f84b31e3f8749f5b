"""What a statement can reach: the rows of its namespace's tables, and nothing else of this machine."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from common.catalog.cluster import found_or_join
from common.store.objects import ObjectStore, run
from common.store.opening import open_store
from common.values.errors import InvalidRequest
from penstock.query import sql as engine
from penstock.query.query import query
from tests.support.asked import ask, put
from tests.support.live_rig import LiveRig
from tests.support.records import DAY0_NS, NAMESPACE, row

FILE = "{file}"
"""Replaced by the path of a persisted file."""
VICTIM = "{victim}"
"""Replaced by the path of a file that is none of the store's."""

REFUSED = [
    # what writes, plainly and in disguise
    (f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{FILE}' (FORMAT parquet, USE_TMP_FILE false)", "--explain"),
    (f"EXPLAIN COPY (SELECT 1) TO '{FILE}'", "--explain"),
    ("EXPLAIN SELECT 1", "--explain"),
    (f"COPY (SELECT 1) TO '{FILE}' (FORMAT parquet, USE_TMP_FILE false)", "only queries"),
    (f"COPY cpu FROM '{FILE}'", "only queries"),
    (f"/* SELECT 1 */ COPY (SELECT 1) TO '{FILE}'", "only queries"),
    (f"-- SELECT 1\nCOPY (SELECT 1) TO '{FILE}'", "only queries"),
    (f"SELECT 1; COPY (SELECT 1) TO '{FILE}'", "one statement"),
    (f"SELECT 1;;COPY (SELECT 1) TO '{FILE}'", "one statement"),
    (f"PREPARE p AS COPY (SELECT 1) TO '{FILE}'", "only queries"),
    ("EXECUTE p", "only queries"),
    ("EXPORT DATABASE '/tmp/penstock-never'", "only queries"),
    ("IMPORT DATABASE '/tmp/penstock-never'", "only queries"),
    ("CREATE TABLE x AS SELECT 1", "only queries"),
    ("CREATE OR REPLACE VIEW cpu AS SELECT 1", "only queries"),
    ("DROP VIEW cpu", "only queries"),
    ("INSERT INTO cpu VALUES (1)", "only queries"),
    ("UPDATE cpu SET v = 1", "only queries"),
    ("DELETE FROM cpu", "only queries"),
    ("WITH x AS (DELETE FROM cpu RETURNING *) SELECT * FROM x", "only queries"),
    ("WITH x AS (INSERT INTO cpu VALUES (1) RETURNING *) SELECT * FROM x", "only queries"),
    ("WITH x AS (UPDATE cpu SET v = 1 RETURNING *) SELECT * FROM x", "only queries"),
    ("SELECT * FROM (WITH x AS (DELETE FROM cpu RETURNING *) SELECT * FROM x)", "only queries"),
    # settings, extensions, other databases
    ("SET enable_external_access = true", "only queries"),
    ("RESET lock_configuration", "only queries"),
    ("PRAGMA database_list", "only queries"),
    ("CALL pragma_version()", "only queries"),
    ("CHECKPOINT", "only queries"),
    ("VACUUM", "only queries"),
    ("INSTALL httpfs", "only queries"),
    ("LOAD httpfs", "only queries"),
    ("ATTACH '/tmp/penstock-never.db'", "only queries"),
    ("USE memory", "only queries"),
    ("BEGIN", "only queries"),
    ("CREATE SECRET s (TYPE s3)", "only queries"),
    ("SELECT current_setting('allowed_paths')", "function current_setting is not available"),
    ("SELECT CURRENT_SETTING('memory_limit')", "not available"),
    ("SELECT v FROM cpu ORDER BY current_setting('threads')", "not available"),
    ("SELECT getenv('HOME')", "not available"),
    ("SELECT write_log('x')", "not available"),
    ("SELECT nextval('s')", "not available"),
    ("SELECT sleep_ms(1)", "not available"),
    # table functions
    ("SELECT * FROM duckdb_settings()", "table function duckdb_settings is not available"),
    ("SELECT * FROM duckdb_views()", "not available"),
    ("SELECT * FROM duckdb_secrets()", "not available"),
    ("SELECT * FROM pragma_database_list()", "not available"),
    ("SELECT * FROM query('COPY (SELECT 1) TO ''/tmp/penstock-never''')", "not available"),
    ("SELECT * FROM query_table('cpu')", "not available"),
    ("SELECT * FROM json_execute_serialized_sql('{}')", "not available"),
    ("SELECT * FROM read_csv('/etc/passwd')", "not available"),
    ("SELECT * FROM READ_TEXT('/etc/passwd')", "not available"),
    (f"SELECT * FROM read_blob('{FILE}')", "not available"),
    (f"SELECT * FROM read_parquet('{FILE}')", "not available"),
    (f"SELECT * FROM parquet_metadata('{FILE}')", "not available"),
    ("SELECT * FROM sniff_csv('/etc/passwd')", "not available"),
    ("SELECT * FROM glob('/etc/*')", "not available"),
    ("SELECT (SELECT max(content) FROM read_text('/etc/passwd'))", "not available"),
    ("SELECT * FROM cpu, LATERAL (SELECT * FROM glob('/etc/*'))", "not available"),
    ("SELECT * FROM arrow_scan(1, 1, 1)", "not available"),
    ("SELECT * FROM pandas_scan(1)", "not available"),
    ("SELECT * FROM seq_scan(1)", "not available"),
    ("SELECT * FROM python_map_function(1)", "not available"),
    ("SELECT * FROM which_secret('s3://x', 's3')", "not available"),
    ("SELECT * FROM add_parquet_key('k', 'v')", "not available"),
    # names that are no tables of the namespace
    ("SELECT * FROM '/etc/passwd'", "there is no table '/etc/passwd'"),
    (f"SELECT * FROM '{FILE}'", "there is no table"),
    (f"FROM '{VICTIM}'", "there is no table"),
    ("SELECT * FROM 'https://example.org/x.parquet'", "there is no table"),
    ("SELECT * FROM rows_of_python", "there is no table 'rows_of_python'"),
    ("SELECT * FROM penstock_rows_0", "there is no table"),
    ("SELECT * FROM temp.penstock_rows_0", "of its --namespace"),
    ("SELECT * FROM duckdb_tables", "there is no table"),
    ("SELECT * FROM sqlite_master", "there is no table"),
    ("SELECT * FROM pg_catalog.pg_settings", "of its --namespace"),
    ("SELECT * FROM system.main.duckdb_settings", "of its --namespace"),
    # forms of their own
    ("SHOW DATABASES", "only SHOW TABLES"),
    ("SHOW VARIABLES", "only SHOW TABLES"),
    ("SELECT name FROM (SHOW TABLES)", "a statement of its own"),
    ("PIVOT cpu ON host USING sum(v)", "PIVOT has to name its values"),
    ("", "one statement; these are 0"),
    (";", "one statement; these are 0"),
    ("SELECT $1", "1"),
    (f"SELECT {'+'.join(['1'] * 5000)}", "nested too deeply|expression depth"),
    (f"SELECT {'(SELECT ' * 500}1{')' * 500}", "nested too deeply|expression depth|stack"),
]

HARMLESS = [
    "EXPLAIN",
    "SELECT v FROM cpu -- COPY (SELECT 1) TO 'x'",
    "SELECT 'COPY (SELECT 1) TO ''x''' AS text",
    "WITH x AS (SELECT v FROM cpu) SELECT * FROM x",
    "WITH RECURSIVE t AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM t WHERE i < 5) SELECT * FROM t",
    "SELECT * FROM (PIVOT cpu ON host IN ('a') USING sum(v))",
    "SELECT * FROM range(3)",
    "SELECT unnest([1, 2]) AS x",
    "VALUES (1)",
    "FROM cpu",
    "TABLE cpu",
    "DESCRIBE cpu",
    "SUMMARIZE cpu",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SELECT table_name FROM information_schema.tables",
    "SELECT random() AS r, uuid() AS u, version() AS v",
    "SELECT * FROM main.cpu",
    f"SELECT v FROM cpu WHERE v IN ({', '.join(map(str, range(5000)))})",
    f"SELECT v FROM cpu WHERE {' OR '.join(f'v = {n}' for n in range(1000))}",
    f"SELECT v FROM cpu WHERE time >= now() {'- INTERVAL 1 YEAR ' * 100}",
]

rows_of_python = pa.table({"secret": [1]})
"""A variable that DuckDB's Python client would find by its name."""


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(f"file://{tmp_path}/store")


@pytest.fixture
def live(store: ObjectStore) -> Iterator[LiveRig]:
    with LiveRig(store) as rig:
        put(rig, {"cpu": [row(DAY0_NS, "a", v=1.0), row(DAY0_NS + 1, "b", v=2.0)]}, persisted=True)
        yield rig


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("sql", "message"), REFUSED, ids=[sql[:60] for sql, _ in REFUSED])
def test_what_reaches_further_is_refused(
    store: ObjectStore, live: LiveRig, tmp_path: Path, sql: str, message: str
) -> None:
    """With a plain message; every file of the machine that it names stays as it was, and none appears."""
    (file,) = live.rig.core.state.files.values()
    victim = tmp_path / "victim.csv"
    victim.write_text("a,b\n1,2\n")
    before = digests(tmp_path)
    with pytest.raises(InvalidRequest, match=message):
        ask(store, sql.replace(FILE, str(store.local_path(file.path))).replace(VICTIM, str(victim)))
    assert digests(tmp_path) == before
    assert not list(Path("/tmp").glob("penstock-never*"))


@pytest.mark.parametrize("sql", HARMLESS, ids=[sql[:60] for sql in HARMLESS])
def test_what_only_reads_is_run(store: ObjectStore, live: LiveRig, tmp_path: Path, sql: str) -> None:
    """And leaves every file as it was."""
    before = digests(tmp_path)
    if sql == "EXPLAIN":
        assert ask(store, "SELECT v FROM cpu", explain="EXPLAIN")
        assert ask(store, "SELECT v FROM cpu", explain="EXPLAIN ANALYZE")
    else:
        assert ask(store, sql)
    assert digests(tmp_path) == before


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)",
        "SELECT * FROM read_parquet('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "ATTACH '{file}.db'",
        "SET enable_external_access = true",
        "SET allowed_paths = ['{file}']",
        "SET temp_directory = '/tmp/penstock-never'",
        "EXPORT DATABASE '/tmp/penstock-never'",
        "LOAD '/tmp/penstock-never.so'",
        "INSTALL httpfs",
        "SELECT * FROM rows_of_python",
    ],
)
def test_the_engine_itself_reaches_no_file(store: ObjectStore, live: LiveRig, tmp_path: Path, sql: str) -> None:
    """The second line: were a statement to pass the check, DuckDB still could not open what it names."""
    (file,) = live.rig.core.state.files.values()
    before = digests(tmp_path)
    with engine.Engine(store) as running, pytest.raises((InvalidRequest, duckdb.Error)):
        running.run(sql.replace(FILE, str(store.local_path(file.path))), "", "")
    assert digests(tmp_path) == before
    assert not list(Path("/tmp").glob("penstock-never*"))


def test_a_large_sort_spills_into_a_folder_that_is_removed(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; what does not fit goes to a folder of this query alone."""
    monkeypatch.setattr(engine, "_SETTINGS", {**engine._SETTINGS, "memory_limit": "60MB"})
    with engine.Engine(store) as running:
        folder = Path(running._spill.name)
        assert list(running.run("SELECT count(*) AS n FROM (SELECT random() r FROM range(9000000) ORDER BY r)", "", ""))
        assert folder.exists()
    assert not folder.exists()


def test_a_result_that_is_too_large_is_refused(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it takes the machine's memory, with what to do."""
    monkeypatch.setattr(engine, "RESULT_BYTES_MAX", 8 << 20)
    with pytest.raises(InvalidRequest, match=r"more than 8 MiB, after \d+ rows: ask for less"):
        query("SELECT * FROM range(1000000000000000000)", NAMESPACE, store, 1, stored_only=True)


ENDLESS = "SELECT sum(random()) FROM range(1000000000000000000)"


def test_ctrl_c_ends_a_statement_that_never_would(tmp_path: Path, store: ObjectStore) -> None:
    """Within seconds, as any command ends by it."""
    run(found_or_join(1, store.url), store)
    command = [sys.executable, "-m", "penstock", "query", ENDLESS, "--namespace", "x", "--stored-only"]
    child = subprocess.Popen(
        [*command, "--store", store.url, "--data", str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    watch = threading.Timer(90, child.kill)
    watch.start()
    while _cpu_s(child.pid) < 2.0:  # it has started and computes
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate()
    watch.cancel()
    assert child.returncode == 130, error
    assert "Traceback" not in error


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
