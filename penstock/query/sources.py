"""Where the rows of one table are: files to be read as they are, and rows that had to be merged first.

Where the manifest shows that files of one partition overlap in time, with each other or with rows in memory, that
partition is merged by the rule persists use (later wins, field by field). All other files are left to the engine.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from common.catalog.manifest.change import StoredFile
from common.catalog.merge import merge
from common.store.objects import ObjectStore
from common.values.schema import DAY_NS, Columns, ColumnType, TableId, columns_of, times_ns, union
from penstock.query.memory_rows import SequencerRows
from penstock.query.stored import files_by_day, read_stored
from penstock.query.time_range import ALWAYS, TimeRange

MERGE_ROWS = 50_000
"""Partitions share a merge up to about this many rows. With fewer its fixed cost dominates; more cost more for each."""


@dataclass(frozen=True)
class Sources:
    """files: to be read as they are. merged: rows of overlapping partitions. columns: those seen on the way."""

    files: list[StoredFile] = field(default_factory=list)
    merged: list[pa.Table] = field(default_factory=list)
    columns: dict[str, ColumnType] = field(default_factory=dict)


def table_sources(
    namespace: str, table: str, parts: Iterable[SequencerRows], store: ObjectStore, within: TimeRange = ALWAYS
) -> Sources:
    """Given what each sequencer holds of one table. within: rows outside it may be missing; such files are not opened.

    Raises DataCorrupt for a file that had to be merged and is damaged, or columns that disagree; Unavailable.
    """
    sources = Sources()
    id = TableId(namespace, table)
    seen: list[Columns] = []
    overlapping: list[_Partition] = []
    for part in parts:
        files = files_by_day(part.state, id)
        in_memory = _by_day(part.rows)
        seen += [part.state.columns.get(id, {}), columns_of(part.rows.schema)]
        seen += [dict.fromkeys(file.sort_key, ColumnType.TAG) for day in files.values() for file in day]
        for day in sorted({*files, *in_memory}):
            of_day = [file for file in files.get(day, ()) if within.meets(file.time_ns_min, file.time_ns_max)]
            partition = _Partition(of_day, in_memory.get(day))
            if partition.overlaps():
                overlapping.append(partition)
            else:
                sources.files.extend(of_day)
                overlapping.append(_Partition([], partition.in_memory))
    sources.merged.extend(_merged(overlapping, store))
    seen += [columns_of(rows.schema) for rows in sources.merged]
    sources.columns.update(union(seen))
    return sources


@dataclass(frozen=True, slots=True)
class _Partition:
    """What one sequencer has of one day; files in the order of their commits."""

    files: list[StoredFile]
    in_memory: pa.Table | None

    def overlaps(self) -> bool:
        ranges = [(file.time_ns_min, file.time_ns_max) for file in self.files]
        if self.in_memory is not None:
            times = times_ns(self.in_memory)
            ranges.append((int(times.min()), int(times.max())))
        return any(first[1] >= second[0] for first, second in itertools.pairwise(sorted(ranges)))

    def rows(self, store: ObjectStore) -> list[pa.Table]:
        """Oldest first, memory last."""
        return [
            *(read_stored(file, store) for file in self.files),
            *([] if self.in_memory is None else [self.in_memory]),
        ]


def _by_day(rows: pa.Table) -> dict[int, pa.Table]:
    days = times_ns(rows) // DAY_NS
    return {int(day): rows.filter(pa.array(days == day)) for day in np.unique(days)}


def _merged(partitions: Iterable[_Partition], store: ObjectStore) -> Iterator[pa.Table]:
    """The partitions' rows, of equal keys the newest. No key is in two of them, so that small ones share a merge."""
    parts: list[pa.Table] = []
    count = 0
    for partition in partitions:
        rows = partition.rows(store)
        parts += rows
        count += sum(part.num_rows for part in rows)
        if count >= MERGE_ROWS:
            yield _merge(parts)
            parts, count = [], 0
    if parts:
        yield _merge(parts)


def _merge(parts: list[pa.Table]) -> pa.Table:
    columns = union(columns_of(part.schema) for part in parts)
    return merge(parts, columns, sorted(name for name, column in columns.items() if column is ColumnType.TAG)).rows
