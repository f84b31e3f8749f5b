"""SQL over files and memory: one table each for the tables of a namespace, each stored row in it once.

The statement is checked (statement.py), and its WHERE clauses give the stretch of time it can need (time_range.py). For
each sequencer the ingester's rows and exactly the manifest they complement are read (memory_rows.py); what overlaps is
merged (sources.py), columns get their SQL names (names.py), and DuckDB runs the statement over the result (sql.py).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from common.catalog import schema_store
from common.catalog.manifest import manifest
from common.store.objects import ObjectStore, run
from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from common.values.schema import ColumnType, columns_of, union
from penstock.query.memory_rows import Behind, SequencerClient, SequencerRows, stored_rows
from penstock.query.names import collide, column_names, fold, notes, tables_named
from penstock.query.sources import Sources, table_sources
from penstock.query.sql import Engine
from penstock.query.statement import Statement
from penstock.query.stored import checked, stored_tables
from penstock.query.time_range import NEVER, TimeRange, needed

TIMEOUT_S = 10.0
PARALLEL = 16
Explain = Literal["", "EXPLAIN", "EXPLAIN ANALYZE"]


def query(
    sql: str,
    namespace: str,
    store: ObjectStore,
    sequencers: int,
    *,
    token: Mapping[SequencerId, Offset] | None = None,
    timeout_s: float = TIMEOUT_S,
    stored_only: bool = False,
    explain: Explain = "",
    on_behind: Callable[[Behind], None] = lambda behind: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> pa.Table:
    """The result of one SELECT over the tables of `namespace`, in DuckDB's dialect.

    token: offsets of a write token that must be applied first. timeout_s: for ingesters to answer. explain: the plan
    instead of the result. on_behind: called, before the statement runs, for each ingester that gave less than the
    buffer held. on_note: called with what the caller should know about names.
    Raises InvalidRequest for SQL that is refused or an unknown table, Unavailable naming the sequencer that lags or
    does not answer, DataCorrupt naming a damaged file.
    """
    known = range(sequencers)
    if unknown := sorted(set(token or {}) - set(known)):
        raise InvalidRequest(f"the write token names sequencer {unknown[0]}; the cluster has {sequencers}", token=token)
    with Engine(store) as engine, ThreadPoolExecutor(PARALLEL) as pool:
        statement = engine.parsed(sql)
        deadline_s = time.monotonic() + timeout_s
        open_one = partial(_stored, store) if stored_only else partial(_live, store, token or {}, deadline_s)
        asked = list(pool.map(open_one, map(SequencerId, known)))
        tables = sorted(set().union(*pool.map(lambda each: each.tables(namespace), asked)))
        hint = _hint(namespace, tables, stored_only)
        try:
            for name, (table, within) in _wanted(statement, tables, engine, hint).items():
                parts = pool.map(lambda each, table=table, within=within: each.rows(namespace, table, within), asked)
                sources = table_sources(namespace, table, list(parts), store, within)
                _add_table(engine, name, _Table(namespace, table, sources), store, on_note)
        finally:
            for behind in filter(None, (each.behind() for each in asked)):
                on_behind(behind)
        if statement.shows_tables:
            return pa.table({"name": pa.array(tables, pa.utf8())})
        return engine.run(sql, explain, hint)


def _wanted(statement: Statement, tables: Sequence[str], engine: Engine, hint: str) -> dict[str, tuple[str, TimeRange]]:
    """By SQL name: each table that the statement names, with the stretch of time it can need of it."""
    meant = tables_named(sorted(statement.tables), tables)
    ctes = {fold(name) for name in statement.ctes}
    if unknown := [name for name in sorted(statement.tables - set(meant)) if fold(name) not in ctes]:
        raise InvalidRequest(f"there is no table {unknown[0]!r}.\n{hint}")
    ranges = needed(statement.nodes, engine.times)
    wanted: dict[str, tuple[str, TimeRange]] = {}
    for written, table in meant.items():
        name, (_, before) = fold(written), wanted.get(fold(written), (table, NEVER))
        wanted[name] = (table, before.hull(ranges[written]))
    if statement.reads_catalog:
        for table in tables:
            wanted.setdefault(fold(table), (table, NEVER))
    return wanted


@dataclass(frozen=True)
class _Table:
    namespace: str
    table: str
    sources: Sources


def _add_table(engine: Engine, name: str, table: _Table, store: ObjectStore, on_note: Callable[[str], None]) -> None:
    columns, settled = _columns(table, store)
    names = column_names(settled)
    for note in notes(table.table, settled, names):
        on_note(note)
    engine.add_table(name, table.sources, columns, names)


def _columns(table: _Table, store: ObjectStore) -> tuple[dict[str, ColumnType], list[str]]:
    """The table's columns, and their names in the order in which they were settled.

    The schema store has every column that a row can have. Manifests and rows add what an old or damaged store lacks
    there; without any schema file the files say themselves.
    """
    schema = run(schema_store.newest(table.namespace, table.table), store)
    seen = [schema.columns, table.sources.columns]
    if not schema.version:
        seen += [columns_of(pq.read_schema(pa.BufferReader(checked(file, store)))) for file in table.sources.files]
    columns = union(seen)
    order: list[str] = []
    if collide(columns):
        order = run(schema_store.settled_order(table.namespace, table.table, schema), store)
    return columns, list(dict.fromkeys([*order, *sorted(columns)]))


@dataclass(frozen=True)
class _Asked:
    tables: Callable[[str], set[str]]
    rows: Callable[[str, str, TimeRange], SequencerRows]
    behind: Callable[[], Behind | None] = lambda: None


def _live(store: ObjectStore, token: Mapping[SequencerId, Offset], deadline_s: float, sequencer: SequencerId) -> _Asked:
    client = SequencerClient(store, sequencer, token.get(sequencer), deadline_s)
    return _Asked(client.tables, client.rows, lambda: client.behind)


def _stored(store: ObjectStore, sequencer: SequencerId) -> _Asked:
    state = run(manifest.load(sequencer), store)
    return _Asked(
        lambda namespace: stored_tables(state, namespace), lambda namespace, table, within: stored_rows(state)
    )


def _hint(namespace: str, tables: Sequence[str], stored_only: bool) -> str:
    if not tables and stored_only:
        return f"Namespace {namespace!r} has no persisted tables: without --stored-only rows in memory are seen, too."
    if not tables:
        return f"Namespace {namespace!r} has no tables: nothing was written to it yet, or the name is wrong."
    shown = ", ".join(tables[:20]) + (", …" if len(tables) > 20 else "")
    if stored_only:
        return (
            f"Persisted tables of namespace {namespace!r}: {shown}; without --stored-only rows in memory are seen, too."
        )
    return f"Tables of namespace {namespace!r}: {shown}."
