"""SQL over files and memory: one table each for the tables of a namespace, each stored row in it once.

For each sequencer the ingester's rows and exactly the manifest they complement are read (memory_rows.py). Where the
manifest shows that files of one partition overlap in time, with each other or with rows in memory, that partition is
merged by the rule persists use (later wins, field by field); all other files are read as they are, by DuckDB.
"""

import itertools
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from common.errors import InvalidRequest
from common.ids import Offset, SequencerId
from common.objectstore import ObjectStore, run
from common.schema import DAY_NS, TIME, ColumnType, columns_of, union
from ingester.persist import manifest
from ingester.persist.manifest_state import StoredFile
from ingester.persist.merge import merge
from penstock.memory_rows import Behind, SequencerClient, SequencerRows, stored_rows, stored_tables
from penstock.sql import Sources, execute, quoted, read_stored

TIMEOUT_S = 10.0
PARALLEL = 16
_CATALOG = re.compile(
    r"\b(show|describe|information_schema|duckdb_tables|duckdb_columns|duckdb_views)\b", re.IGNORECASE
)
"""Statements about the tables there are: every table is loaded for them, not only those named."""


def query(
    sql: str,
    namespace: str,
    store: ObjectStore,
    sequencers: int,
    *,
    token: Mapping[SequencerId, Offset] | None = None,
    timeout_s: float = TIMEOUT_S,
    stored_only: bool = False,
    on_behind: Callable[[Behind], None] = lambda behind: None,
) -> pa.Table:
    """The result of one SQL statement over the tables of `namespace`, in DuckDB's dialect.

    token: offsets of a write token (common/token.py) that must be applied first. timeout_s: for ingesters to answer.
    on_behind: told, before the statement runs, of each ingester that gave less than the buffer held.
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
        wanted = _all_of(tables) if _CATALOG.search(sql) else _named(tables, sql)
        sources = {}
        for table in wanted:
            parts = pool.map(lambda each, table=table: each.rows(namespace, table), asked)
            sources[table] = table_sources(namespace, table, list(parts), store)
    for behind in filter(None, (each.behind() for each in asked)):
        on_behind(behind)
    return execute(sql, sources, store, _hint(namespace, tables, stored_only))


def _all_of(tables: Iterable[str]) -> list[str]:
    """Every table; of those that differ in case only, the first."""
    return list({table.lower(): table for table in reversed(list(tables))}.values())


def _named(tables: Iterable[str], sql: str) -> list[str]:
    """The tables that the statement may name: those whose name stands in it, plain or as SQL quotes it.

    SQL's names ignore case: of tables that differ in nothing else the one written exactly so is taken.
    """
    named: dict[str, list[str]] = {}
    for table in tables:
        if re.search(_name_pattern(table), sql, re.IGNORECASE):
            named.setdefault(table.lower(), []).append(table)
    return [_only(alike, sql) for alike in named.values()]


def _name_pattern(table: str) -> str:
    """The name as a word of its own, or in double quotes."""
    return rf'(?<![\w$]){re.escape(table)}(?![\w$])|"{re.escape(quoted(table))}"'


def _only(alike: list[str], sql: str) -> str:
    if len(alike) == 1:
        return alike[0]
    exact = [table for table in alike if re.search(_name_pattern(table), sql)]
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
    behind: Callable[[], Behind | None] = lambda: None


def _live(store: ObjectStore, sequencer: SequencerId, token: Mapping[SequencerId, Offset], deadline_s: float) -> _Asked:
    client = SequencerClient(store, sequencer, token.get(sequencer), deadline_s)
    return _Asked(client.tables, client.rows, lambda: client.behind)


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
    parts = [read_stored(file, store) for file in files] if overlap else []
    if in_memory is not None:
        parts.append(in_memory)
    if parts:
        columns = union(columns_of(part.schema) for part in parts)
        sort_key = sorted(name for name, column in columns.items() if column is ColumnType.TAG)
        sources.merged.append(merge(parts, columns, sort_key).rows)


def _hint(namespace: str, tables: list[str], stored_only: bool) -> str:
    if not tables and stored_only:
        return f"Namespace {namespace!r} has no persisted tables: without --stored-only rows in memory are seen, too."
    if not tables:
        return f"Namespace {namespace!r} has no tables: nothing was written to it yet, or its name is another."
    shown = ", ".join(tables[:20]) + (", …" if len(tables) > 20 else "")
    return f"Tables of namespace {namespace!r}: {shown}."
