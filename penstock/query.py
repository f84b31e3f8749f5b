"""SQL over files and memory: one table each for the tables of a namespace, each stored row in it once.

For each sequencer the ingester's rows and exactly the manifest they complement are read (memory_rows.py). Where the
manifest shows that files of one partition overlap in time, with each other or with rows in memory, that partition is
merged by the rule persists use (later wins, field by field); all other files are read as they are, by DuckDB.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import InvalidRequest
from common.ids import Offset, SequencerId
from common.objectstore import ObjectStore, run
from common.schema import DAY_NS, TIME, ColumnType, columns_of, union
from ingester.persist import manifest
from ingester.persist.manifest_state import StoredFile
from ingester.persist.merge import merge
from penstock.memory_rows import SequencerClient, SequencerRows, stored_rows, stored_tables

TIMEOUT_S = 10.0
PARALLEL = 16


@dataclass(frozen=True)
class Sources:
    """Where one table's rows stand. files: to be read as they are. merged: rows of overlapping partitions."""

    files: list[StoredFile] = field(default_factory=list)
    merged: list[pa.Table] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)


def query(
    sql: str,
    namespace: str,
    store: ObjectStore,
    sequencers: int,
    *,
    token: Mapping[SequencerId, Offset] | None = None,
    timeout_s: float = TIMEOUT_S,
    stored_only: bool = False,
) -> pa.Table:
    """The result of one SQL statement over the tables of `namespace`, in DuckDB's dialect.

    token: offsets of a write token (common/token.py) that must be applied first. timeout_s: for ingesters to answer.
    Raises InvalidRequest for SQL that DuckDB refuses or an unknown namespace, Unavailable naming the sequencer that
    lags or does not answer.
    """
    known = range(sequencers)
    if unknown := sorted(set(token or {}) - set(known)):
        raise InvalidRequest(f"the write token names sequencer {unknown[0]}; the cluster has {sequencers}", token=token)
    if stored_only:
        asked = [_stored(store, SequencerId(sequencer)) for sequencer in known]
    else:
        deadline_s = time.monotonic() + timeout_s
        asked = [_live(store, SequencerId(sequencer), token or {}, deadline_s) for sequencer in known]
    with ThreadPoolExecutor(PARALLEL) as pool:
        tables = sorted(set().union(*pool.map(lambda each: each.tables(namespace), asked)))
        wanted = _named(tables, sql)
        sources = {}
        for table in wanted:
            parts = pool.map(lambda each, table=table: each.rows(namespace, table), asked)
            sources[table] = table_sources(namespace, table, list(parts), store)
    return _run(sql, sources, store, _hint(namespace, tables))


def _named(tables: Iterable[str], sql: str) -> list[str]:
    """The tables that the statement may name: those whose name stands in it, plain or as SQL quotes it.

    SQL's names ignore case: of tables that differ in nothing else the one written exactly so is taken.
    """
    text = sql.lower()
    named: dict[str, list[str]] = {}
    for table in tables:
        if table.lower() in text or _quoted(table).lower() in text:
            named.setdefault(table.lower(), []).append(table)
    return [_only(alike, sql) for alike in named.values()]


def _only(alike: list[str], sql: str) -> str:
    if len(alike) == 1:
        return alike[0]
    exact = [table for table in alike if table in sql or _quoted(table) in sql]
    if len(exact) != 1:
        raise InvalidRequest(
            f"tables {' and '.join(alike)} differ in case only, which SQL ignores: write one of them exactly, and the "
            "other in a statement of its own"
        )
    return exact[0]


@dataclass(frozen=True)
class _Asked:
    tables: Callable[[str], set[str]]
    rows: Callable[[str, str], SequencerRows]


def _live(store: ObjectStore, sequencer: SequencerId, token: Mapping[SequencerId, Offset], deadline_s: float) -> _Asked:
    client = SequencerClient(store, sequencer, token.get(sequencer), deadline_s)
    return _Asked(client.tables, client.rows)


def _stored(store: ObjectStore, sequencer: SequencerId) -> _Asked:
    state = run(manifest.load(sequencer), store)
    return _Asked(lambda namespace: stored_tables(state, namespace), lambda namespace, table: stored_rows(state))


