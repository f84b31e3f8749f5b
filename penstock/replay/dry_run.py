"""Replay as a dry run: what a sequencer's records from some offset on hold, and how much of it is durable already.

Reads the buffer and the manifest, changes nothing, beside a live cluster or without one, in bounded memory. The files
that the manifest names are checked to exist with the size that was written; their content is not read: `--diff` does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.catalog.paths import DATA
from common.store.objects import NotFound, ObjectStore
from common.values.ids import Offset
from penstock.dead_letters.letters import that_end_processes
from penstock.replay.judging import Fate, Judged, TableRows, covered, judged, recalled
from penstock.replay.reading import Range, read
from writebuffer.contract import Reader

Times = npt.NDArray[np.int64]


@dataclass
class ReplayReport:
    """Counts over the records in [from_offset, next_offset).

    rows = rows_persisted + rows_lost + rows_unpersisted + rows_duplicate + rows_dead: in files of the store, persisted
    in a file that is gone or has another size (or one of several that may have them), only in the buffer and in the
    ingester's memory, in a record that repeats an earlier one, in a record that cannot be decoded.
    files: how many the manifest names. files_lost: path and what is wrong, of those that are not as written.
    """

    sequencer: int
    from_offset: int
    next_offset: int
    manifest_number: int
    replay_offset: int
    records: int = 0
    bytes: int = 0
    rows: int = 0
    rows_persisted: int = 0
    rows_lost: int = 0
    rows_unpersisted: int = 0
    rows_duplicate: int = 0
    rows_dead: int = 0
    records_duplicate: int = 0
    records_dead: int = 0
    files: int = 0
    files_lost: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def dry_run(
    reader: Reader,
    state: ManifestState,
    store: ObjectStore,
    from_offset: Offset,
    to_offset: Offset | None,
    progress: Callable[[int], None],
) -> ReplayReport:
    """Report on the records from `from_offset` to `to_offset` (the next offset now, when None).

    progress: called with the number of offsets passed. Raises OffsetTrimmed naming the oldest offset left,
    OffsetInFuture, Unavailable when the store is away, or the buffer stays silent below its own next offset.
    """
    lost = lost_files(state, store)
    next_offset = reader.offsets(state.sequencer).next_offset
    asked = Range(state.sequencer, from_offset, next_offset if to_offset is None else min(to_offset, next_offset))
    count = _Count(state, lost, asked)
    polls, condemned = read(reader, asked, progress), that_end_processes(state, store)
    for some in judged(state, recalled(reader, state, asked), polls, condemned):
        count.add(some)
    return count.report


def lost_files(state: ManifestState, store: ObjectStore) -> dict[str, str]:
    """Of the files that the manifest names: path and what is wrong of those that are gone or have another size.

    One listing; what it lacks is asked for once more, for a listing may lag behind.
    """
    listed = {found.path: found.size_bytes for found in store.list(DATA)}
    suspects = [file for file in state.files.values() if listed.get(file.path) != file.size_bytes]
    wrong = ((file.path, _what_is_wrong(file, store)) for file in suspects)
    return {path: difference for path, difference in wrong if difference}


def _what_is_wrong(file: StoredFile, store: ObjectStore) -> str:
    try:
        size_bytes = len(store.get(file.path))
    except NotFound:
        return "it is missing"
    return "" if size_bytes == file.size_bytes else f"it has {size_bytes} bytes, {file.size_bytes} were written"


class _Count:
    """What an ingester would make of the records: a repeat of an earlier one, refused, durable or not."""

    def __init__(self, state: ManifestState, lost: Mapping[str, str], asked: Range) -> None:
        self.report = ReplayReport(state.sequencer, asked.first, asked.end, state.number, state.replay_offset)
        self.report.files, self.report.files_lost = len(state.files), dict(lost)
        self._lost: dict[PartitionKey, list[StoredFile]] = {}
        for path in lost:
            self._lost.setdefault(state.files[path].partition, []).append(state.files[path])
        self._state = state

    def add(self, some: Judged) -> None:
        report = self.report
        for record, fate in some.records:
            report.records += 1
            report.bytes += record.size
            report.rows += record.rows
            if fate is Fate.REPEATED:
                report.records_duplicate += 1
                report.rows_duplicate += record.rows
            elif fate is Fate.DEAD:
                report.records_dead += 1
                report.rows_dead += record.rows
        for rows in some.rows:
            self._count_rows(rows)

    def _count_rows(self, rows: TableRows) -> None:
        """Rows that the manifest says are persisted, how many of those are in a file that is lost, and the others."""
        for key, of_day in rows.by_partition():
            persisted = of_day & covered(self._state, key, rows)
            lost = int((persisted & _in_files(self._lost.get(key, ()), rows)).sum())
            self.report.rows_persisted += int(persisted.sum()) - lost
            self.report.rows_lost += lost
            self.report.rows_unpersisted += int(of_day.sum() - persisted.sum())


def _in_files(files: Sequence[StoredFile], rows: TableRows) -> npt.NDArray[np.bool_]:
    """Which rows one of `files` has, as far as its offsets and times say."""
    found = np.zeros(rows.rows.count, np.bool_)
    times = rows.rows.times
    for file in files:
        of_offsets = (rows.offsets >= file.first_offset) & (rows.offsets <= file.last_offset)
        found |= of_offsets & (times >= file.time_ns_min) & (times <= file.time_ns_max)
    return found
