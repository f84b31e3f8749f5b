"""Replay as a dry run: what a sequencer's records from some offset on hold, and how much of it is durable already.

Reads the buffer and the manifest, changes nothing, beside a live cluster or without one, in bounded memory. The files
that the manifest names are checked to exist with the size that was written; their content is not read: `--diff` does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.frontier import Frontier
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.catalog.paths import DATA
from common.entry import Entry
from common.store.objects import NotFound, ObjectStore
from common.values.ids import Offset
from common.values.schema import DAY_NS, times_ns
from ingester.following.decode import Decoded, decode
from penstock.replay.judging import Fate, Judge, recalled
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
    for earlier in recalled(reader, state, asked):
        count.judge.recall(earlier)
    for sequenced in read(reader, asked, progress):
        count.add(decode(sequenced))
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
        self.judge = Judge(state)

    def add(self, record: Decoded) -> None:
        report = self.report
        report.records += 1
        report.bytes += record.size
        report.rows += record.rows
        match self.judge.judge(record):
            case Fate.REPEATED:
                report.records_duplicate += 1
                report.rows_duplicate += record.rows
            case Fate.DEAD:
                report.records_dead += 1
                report.rows_dead += record.rows
            case Fate.APPLIED:
                assert isinstance(record.content, Entry)
                persisted, lost = self._persisted(record.content, record.offset)
                report.rows_persisted += persisted - lost
                report.rows_lost += lost
                report.rows_unpersisted += record.rows - persisted

    def _persisted(self, entry: Entry, offset: Offset) -> tuple[int, int]:
        """Rows that the manifest says are durable, and how many of those are in a file that is lost."""
        persisted = lost = 0
        for key, times in _partitions(entry):
            if offset < self._state.replay_offset:
                durable = np.ones(len(times), np.bool_)
            else:
                durable = self._state.frontiers.get(key, Frontier()).covered(offset, times)
            persisted += int(durable.sum())
            lost += int((durable & _in_files(self._lost.get(key, ()), offset, times)).sum())
        return persisted, lost


def _partitions(entry: Entry) -> Iterator[tuple[PartitionKey, Times]]:
    """Each partition of the entry, with its rows' times."""
    for table, batch in entry.tables.items():
        times = times_ns(batch)
        days = times // DAY_NS
        for day in np.unique(days):
            yield PartitionKey(entry.namespace, table, int(day)), times[days == day]


def _in_files(files: Sequence[StoredFile], offset: Offset, times: Times) -> npt.NDArray[np.bool_]:
    """Which rows of the record at `offset` one of `files` has, as far as its offsets and times say."""
    found = np.zeros(len(times), np.bool_)
    for file in files:
        if file.first_offset <= offset <= file.last_offset:
            found |= (times >= file.time_ns_min) & (times <= file.time_ns_max)
    return found
