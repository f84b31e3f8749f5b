"""Sort rows of one table by series and time, and keep of equal keys the newest, field by field.

Rows come in order of age, oldest first. Of rows with the same tags and time the newest wins, as InfluxDB merges them: a
null in it does not erase the older value. The result depends on the rows alone: dictionaries are sorted and hold just
the values used, so that two merges of the same rows are equal to the byte.

Sorting goes by one uint64 for each row, rank of its series << bits | (time - least time), with numpy's unstable SIMD
sort; stability is not needed, because the newest of a run is the one with the greatest row number. Where the two do
not fit 64 bits, lexsort does the same, slower. Used by persist jobs and by queries: there is one rule for which row
wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.values.schema import TIME, TIME_TYPE, Columns, ColumnType, arrow_schema, times_ns

Ints = npt.NDArray[np.int64]

TEXT_BYTES_MAX = 1 << 30
"""Of one array of the result. Arrow's strings end at 2 GiB an array, and picking rows makes one array of all chunks."""


@dataclass(frozen=True, slots=True)
class Merged:
    """rows: penstock's schema, sorted by the sort key's tags, then time; keys unique. overwritten: rows left out."""

    rows: pa.Table
    overwritten: int


@dataclass(frozen=True, slots=True)
class _Tag:
    """codes: int32, of each row, 0 = null, else 1 + position in values. values: sorted."""

    codes: npt.NDArray[np.int32]
    values: pa.Array


def merge(parts: Sequence[pa.RecordBatch | pa.Table], columns: Columns, sort_key: Sequence[str]) -> Merged:
    """Merge `parts`, oldest first, each with `time`, tags as dictionaries and fields; at least one row in all.

    columns: the result's columns; those a part lacks are null there. sort_key: all its tags, most significant first.
    """
    table = concatenated(parts, columns)
    tags = {name: _tag(table.column(name).combine_chunks()) for name in sort_key}
    times = times_ns(table)
    ranks, series = _series(list(tags.values()), table.num_rows)
    order = _order(ranks, times)
    starts = _run_starts(ranks, times, order)
    newest = np.maximum.reduceat(order, starts)
    picked = _Picked(order, starts, newest, np.diff(starts, append=len(order)))
    rows = _gather(table, columns, tags, (series, ranks[newest]), picked)
    return Merged(rows, table.num_rows - len(newest))


def series_ranks(rows: pa.Table, sort_key: Sequence[str]) -> Ints:
    """Each row's series as its rank in the order of the sort key's tags, an absent tag first. rows: at least one."""
    ranks, _ = _series([_tag(rows.column(name)) for name in sort_key], rows.num_rows)
    return ranks


@dataclass(frozen=True, slots=True)
class _Picked:
    """order: rows sorted by key. starts: where each run of one key begins in it. newest: each run's last row."""

    order: Ints
    starts: Ints
    newest: Ints
    lengths: Ints


def concatenated(parts: Sequence[pa.RecordBatch | pa.Table], columns: Columns) -> pa.Table:
    """All rows in one table with these columns, null where a part lacks one, with one dictionary for each tag."""
    schema = arrow_schema(columns)
    tables = []
    for part in parts:
        present = set(part.schema.names)
        arrays = [
            part.column(field.name) if field.name in present else pa.nulls(part.num_rows, field.type)
            for field in schema
        ]
        if isinstance(part, pa.RecordBatch):
            tables.append(pa.Table.from_batches([pa.RecordBatch.from_arrays(arrays, schema=schema)]))
        else:
            tables.append(pa.Table.from_arrays(arrays, schema=schema))
    return pa.concat_tables([schema.empty_table(), *tables]).unify_dictionaries()


def _tag(column: pa.DictionaryArray | pa.ChunkedArray) -> _Tag:
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    codes: npt.NDArray[np.int32] = column.indices.fill_null(len(column.dictionary)).to_numpy()
    used = np.flatnonzero(np.bincount(codes, minlength=len(column.dictionary) + 1)[:-1])
    values = column.dictionary.take(pa.array(used))
    by_value = pc.sort_indices(values).to_numpy().astype(np.int64)
    mapping = np.zeros(len(column.dictionary) + 1, np.int32)
    mapping[used[by_value]] = np.arange(1, len(used) + 1)
    return _Tag(mapping[codes], values.take(pa.array(by_value)))


