"""One partition of the store beside what the log comes to: what differs, and the files that mend it."""

import enum
import itertools
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.catalog.written import Damaged, read_written
from common.store.objects import ObjectStore
from common.values.ids import Offset
from ingester.persist.data_file import Origin, put_file, slices
from penstock.query.stored import checked
from penstock.replay.comparing import Compared, Differences, compare
from penstock.replay.gathering import Gathered
from penstock.replay.reading import Range
from penstock.replay.spill import Spill
from penstock.replay.stretches import ROWS_MAX, stretches

BATCH_ROWS = 64 * 1024


class Mode(enum.Enum):
    """COMPARE changes nothing. ADD adds what the store lacks. REWRITE makes a partition that differs anew."""

    COMPARE = "compare"
    ADD = "add"
    REWRITE = "rewrite"


@dataclass
class Examined:
    """damaged: files that are not as written, by path, and why. beyond: files that begin before or end after the range,
    and so cannot be made anew from it; where there are any, extra and different rows are not counted.
    """

    key: PartitionKey
    differences: Differences = field(default_factory=Differences)
    damaged: dict[str, str] = field(default_factory=dict)
    beyond: tuple[str, ...] = ()
    added: list[StoredFile] = field(default_factory=list)
    removed: list[StoredFile] = field(default_factory=list)

    @property
    def is_as_written(self) -> bool:
        return not (self.differences or self.damaged)

    @property
    def is_left(self) -> bool:
        """Something is wrong that this range cannot mend."""
        return not self.is_as_written and bool(self.beyond) and not (self.added or self.removed)


class Repair:
    """Examines partitions one by one. rows: of the range, as `gathered` says, durable by the state `gathered_at`."""

    def __init__(
        self,
        gathered_at: ManifestState,
        gathered: Gathered,
        rows: Spill[PartitionKey],
        store: ObjectStore,
        asked: Range,
        mode: Mode,
        folder: Path,
        file_bytes_max: int,
        rows_max: int = ROWS_MAX,
    ) -> None:
        """folder: for temporary files. rows_max: of a stretch."""
        self._gathered_at = gathered_at
        self._gathered = gathered
        self._rows = rows
        self._store = store
        self._asked = asked
        self._mode = mode
        self._folder = folder
        self._file_bytes_max = file_bytes_max
        self._rows_max = rows_max
        self._folders = itertools.count()

    def examine(self, key: PartitionKey, state: ManifestState) -> Examined:
        """Compare, and put the files that mend it; they are to be named by a swap made from `state`.

        state: the newest. What was committed after the rows were gathered counts as what the log comes to: it is newer.
        """
        examined = Examined(key)
        files = state.files.of_partition(key)
        intact = [file for file in files if self._is_intact(file, examined)]
        later = [file for file in intact if file.path not in self._gathered_at.files]
        examined.beyond = tuple(file.path for file in files if self._is_beyond(file, examined))
        # What only a damaged file had may be newer than what is left. No file ends after the range, or it is beyond.
        is_newer = bool(examined.damaged)
        for compared in self._compared(key, state, intact, later, log_is_newer=is_newer):
            examined.differences.add(compared.differences)
            if self._mode is Mode.ADD and not examined.beyond:
                self._put(key, state, compared, compared.mending, later, examined)
        if self._mode is Mode.ADD or examined.beyond:
            examined.differences.leave_out("extra")
            if examined.beyond or not is_newer:
                examined.differences.leave_out("different")
        if examined.beyond or examined.is_as_written:
            return examined
        if self._mode is Mode.ADD:
            examined.removed = [file for file in files if file.path in examined.damaged]
        if self._mode is Mode.REWRITE:
            for compared in self._compared(key, state, intact, later, log_is_newer=True):
                self._put(key, state, compared, compared.in_log, later, examined)
            examined.removed = files
        return examined

    def _is_intact(self, file: StoredFile, examined: Examined) -> bool:
        found = read_written(file, self._store)
        if isinstance(found, Damaged):
            examined.damaged[file.path] = found.why
        return not isinstance(found, Damaged)

    def _is_beyond(self, file: StoredFile, examined: Examined) -> bool:
        """Whether it would have to be made anew, and cannot: its rows are not among those gathered. Where a file is
        damaged, so is one that ends after the range: it may have newer values than the log up to there.
        """
        is_damaged = file.path in examined.damaged
        if file.path not in self._gathered_at.files:
            return is_damaged
        if self._mode is Mode.ADD and not is_damaged:
            return bool(examined.damaged) and file.last_offset >= self._asked.end
        return not self._asked.holds(file.first_offset, file.last_offset)

    def _compared(
        self,
        key: PartitionKey,
        state: ManifestState,
        intact: Iterable[StoredFile],
        later: Iterable[StoredFile],
        *,
        log_is_newer: bool,
    ) -> Iterator[Compared]:
        log = lambda: itertools.chain(self._rows.parts(key), self._file_rows(later))
        store = lambda: self._file_rows(intact)
        rows = self._rows.rows(key) + sum(file.rows for file in itertools.chain(intact, later))
        folder = self._folder / f"stretches-{next(self._folders)}"
        tags = state.sort_keys.get(key.table_id, ())
        for of_log, of_store in stretches(log, store, rows, folder, self._rows_max):
            yield compare(of_log, of_store, tags, log_is_newer=log_is_newer)

    def _file_rows(self, files: Iterable[StoredFile]) -> Iterator[pa.Table]:
        for file in files:
            data = checked(file, self._store)
            for batch in pq.ParquetFile(pa.BufferReader(data)).iter_batches(BATCH_ROWS):
                yield pa.Table.from_batches([batch])

    def _put(
        self,
        key: PartitionKey,
        state: ManifestState,
        compared: Compared,
        rows: pa.Table,
        later: Iterable[StoredFile],
        examined: Examined,
    ) -> None:
        if not rows.num_rows:
            return
        first, last = self._gathered.offsets.get(key, (self._asked.first, self._asked.first))
        if self._mode is Mode.REWRITE:
            first = min([first, *(file.first_offset for file in later)])
            last = max([last, *(file.last_offset for file in later)])
        origin = Origin(key, state.sequencer, state.epoch, Offset(first), Offset(last), _job_number())
        for part, slice_ in enumerate(slices(rows, self._file_bytes_max)):
            examined.added.append(put_file(origin, part, slice_, compared.sort_key, self._store))


def _job_number() -> int:
    """One that no persist job has, and no other replay."""
    return 10**9 + secrets.randbelow(9 * 10**9)
