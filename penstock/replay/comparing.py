"""The rows that a range of the log comes to, beside the rows that the store has: which keys and values differ.

Both are merged by the rule persists use (common/catalog/merge.py), so that both are in the same order. A column marks
from which side a key came; no column of a table can have its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.catalog.merge import merge
from common.values.schema import ARROW_TYPES, TIME, Columns, ColumnType, arrow_schema, columns_of, times_ns, union

SAMPLES_MAX = 3
SAMPLE_CHARS_MAX = 200

_IN_LOG, _IN_STORE = "\0log", "\0store"

Mask = npt.NDArray[np.bool_]


@dataclass
class Differences:
    """Keys that one side has and the other has not, and keys with another value of a field on either side.

    missing: not in the store, or there without a value that the log has. extra: not in the log, or without a value that
    the store has. different: two values. A row may count in several. samples: a few of each, as text.
    """

    missing: int = 0
    extra: int = 0
    different: int = 0
    samples: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.different)

    def leave_out(self, *kinds: str) -> None:
        """`extra`, `different`: not to be judged here; neither counted nor shown."""
        for kind in kinds:
            setattr(self, kind, 0)
        self.samples = [text for text in self.samples if not text.startswith(tuple(f"{kind}: " for kind in kinds))]

    def add(self, other: "Differences") -> None:
        self.missing += other.missing
        self.extra += other.extra
        self.different += other.different
        self.samples += other.samples[: max(0, SAMPLES_MAX - len(self.samples))]


@dataclass(frozen=True)
class Compared:
    """in_log: the rows the log comes to. mending: rows that, added to the store, give it what it lacks. Both are sorted
    by `sort_key`, then time."""

    differences: Differences
    in_log: pa.Table
    mending: pa.Table
    sort_key: tuple[str, ...]


def compare(log: Sequence[pa.Table], store: Sequence[pa.Table], tags: Sequence[str], *, log_is_newer: bool) -> Compared:
    """Rows of one table, at least one on either side; each side oldest first. tags: the table's, in its sort order.

    log_is_newer: mending changes values that differ; else it adds rows and values only.
    """
    columns = union(columns_of(part.schema) for part in (*log, *store))
    used = {name for name, kind in columns.items() if kind is ColumnType.TAG}
    sort_key = [tag for tag in tags if tag in used] + sorted(used - set(tags))
    in_log, in_store = _merged(log, columns, sort_key), _merged(store, columns, sort_key)
    sides = [_marked(in_store, _IN_STORE), _marked(in_log, _IN_LOG)]
    both = merge(
        sides if log_is_newer else sides[::-1],
        {**columns, _IN_LOG: ColumnType.BOOLEAN, _IN_STORE: ColumnType.BOOLEAN},
        sort_key,
    ).rows
    of_log, of_store = _is_valid(both.column(_IN_LOG)), _is_valid(both.column(_IN_STORE))
    both = both.select(in_log.schema.names).cast(in_log.schema)
    shared_log, shared_store = in_log.filter(pa.array(of_store[of_log])), in_store.filter(pa.array(of_log[of_store]))
    lacks, has_more, differs = _fields(shared_log, shared_store, columns)
    shared = np.flatnonzero(of_log & of_store)
    is_missing = of_log & ~of_store
    is_missing[shared[lacks]] = True
    is_mending = is_missing.copy()
    if log_is_newer:
        is_mending[shared[differs]] = True
    differences = Differences(
        missing=int(is_missing.sum()),
        extra=int((~of_log).sum() + has_more.sum()),
        different=int(differs.sum()),
        samples=[
            *_samples("missing", both.filter(pa.array(is_missing)), 1),
            *_samples("extra", both.filter(pa.array(~of_log)), 1),
            *_pairs(shared_log.filter(pa.array(differs)), shared_store.filter(pa.array(differs))),
        ][:SAMPLES_MAX],
    )
    return Compared(differences, in_log, both.filter(pa.array(is_mending)), tuple(sort_key))


def _merged(parts: Sequence[pa.Table], columns: Columns, sort_key: Sequence[str]) -> pa.Table:
    parts = [part for part in parts if part.num_rows]
    return merge(parts, columns, sort_key).rows if parts else arrow_schema(columns).empty_table()


def _marked(rows: pa.Table, name: str) -> pa.Table:
    marker = arrow_schema({name: ColumnType.BOOLEAN}).field(name)
    return rows.append_column(marker, pa.array(np.ones(rows.num_rows, np.bool_), ARROW_TYPES[ColumnType.BOOLEAN]))


def _is_valid(column: pa.ChunkedArray) -> Mask:
    mask: Mask = column.is_valid().combine_chunks().to_numpy(zero_copy_only=False)
    return mask


def _fields(log: pa.Table, store: pa.Table, columns: Columns) -> tuple[Mask, Mask, Mask]:
    """For each row, of the same keys: a value that only the log has; that only the store has; two different ones."""
    lacks, has_more, differs = (np.zeros(log.num_rows, np.bool_) for _ in range(3))
    for name, kind in columns.items():
        if kind is ColumnType.TAG:
            continue
        ours, theirs = log.column(name).combine_chunks(), store.column(name).combine_chunks()
        is_ours, is_theirs = _is_valid(pa.chunked_array([ours])), _is_valid(pa.chunked_array([theirs]))
        same = pc.fill_null(pc.equal(ours, theirs), False).to_numpy(zero_copy_only=False)
        lacks |= is_ours & ~is_theirs
        has_more |= is_theirs & ~is_ours
        differs |= is_ours & is_theirs & ~same
    return lacks, has_more, differs


def _samples(what: str, rows: pa.Table, count: int) -> list[str]:
    return [f"{what}: {text}" for text in _texts(rows, count)]


def _pairs(log: pa.Table, store: pa.Table) -> list[str]:
    pairs = zip(_texts(log, 1), _texts(store, 1), strict=True)
    return [f"different: the log has {ours}; the store has {theirs}" for ours, theirs in pairs]


def _texts(rows: pa.Table, count: int) -> list[str]:
    """The first rows, without nulls, cut to SAMPLE_CHARS_MAX; times in UTC, to the nanosecond."""
    first = rows.slice(0, count)
    times = [f"{np.datetime64(time_ns, 'ns')}Z" for time_ns in times_ns(first).tolist()]
    columns = {TIME: times, **{name: first.column(name).to_pylist() for name in first.schema.names if name != TIME}}
    whole = [
        ", ".join(f"{name}={_text(values[row])}" for name, values in columns.items() if values[row] is not None)
        for row in range(first.num_rows)
    ]
    return [text if len(text) <= SAMPLE_CHARS_MAX else f"{text[:SAMPLE_CHARS_MAX]}…" for text in whole]


def _text(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else repr(text)