def table_sources(namespace: str, table: str, parts: Iterable[SequencerRows], store: ObjectStore) -> Sources:
    """Where the rows of one table stand, given what each sequencer holds of it."""
    sources = Sources()
    for part in parts:
        files = defaultdict(list)
        for file in part.state.files.values():
            if (file.partition.namespace, file.partition.table) == (namespace, table):
                files[file.partition.day].append(file)
                sources.tags.update(file.sort_key)
        in_memory = _by_day(part.rows)
        sources.tags.update(_tags(part.rows))
        for day in sorted({*files, *in_memory}):
            _add_partition(sources, files[day], in_memory.get(day), store)
    return sources


def _by_day(rows: pa.Table) -> dict[int, pa.Table]:
    days = rows.column(TIME).combine_chunks().view(pa.int64()).to_numpy() // DAY_NS
    return {int(day): rows.filter(pa.array(days == day)) for day in np.unique(days)}


def _tags(rows: pa.Table) -> list[str]:
    return [name for name, column in columns_of(rows.schema).items() if column is ColumnType.TAG]


def _add_partition(sources: Sources, files: list[StoredFile], in_memory: pa.Table | None, store: ObjectStore) -> None:
    """One partition of one sequencer: what overlaps is merged, in the order of commits, memory last."""
    ranges = [(file.time_ns_min, file.time_ns_max) for file in files]
    if in_memory is not None:
        times = in_memory.column(TIME).combine_chunks().view(pa.int64()).to_numpy()
        ranges.append((int(times.min()), int(times.max())))
    overlap = any(first[1] >= second[0] for first, second in itertools.pairwise(sorted(ranges)))
    if not overlap:
        sources.files.extend(files)
    parts = [_read(file, store) for file in files] if overlap else []
    if in_memory is not None:
        parts.append(in_memory)
    if parts:
        columns = union(columns_of(part.schema) for part in parts)
        sort_key = sorted(name for name, column in columns.items() if column is ColumnType.TAG)
        sources.merged.append(merge(parts, columns, sort_key).rows)


def _read(file: StoredFile, store: ObjectStore) -> pa.Table:
    return pq.read_table(pa.BufferReader(store.get(file.path)))


def _run(sql: str, sources: Mapping[str, Sources], store: ObjectStore, hint: str) -> pa.Table:
    with duckdb.connect() as connection:
        for number, (table, found) in enumerate(sources.items()):
            _make_view(connection, number, table, found, store)
        try:
            return connection.sql(sql).to_arrow_table()
        except AttributeError:
            raise InvalidRequest("the statement returns no rows: give one SELECT") from None
        except duckdb.Error as error:
            raise InvalidRequest(f"{str(error).strip()}\n{hint}", sql=sql) from None


def _make_view(
    connection: duckdb.DuckDBPyConnection, number: int, table: str, sources: Sources, store: ObjectStore
) -> None:
    selects = []
    local = [path for file in sources.files if (path := store.local_path(file.path))]
    if local:
        paths = ", ".join(f"'{_quoted(path, chr(39))}'" for path in local)
        selects.append(f"SELECT * FROM read_parquet([{paths}], union_by_name = true, hive_partitioning = false)")
    fetched = [_read(file, store) for file in sources.files if store.local_path(file.path) is None]
    tables = [*fetched, *sources.merged]
    if tables:
        rows = pa.concat_tables([_plain(part) for part in tables], promote_options="default")
        connection.register(f"penstock_rows_{number}", rows)
        selects.append(f"SELECT * FROM penstock_rows_{number}")
    union_all = " UNION ALL BY NAME ".join(selects)
    names = connection.sql(union_all).columns
    tags = sorted(sources.tags & set(names))
    ordered = [TIME, *tags, *sorted(set(names) - {TIME, *tags})]
    listed = ", ".join(f'"{_quoted(name)}"' for name in ordered)
    connection.execute(f'CREATE VIEW "{_quoted(table)}" AS SELECT {listed} FROM ({union_all})')


def _plain(rows: pa.Table) -> pa.Table:
    """Tags as plain strings: tables whose dictionaries differ can then stand in one."""
    schema = pa.schema(
        [pa.field(f.name, pa.utf8() if pa.types.is_dictionary(f.type) else f.type, f.nullable) for f in rows.schema]
    )
    return rows.cast(schema)


def _quoted(name: str, quote: str = '"') -> str:
    return name.replace(quote, quote * 2)


def _hint(namespace: str, tables: list[str]) -> str:
    if not tables:
        return f"Namespace {namespace!r} has no tables: nothing was written to it yet, or its name is another."
    shown = ", ".join(tables[:20]) + (", …" if len(tables) > 20 else "")
    return f"Tables of namespace {namespace!r}: {shown}."