def _series(tags: Sequence[_Tag], rows: int) -> tuple[Ints, Ints]:
    """Each row's series as its rank in sort order, and for each rank a row of that series.

    Codes follow the values' order, so packing them with the first tag most significant makes numbers that sort as the
    series do; before a product outgrows 63 bits, what was packed is renumbered by rank.
    """
    packed = np.zeros(rows, np.int64)
    size = 1
    for tag in tags:
        base = len(tag.values) + 1
        if size * base > 2**62:
            distinct, packed = np.unique(packed, return_inverse=True)
            size = len(distinct)
        packed = packed * base + tag.codes
        size *= base
    _, first_rows, ranks = np.unique(packed, return_index=True, return_inverse=True)
    return ranks.astype(np.int64), first_rows.astype(np.int64)


def _order(ranks: Ints, times: Ints) -> Ints:
    least = int(times.min())
    time_bits = (int(times.max()) - least).bit_length()
    if int(ranks.max()).bit_length() + time_bits <= 64:
        key = times.astype(np.uint64) - np.uint64(least % 2**64)
        if time_bits < 64:
            key |= ranks.astype(np.uint64) << np.uint64(time_bits)
        return np.argsort(key)
    return np.lexsort((times, ranks))


def _run_starts(ranks: Ints, times: Ints, order: Ints) -> Ints:
    sorted_ranks, sorted_times = ranks[order], times[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (sorted_ranks[1:] != sorted_ranks[:-1]) | (sorted_times[1:] != sorted_times[:-1])
    return np.flatnonzero(new)


def _gather(
    table: pa.Table, columns: Columns, tags: dict[str, _Tag], series: tuple[Ints, Ints], picked: _Picked
) -> pa.Table:
    arrays = []
    schema = arrow_schema(columns)
    newest = pa.array(picked.newest)
    for field in schema:
        if field.name == TIME:
            arrays.append(table.column(TIME).take(newest).cast(TIME_TYPE))
        elif columns[field.name] is ColumnType.TAG:
            arrays.append(_tag_column(tags[field.name], *series))
        else:
            arrays.append(_field_column(table.column(field.name), picked, newest))
    return pa.Table.from_arrays(arrays, schema=schema)


def _tag_column(tag: _Tag, series_rows: Ints, ranks: Ints) -> pa.DictionaryArray:
    """One code a series, spread over its rows: `ranks` ascend, so this reads memory in order."""
    codes = tag.codes[series_rows]
    missing = codes == 0
    spread = pa.array((codes - 1)[ranks], mask=missing[ranks] if missing.any() else None)
    return pa.DictionaryArray.from_arrays(spread, tag.values)


def _field_column(column: pa.ChunkedArray, picked: _Picked, newest: pa.Array) -> pa.ChunkedArray:
    """The newest value that is not null of each run. Only runs of more than one row need a look."""
    if not column.null_count or len(picked.newest) == len(picked.order):
        return _taken(column, newest)
    valid = column.is_valid().combine_chunks().to_numpy(zero_copy_only=False)
    candidates = np.where(valid[picked.order], picked.order, -1)
    best = np.maximum.reduceat(candidates, picked.starts)
    return _taken(column, pa.array(np.where(best >= 0, best, picked.newest)))


def _taken(column: pa.ChunkedArray, rows: pa.Array) -> pa.ChunkedArray:
    """The rows, in this order; text of more than TEXT_BYTES_MAX in several chunks."""
    if column.type != pa.utf8() or column.nbytes <= TEXT_BYTES_MAX:
        return column.take(rows)
    text = column.cast(pa.large_utf8()).take(rows).combine_chunks()
    sizes = pc.binary_length(text).fill_null(0).to_numpy()
    chunk_of_row = np.cumsum(sizes, dtype=np.int64) // TEXT_BYTES_MAX
    starts = np.flatnonzero(np.diff(chunk_of_row, prepend=-1))
    pieces = [text.slice(start, count) for start, count in zip(starts, np.diff(starts, append=len(text)), strict=True)]
    # concatenated alone, so that its offsets begin at 0: a cast refuses those of a slice of more than 2 GiB
    return pa.chunked_array([pa.concat_arrays([piece]).cast(pa.utf8()) for piece in pieces], pa.utf8())
