"""Dead letters applied after all: a release that reads them, or a store that has their columns, makes files of them.

A redriven row only fills: a value that the store, or the ingester's memory, has for its key stays, since nobody knows
any more which is newer. The files are named together with the offsets of their letters in one record of the manifest,
so that a letter is redriven once, whatever dies meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from common.catalog.manifest.state import ManifestState
from common.catalog.manifest.swap import Swap
from common.catalog.partition_key import PartitionKey
from common.entry import Entry
from common.store.objects import ObjectStore
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import Offset
from common.values.schema import DAY_NS, ColumnType, TableId, times_ns
from ingester.core.ledger import Ledger
from ingester.following.decode import Undecodable
from penstock.dead_letters.letters import Letter
from penstock.replay.gathering import Gathered
from penstock.replay.holder import Holder, Refused
from penstock.replay.reading import Range
from penstock.replay.repair import Examined, Mode, Repair
from penstock.replay.spill import Spill

LETTERS_MAX = 1_000
"""Of one commit."""

TRIES = 10


@dataclass
class Redriven:
    """letters, rows: that were redriven; rows_added: of these, what the store lacked. left: by offset, why not."""

    letters: int = 0
    rows: int = 0
    rows_added: int = 0
    left: dict[Offset, str] = field(default_factory=dict)


def redrive(
    letters: Sequence[Letter], holder: Holder, store: ObjectStore, folder: Path, file_bytes_max: int
) -> Redriven:
    """folder: for temporary files.

    Raises DataCorrupt where a partition that they touch has a damaged file (mend it first), Unavailable; what was
    committed by then stays.
    """
    done = Redriven()
    for start in range(0, len(letters), LETTERS_MAX):
        batch = _Batch(letters[start : start + LETTERS_MAX], holder.state, folder / f"letters-{start}", done)
        _commit(batch, holder, store, folder / f"files-{start}", file_bytes_max, done)
    return done


class _Batch:
    """The letters of one commit that can be applied: rows by partition, and the columns that they bring."""

    def __init__(self, letters: Sequence[Letter], state: ManifestState, folder: Path, done: Redriven) -> None:
        self.rows = Spill[PartitionKey](folder)
        self.gathered = Gathered()
        self.redriven: dict[Offset, int] = {}
        self.columns: dict[TableId, dict[str, ColumnType]] = {}
        self._state = state
        self._ledger = Ledger(state)
        for each in letters:
            letter = each.as_tried() if each.ends_processes and not each.redriven else each
            if reason := self._why_not(letter):
                done.left[letter.offset] = reason
            else:
                self._add(letter)

    def _why_not(self, letter: Letter) -> str:
        if letter.redriven:
            return "it was redriven before"
        if letter.offset >= self._state.replay_offset:
            return "what lies before it is not persisted yet: try again later"
        if letter.ends_processes:
            return letter.reason
        if letter.record is None:
            return "its bytes are no record"
        if isinstance(letter.record.content, Undecodable):
            return letter.record.content.reason
        return self._ledger.refusal(letter.record.tables) or ""

    def _add(self, letter: Letter) -> None:
        assert letter.record is not None
        content = letter.record.content
        assert isinstance(content, Entry)
        for table, columns in self._ledger.learn(letter.record.tables):
            self.columns.setdefault(table, {}).update(columns)
        self.redriven[letter.offset] = letter.rows
        for table_name, batch in content.tables.items():
            days = times_ns(batch) // DAY_NS
            for day in np.unique(days):
                key = PartitionKey(content.namespace, table_name, int(day))
                self.rows.add(key, batch.filter(pa.array(days == day)))
                first, _ = self.gathered.offsets.get(key, (letter.offset, letter.offset))
                self.gathered.offsets[key] = (first, letter.offset)


def _commit(
    batch: _Batch, holder: Holder, store: ObjectStore, folder: Path, file_bytes_max: int, done: Redriven
) -> None:
    if not batch.redriven:
        return
    refusal = ""
    for number in range(TRIES):
        state = holder.state
        nothing = Range(state.sequencer, Offset(0), Offset(0))  # no file can be made anew from letters alone
        repair = Repair(
            state, batch.gathered, batch.rows, store, nothing, Mode.ADD, folder / f"{number}", file_bytes_max
        )
        examined = [repair.examine(key, state) for key in sorted(batch.rows)]
        _check_undamaged(examined)
        files = [file for one in examined for file in one.added]
        try:
            holder.commit(Swap.of(state, files, ()).redriving(batch.redriven, batch.columns))
        except Refused as error:
            refusal = str(error)
            for file in files:
                store.delete(file.path)
            if holder.state.number == state.number:  # nothing changed meanwhile: it would be refused again
                break
            continue
        done.letters += len(batch.redriven)
        done.rows += sum(batch.redriven.values())
        done.rows_added += sum(file.rows for file in files)
        return
    raise Unavailable(f"sequencer {holder.state.sequencer}: its dead letters were not redriven: {refusal}")


def _check_undamaged(examined: Sequence[Examined]) -> None:
    for one in examined:
        for path, why in one.damaged.items():
            raise DataCorrupt(
                f"{path}: {why}. Nobody can say which values a redriven row lacks there: bring the file back first, by "
                "`penstock replay` or from a copy of the store",
                path=path,
            )
