"""A range of the log beside the store, partition by partition: compared, or mended.

First the range is read once, and its rows are put by partition into temporary files. Then each partition is compared
with its Parquet files, every byte of which is checked; what mends it is written as files beside them, and a swap of
many partitions at once has them named. Memory is bounded by stretches of rows, whatever the range or a partition has.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.catalog.manifest.state import ManifestState
from common.catalog.manifest.swap import Swap
from common.catalog.partition_key import PartitionKey
from common.store.objects import ObjectStore
from common.values.errors import PenstockError, Unavailable
from penstock.dead_letters.letters import that_end_processes
from penstock.replay.gathering import Gathered, Selection, gather
from penstock.replay.holder import Holder, Refused
from penstock.replay.judging import recalled
from penstock.replay.reading import Range, read
from penstock.replay.repair import Examined, Mode, Repair
from penstock.replay.spill import Spill
from penstock.replay.stretches import ROWS_MAX
from writebuffer.contract import Reader

SWAP_PARTITIONS = 64
"""So many partitions are named by one record of the manifest, if they have to be mended."""

TRIES = 10
"""A partition that gets a new file each time it is mended is given up."""

SAMPLES_MAX = 5


@dataclass
class Report:
    """Counts of rows, but for those of partitions and files. manifest_number: as compared with.

    files_damaged: by path, what is wrong. files_beyond: those that would have to be made anew and begin before or end
    after the range. partitions_left: with something wrong that this range cannot mend.
    """

    sequencer: int
    mode: str
    from_offset: int
    next_offset: int
    manifest_number: int
    records: int = 0
    bytes: int = 0
    rows: int = 0
    rows_persisted: int = 0
    rows_unpersisted: int = 0
    rows_duplicate: int = 0
    rows_dead: int = 0
    rows_of_others: int = 0
    partitions: int = 0
    partitions_different: int = 0
    partitions_left: int = 0
    rows_missing: int = 0
    rows_extra: int = 0
    rows_different: int = 0
    rows_written: int = 0
    files_written: int = 0
    files_removed: int = 0
    files_damaged: dict[str, str] = field(default_factory=dict)
    files_beyond: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)

    @property
    def is_as_written(self) -> bool:
        """The store has what the log comes to, or has it now."""
        return not (self.partitions_different if self.mode == Mode.COMPARE.value else self.partitions_left)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def gathered(self, gathered: Gathered, durable: int) -> None:
        self.records, self.bytes, self.rows, self.rows_persisted = (
            gathered.records,
            gathered.bytes,
            gathered.rows,
            durable,
        )
        self.rows_unpersisted, self.rows_duplicate = gathered.rows_unpersisted, gathered.rows_duplicate
        self.rows_dead, self.rows_of_others = gathered.rows_dead, gathered.rows_of_others

    def examined(self, one: Examined) -> None:
        self.partitions += 1
        self.partitions_different += not one.is_as_written
        self.partitions_left += one.is_left
        self.rows_missing += one.differences.missing
        self.rows_extra += one.differences.extra
        self.rows_different += one.differences.different
        self.rows_written += sum(file.rows for file in one.added)
        self.files_written += len(one.added)
        self.files_removed += len(one.removed)
        self.files_damaged |= one.damaged
        self.files_beyond += one.beyond if not one.is_as_written else ()
        where = f"{one.key.namespace}/{one.key.table}/{one.key.day_name}"
        self.samples += [f"{where}: {text}" for text in one.differences.samples]
        del self.samples[SAMPLES_MAX:]


class Replay:
    """One run of one mode over one range."""

    def __init__(
        self,
        reader: Reader,
        store: ObjectStore,
        state: ManifestState,
        asked: Range,
        selection: Selection,
        mode: Mode,
        folder: Path,
        file_bytes_max: int,
        rows_max: int = ROWS_MAX,
    ) -> None:
        """state: the newest; the range ends at or below the buffer's next offset. folder: for temporary files.

        rows_max: that are in memory at once.
        """
        self._reader = reader
        self._store = store
        self._state = state
        self._asked = asked
        self._selection = selection
        self._mode = mode
        self._folder = folder
        self._file_bytes_max = file_bytes_max
        self._rows_max = rows_max
        self._rows = Spill[PartitionKey](folder / "rows")
        self.report = Report(asked.sequencer, mode.value, asked.first, asked.end, state.number)

    def gather(self, progress: Callable[[int], None]) -> list[PartitionKey]:
        """Read the range; returns the partitions to examine. progress: called with the offsets passed.

        Raises as `reading.read`.
        """
        earlier = recalled(self._reader, self._state, self._asked)
        records = read(self._reader, self._asked, progress)
        condemned = that_end_processes(self._state, self._store)
        gathered = gather(self._state, earlier, records, self._selection, self._rows, condemned)
        keys = sorted({*self._rows, *self._partitions_with_files()})
        self.report.gathered(gathered, sum(map(self._rows.rows, self._rows)))
        self._repair = Repair(
            self._state,
            gathered,
            self._rows,
            self._store,
            self._asked,
            self._mode,
            self._folder,
            self._file_bytes_max,
            self._rows_max,
        )
        return keys

    def compare(self, keys: list[PartitionKey], progress: Callable[[int], None]) -> None:
        """Only count. progress: called with the partitions done."""
        for key in keys:
            self.report.examined(self._repair.examine(key, self._state))
            progress(1)

    def mend(self, keys: list[PartitionKey], holder: Holder, progress: Callable[[int], None]) -> None:
        """Make the files and have them named by `holder`. Raises as Holder.commit; what is named by then stays."""
        for start in range(0, len(keys), SWAP_PARTITIONS):
            some = keys[start : start + SWAP_PARTITIONS]
            for one in self._mended(some, holder):
                self.report.examined(one)
            progress(len(some))

    def _mended(self, keys: list[PartitionKey], holder: Holder) -> list[Examined]:
        refusal = ""
        for _ in range(TRIES):
            examined = self._examined(keys, holder.state)
            changed = [one for one in examined if one.added or one.removed]
            try:
                if changed:
                    holder.commit(self._swap(holder.state, changed))
            except Refused as error:
                refusal = str(error)
                self._remove(examined)
            else:
                return examined
        raise Unavailable(
            f"sequencer {self._asked.sequencer}: its files changed {TRIES} times while they were mended: {refusal}. "
            "Run this again, for one table at a time"
        )

    def _examined(self, keys: list[PartitionKey], state: ManifestState) -> list[Examined]:
        examined: list[Examined] = []
        try:
            for key in keys:
                examined.append(self._repair.examine(key, state))
        except BaseException:  # Ctrl-C too: nothing names these files yet
            self._remove(examined)
            raise
        return examined

    def _swap(self, state: ManifestState, changed: list[Examined]) -> Swap:
        added = [file for one in changed for file in one.added]
        removed = [file for one in changed for file in one.removed]
        return Swap.of(state, added, removed)

    def _remove(self, examined: list[Examined]) -> None:
        """Files that are not named. What cannot be removed now, the sequencer's next claim removes."""
        for one in examined:
            for file in one.added:
                try:
                    self._store.delete(file.path)
                except PenstockError:
                    return

    def _partitions_with_files(self) -> Iterator[PartitionKey]:
        """Those with a file that has rows of the range."""
        for file in self._state.files.values():
            is_within = file.first_offset < self._asked.end and file.last_offset >= self._asked.first
            if is_within and self._selection.has(file.partition):
                yield file.partition
