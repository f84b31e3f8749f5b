"""A range of the log, sorted out by partition: the rows that the store ought to have."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from common.catalog.manifest.frontier import Frontier
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.entry import Entry
from common.values.ids import Offset
from common.values.schema import DAY_NS, times_ns
from ingester.following.decode import Decoded, decode
from penstock.replay.judging import Fate, Judge
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
    recalled: Iterable[SequencedRecord],
    records: Iterable[SequencedRecord],
    selection: Selection,
    rows: Spill[PartitionKey],
) -> Gathered:
    """Put the rows of `records` that `state` has as durable into `rows`; say what became of the others."""
    judge, gathered = Judge(state), Gathered()
    for earlier in recalled:
        judge.recall(earlier)
    for sequenced in records:
        record = decode(sequenced)
        gathered.records += 1
        gathered.bytes += record.size
        gathered.rows += record.rows
        match judge.judge(record):
            case Fate.REPEATED:
                gathered.rows_duplicate += record.rows
            case Fate.DEAD:
                gathered.rows_dead += record.rows
            case Fate.APPLIED:
                _add(state, record, selection, rows, gathered)
    return gathered


def _add(
    state: ManifestState, record: Decoded, selection: Selection, rows: Spill[PartitionKey], gathered: Gathered
) -> None:
    assert isinstance(record.content, Entry)
    for table, batch in record.content.tables.items():
        times = times_ns(batch)
        days = times // DAY_NS
        for day in np.unique(days):
            key = PartitionKey(record.content.namespace, table, int(day))
            of_day = days == day
            if not selection.has(key):
                gathered.rows_of_others += int(of_day.sum())
                continue
            durable = of_day
            if record.offset >= state.replay_offset:
                durable = of_day & state.frontiers.get(key, Frontier()).covered(record.offset, times)
            gathered.rows_unpersisted += int(of_day.sum() - durable.sum())
            if durable.any():
                rows.add(key, batch if durable.all() else batch.filter(pa.array(durable)))
                first, _ = gathered.offsets.get(key, (record.offset, record.offset))
                gathered.offsets[key] = (first, record.offset)
