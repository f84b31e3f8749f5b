"""One SQL statement in DuckDB over tables whose rows stand in files and in memory.

The statement sees views and nothing else: no file but those of its tables, no network, no second statement. `time` is
TIMESTAMP_NS in UTC, and now() and current_timestamp are of the same type: DuckDB's own have a time zone, which it
neither compares with nor subtracts from nanoseconds.
"""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from common.errors import DataCorrupt, InvalidRequest
from common.objectstore import NotFound, ObjectStore
from common.schema import TIME
from ingester.persist.manifest_state import StoredFile

_LOOK_S = 0.1
"""How soon Ctrl-C ends a running statement."""

_NOW = ("now", "current_timestamp", "get_current_timestamp")
_CALLERS = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.PermissionException)
"""Errors that are the statement's; any other makes one look at the files first."""

_SHOW_TABLES = re.compile(r"\s*show\s+(all\s+)?tables\s*;?\s*", re.IGNORECASE)
_TABLES = "SELECT view_name AS name FROM duckdb_views() WHERE NOT internal AND NOT temporary ORDER BY 1"
"""SHOW TABLES, without the temporary views that hold rows from memory."""

_NOISE = re.compile(r"\s*(Did you mean|Candidate functions|Candidate macros|Candidate tables).*", re.DOTALL)


@dataclass(frozen=True)
class Sources:
    """Where one table's rows stand. files: to be read as they are. merged: rows of overlapping partitions."""

    files: list[StoredFile] = field(default_factory=list)
    merged: list[pa.Table] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)


def read_stored(file: StoredFile, store: ObjectStore) -> pa.Table:
    """A file's rows. Raises DataCorrupt naming it where it is missing or damaged, Unavailable."""
    try:
        return pq.read_table(pa.BufferReader(store.get(file.path)), page_checksum_verification=True)
    except NotFound:
        raise _damaged(file, "it is missing") from None
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, str(error)) from None


def execute(sql: str, tables: Mapping[str, Sources], store: ObjectStore, hint: str) -> pa.Table:
    """The statement's result. hint: said beside DuckDB's own words when it refuses the statement.

    Raises InvalidRequest, or DataCorrupt naming a file that is missing or damaged. Ctrl-C ends the statement at once.
    """
    _check_one_query(sql)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name in _NOW:
            connection.execute(f"CREATE MACRO {name}() AS make_timestamp_ns(epoch_ns(transaction_timestamp()))")
        try:
            for number, (table, sources) in enumerate(tables.items()):
                _make_view(connection, number, table, sources, store)
            _shut_off(connection, tables, store)
            return _interruptible(connection, _TABLES if _SHOW_TABLES.fullmatch(sql) else sql)
        except duckdb.Error as error:
            raise _translated(error, tables, store, hint) from None


def quoted(name: str, quote: str = '"') -> str:
    """What stands between the quotes that SQL puts around a name."""
    return name.replace(quote, quote * 2)


def _check_one_query(sql: str) -> None:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise InvalidRequest(str(error).strip(), sql=sql) from None
    if len(statements) != 1:
        raise InvalidRequest(f"give one statement; these are {len(statements)}", sql=sql)
    if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise InvalidRequest("only queries are run: SELECT, SHOW TABLES, DESCRIBE or EXPLAIN", sql=sql)


def _interruptible(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """On a thread of its own: a signal reaches Python only between two looks."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: connection.sql(sql).to_arrow_table())
        try:
            while not wait([running], _LOOK_S).done:
                pass
        except BaseException:
            connection.interrupt()
            raise
        return running.result()


def _shut_off(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Sources], store: ObjectStore) -> None:
    paths = [path for sources in tables.values() for path in _local_paths(sources, store)]
    connection.execute(f"SET allowed_paths = [{_literals(paths)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _make_view(
    connection: duckdb.DuckDBPyConnection, number: int, table: str, sources: Sources, store: ObjectStore
) -> None:
    selects = []
    local = _local_paths(sources, store)
    if local:
        selects.append(
            f"SELECT * FROM read_parquet([{_literals(local)}], union_by_name = true, hive_partitioning = false)"
        )
    fetched = [read_stored(file, store) for file in sources.files if store.local_path(file.path) is None]
    rows = [*fetched, *sources.merged]
    if rows:
        connection.register(
            f"penstock_rows_{number}", pa.concat_tables([_plain(part) for part in rows], promote_options="default")
        )
        selects.append(f"SELECT * FROM penstock_rows_{number}")
    union_all = " UNION ALL BY NAME ".join(selects)
    names = connection.sql(union_all).columns
    tags = sorted(sources.tags & set(names))
    listed = [f'"{quoted(name)}"' for name in (*tags, *sorted(set(names) - {TIME, *tags}))]
    columns = ", ".join([f"{TIME}::TIMESTAMP_NS AS {TIME}", *listed])
    connection.execute(f'CREATE VIEW "{quoted(table)}" AS SELECT {columns} FROM ({union_all})')


def _plain(rows: pa.Table) -> pa.Table:
    """Tags as plain strings: tables whose dictionaries differ can then stand in one."""
    schema = pa.schema(
        [pa.field(f.name, pa.utf8() if pa.types.is_dictionary(f.type) else f.type, f.nullable) for f in rows.schema]
    )
    return rows.cast(schema)


def _local_paths(sources: Sources, store: ObjectStore) -> list[str]:
    return [path for file in sources.files if (path := store.local_path(file.path))]


def _literals(texts: list[str]) -> str:
    return ", ".join(f"'{quoted(text, chr(39))}'" for text in texts)


def _translated(
    error: duckdb.Error, tables: Mapping[str, Sources], store: ObjectStore, hint: str
) -> DataCorrupt | InvalidRequest:
    message = str(error).strip()
    if not isinstance(error, _CALLERS):
        for file in (file for sources in tables.values() for file in sources.files):
            if why := _harm(file, store):
                return _damaged(file, why)
    said = _NOISE.sub("", message)
    if "TIMESTAMP" in message:
        hint = f"Column time is TIMESTAMP_NS, in UTC; cast what it is compared with: …::TIMESTAMP_NS.\n{hint}"
    return InvalidRequest(f"{said}\n{hint}")


def _harm(file: StoredFile, store: ObjectStore) -> str:
    """What is wrong with a file by its size and checksum, or nothing. Looked at once DuckDB has stumbled."""
    try:
        data = store.get(file.path)
    except NotFound:
        return "it is missing"
    if xxhash.xxh3_64_intdigest(data) == file.checksum:
        return ""
    return f"its {len(data)} bytes are not the {file.size_bytes} that were written"


def _damaged(file: StoredFile, why: str) -> DataCorrupt:
    return DataCorrupt(
        f"{file.path}: {why}. The manifest names this file with {file.rows} rows and xxh3 {file.checksum:016x}: "
        "restore it from a copy of the store",
        path=file.path,
    )
