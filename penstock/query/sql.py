"""One checked SELECT in DuckDB, over tables whose rows are in files and in memory.

The engine has nothing to write to and nothing else to read: its tables are Arrow datasets, opened by Arrow, of which
DuckDB knows no path; access to files, network and extensions is off, and its settings are locked. Projections and
filters reach the Parquet files all the same. `time` is TIMESTAMP_NS in UTC, and now(), current_timestamp and today()
are fixed when the query begins, the first two of the same type as `time`: DuckDB 2.0 neither compares nor subtracts
TIMESTAMP WITH TIME ZONE and TIMESTAMP_NS.
"""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs

from common.catalog.merge import concatenated
from common.store.objects import ObjectStore
from common.values.errors import InvalidRequest
from common.values.schema import TIME, Columns, arrow_schema
from penstock.query.names import quoted
from penstock.query.sources import Sources
from penstock.query.statement import Statement, parsed
from penstock.query.stored import check_all, checked

RESULT_BYTES_MAX = 2 << 30
"""A result is held whole to be shown; more than this is refused before it takes the machine's memory."""

_SPILL_BYTES_MAX = "10GB"
_BATCH_ROWS = 65_536
_LOOK_S = 0.1
"""How soon Ctrl-C ends a running statement."""

_SETTINGS: Mapping[str, str] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "memory_limit": "50%",
    "max_temp_directory_size": _SPILL_BYTES_MAX,
}
_NOW = ("now", "current_timestamp", "get_current_timestamp")
_BINDING = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.PermissionException)
"""Errors of a statement before any file is opened. After any other error the files are checked first."""

_TIME_TYPE = pa.timestamp("ns")
_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)
_LOCAL = pyarrow.fs.LocalFileSystem()
_NOISE = re.compile(r"\s*(Did you mean|Candidate functions|Candidate macros|Candidate tables).*", re.DOTALL)


class Engine:
    """For one statement; use as a context. Not shared between threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._spill = tempfile.TemporaryDirectory(prefix="penstock-query-")
        self._connection = duckdb.connect(config={**_SETTINGS, "temp_directory": self._spill.name})
        self._connection.execute("SET TimeZone = 'UTC'")
        self._fix_now()
        self._sources: list[Sources] = []

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()
        self._spill.cleanup()

    def parsed(self, sql: str) -> Statement:
        """Raises InvalidRequest for what is not one SELECT that stays within its tables."""
        return parsed(sql, self._serialized)

    def times(self, expressions: Sequence[Mapping[str, Any]]) -> list[int | None]:
        """Constant expressions of a statement's tree as ns since 1970; None for one that is no time."""
        return [self._time(expression) for expression in expressions]

    def add_table(self, table: str, sources: Sources, columns: Columns, names: Mapping[str, str]) -> None:
        """Make a table for the statement. columns: of its rows, each with a name in `names`. names: theirs in SQL."""
        rows = f"penstock_rows_{len(self._sources)}"
        self._sources.append(sources)
        kept = {column: kind for column, kind in columns.items() if column in names}
        dataset = _dataset(sources, kept, self._store)
        self._connection.register(rows, dataset)
        listed = [quoted(names.get(column, column)) for column in dataset.schema.names]
        self._connection.execute(f"CREATE VIEW {quoted(table)} ({', '.join(listed)}) AS SELECT * FROM {rows}")

    def run(self, sql: str, explain: str, hint: str) -> pa.Table:
        """The result of a checked statement. explain: "", "EXPLAIN" or "EXPLAIN ANALYZE". hint: for whoever wrote it.

        Raises InvalidRequest, or DataCorrupt naming a file that is missing or damaged. Ctrl-C ends it at once.
        """
        self._connection.execute("SET lock_configuration = true")
        try:
            return self._interruptible(f"{explain} {sql}")
        except duckdb.Error as error:
            raise self._translated(error, hint) from None

    def _fix_now(self) -> None:
        now_ns = self._value("SELECT epoch_ns(now())")
        for name in _NOW:
            self._connection.execute(f"CREATE MACRO {name}() AS make_timestamp_ns({now_ns})")
        self._connection.execute(f"CREATE MACRO today() AS make_timestamp_ns({now_ns})::DATE")

    def _serialized(self, sql: str) -> str:
        return str(self._value("SELECT json_serialize_sql($1)", sql))

    def _time(self, expression: Mapping[str, Any]) -> int | None:
        tree = json.loads(self._serialized("SELECT epoch_ns(TRY_CAST(0 AS TIMESTAMP_NS))"))
        call = tree["statements"][0]["node"]["select_list"][0]
        call["arguments"][0]["expression"]["child"] = expression
        try:
            time_ns = self._value(self._value("SELECT json_deserialize_sql($1)", json.dumps(tree)))
        except (duckdb.Error, RecursionError):
            return None  # the statement says so itself when it runs
        return None if time_ns is None else int(time_ns)

    def _value(self, sql: str, *parameters: str) -> Any:
        """The one value of a statement of our own."""
        ((value,),) = self._connection.execute(sql, parameters).fetchall()
        return value

    def _interruptible(self, sql: str) -> pa.Table:
        """On a thread of its own: a signal reaches Python only between two looks."""
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self._result, sql)
            try:
                while not wait([running], _LOOK_S).done:
                    pass
            except BaseException:
                self._connection.interrupt()
                raise
            return running.result()

    def _result(self, sql: str) -> pa.Table:
        reader = self._connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
        batches, size = [], 0
        for batch in reader:
            batches.append(batch)
            size += batch.nbytes
            if size > RESULT_BYTES_MAX:
                raise InvalidRequest(
                    f"the result has more than {RESULT_BYTES_MAX >> 20} MiB, after {sum(map(len, batches))} rows: "
                    "ask for less (WHERE, LIMIT, GROUP BY)"
                )
        return pa.Table.from_batches(batches, reader.schema)

    def _translated(self, error: duckdb.Error, hint: str) -> InvalidRequest:
        """The statement's fault, unless a file is found damaged: then DataCorrupt is raised."""
        if not isinstance(error, _BINDING):
            check_all((file for sources in self._sources for file in sources.files), self._store)
        message = str(error).strip()
        if "TIMESTAMP" in message:
            hint = f"Column time is TIMESTAMP_NS, in UTC; cast what it is compared with: …::TIMESTAMP_NS.\n{hint}"
        if isinstance(error, duckdb.ConversionException) and "to INT64" in message:
            hint = f"If that is a time (INT64 to DuckDB): write it as '2026-01-31' or '2026-01-31 12:00:00'.\n{hint}"
        return InvalidRequest(f"{_NOISE.sub('', message)}\n{hint}")


def _dataset(sources: Sources, columns: Columns, store: ObjectStore) -> ds.Dataset:
    """Files and rows of one table as one dataset with exactly these columns; a file that lacks one has nulls."""
    schema = arrow_schema(columns)
    schema = schema.set(schema.get_field_index(TIME), pa.field(TIME, _TIME_TYPE))
    fragments = [_fragment(path, store) for path in sources.files]
    files = ds.FileSystemDataset(fragments, schema, _FORMAT, _LOCAL)
    if not sources.merged:
        return files
    rows = concatenated(sources.merged, columns).cast(schema)
    return ds.UnionDataset(schema, [files, ds.InMemoryDataset(rows)])


def _fragment(file: Any, store: ObjectStore) -> ds.Fragment:
    path = store.local_path(file.path)
    if path is None:
        return _FORMAT.make_fragment(pa.BufferReader(checked(file, store)))
    return _FORMAT.make_fragment(path, _LOCAL)
