"""A range of the log, sorted out by partition: the rows that the store ought to have."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.values.ids import Offset
from penstock.replay.judging import Fate, TableRows, covered, judged
from penstock.replay.spill import Spill
from writebuffer.contract import SequencedRecord


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tables; None for all."""

    namespace: str | None = None
    table: str | None = None

    def has(self, key: PartitionKey) -> bool:
        return self.namespace in (None, key.namespace) and self.table in (None, key.table)


@dataclass
class Gathered:
    """offsets: of each partition's records, the least and the greatest.

    rows = those of the partitions + rows_unpersisted + rows_duplicate + rows_dead + rows_of_others: not persisted yet,
    in the ingester's memory or to be read by it; of repeated records; of dead letters; of tables not selected.
    """

    offsets: dict[PartitionKey, tuple[Offset, Offset]] = field(default_factory=dict)
    records: int = 0
    bytes: int = 0
    rows: int = 0
    rows_unpersisted: int = 0
    rows_duplicate: int = 0
    rows_dead: int = 0
    rows_of_others: int = 0


def gather(
    state: ManifestState,
    earlier: Iterable[SequencedRecord],
    polls: Iterable[Sequence[SequencedRecord]],
    selection: Selection,
    rows: Spill[PartitionKey],
    condemned: Mapping[Offset, str],
) -> Gathered:
    """Put the rows of `polls` that `state` has as durable into `rows`; say what became of the others.

    earlier, condemned: as judging.judged takes them.
    """
    gathered = Gathered()
    for some in judged(state, earlier, polls, condemned):
        for record, fate in some.records:
            gathered.records += 1
            gathered.bytes += record.size
            gathered.rows += record.rows
            gathered.rows_duplicate += record.rows if fate is Fate.REPEATED else 0
            gathered.rows_dead += record.rows if fate is Fate.DEAD else 0
        for of_table in some.rows:
            _add(state, of_table, selection, rows, gathered)
    return gathered


def _add(
    state: ManifestState, some: TableRows, selection: Selection, rows: Spill[PartitionKey], gathered: Gathered
) -> None:
    for key, of_day in some.by_partition():
        if not selection.has(key):
            gathered.rows_of_others += int(of_day.sum())
            continue
        durable = np.flatnonzero(of_day & covered(state, key, some))
        gathered.rows_unpersisted += int(of_day.sum()) - len(durable)
        if len(durable):
            picked = some.rows if len(durable) == some.rows.count else some.rows.take(durable)
            rows.add(key, picked.with_tags(some.brought.columns))
            first, last = (Offset(int(some.offsets[durable[end]])) for end in (0, -1))
            known_first, known_last = gathered.offsets.get(key, (first, last))
            gathered.offsets[key] = (min(first, known_first), max(last, known_last))
