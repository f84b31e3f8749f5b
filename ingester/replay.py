"""Replay as a dry run: what a sequencer's records from some offset on hold, and how much of it is durable already.

Reads the buffer and the manifest, changes nothing, beside a live cluster or without one, in bounded memory.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from common.entry import Entry
from common.errors import Unavailable
from common.ids import Offset
from common.schema import DAY_NS, TIME
from ingester.decode import Decoded, decode
from ingester.frontier import Frontier
from ingester.partition_key import PartitionKey
from ingester.persist.manifest_state import ManifestState
from ingester.producers import Producers
from writebuffer.contract import Reader

POLL_RECORDS = 1_000
POLL_BYTES = 16 * 1024 * 1024
POLL_TIMEOUT_S = 5.0


@dataclass
class ReplayReport:
    """Counts over the records in [from_offset, next_offset).

    rows = rows_durable + rows_missing + rows_duplicate + rows_dead: durable in the store, only in the buffer and in
    the ingester's memory, in a record that repeats an earlier one of this range, in a record that cannot be decoded.
    """

    sequencer: int
    from_offset: int
    next_offset: int
    manifest_number: int
    replay_offset: int
    records: int = 0
    bytes: int = 0
    rows: int = 0
    rows_durable: int = 0
    rows_missing: int = 0
    rows_duplicate: int = 0
    rows_dead: int = 0
    records_duplicate: int = 0
    records_dead: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def dry_run(
    reader: Reader,
    state: ManifestState,
    from_offset: Offset,
    to_offset: Offset | None,
    progress: Callable[[int], None],
) -> ReplayReport:
    """Report on the records from `from_offset` to `to_offset` (the next offset now, when None).

    progress: called with the number of offsets passed. Raises OffsetTrimmed naming the oldest offset left,
    OffsetInFuture, Unavailable when the buffer stays silent below its own next offset.
    """
    cursor = reader.reader(state.sequencer)
    try:
        cursor.seek(from_offset)
        next_offset = reader.offsets(state.sequencer).next_offset
        end = next_offset if to_offset is None else min(to_offset, next_offset)
        report = ReplayReport(state.sequencer, from_offset, end, state.number, state.replay_offset)
        producers = Producers()
        at = from_offset
        while at < end:
            batch = cursor.poll(POLL_RECORDS, POLL_BYTES, POLL_TIMEOUT_S)
            if batch.next_offset == at:
                raise Unavailable(f"sequencer {state.sequencer}: nothing came at {at}, below next offset {end}")
            for sequenced in batch.records:
                if sequenced.offset < end:
                    _count(report, decode(sequenced), state, producers)
            progress(min(batch.next_offset, end) - at)
            at = batch.next_offset
        return report
    finally:
        cursor.close()


def _count(report: ReplayReport, record: Decoded, state: ManifestState, producers: Producers) -> None:
    report.records += 1
    report.bytes += record.size
    report.rows += record.rows
    repeated = record.producer_id is not None and producers.seen(
        record.producer_id, record.producer_sequence, record.append_time_ns
    )
    if record.producer_id is not None:
        producers.add(record.producer_id, record.producer_sequence, record.append_time_ns)
    if repeated:
        report.records_duplicate += 1
        report.rows_duplicate += record.rows
    elif isinstance(record.content, Entry):
        durable = _durable_rows(record.content, record.offset, state)
        report.rows_durable += durable
        report.rows_missing += record.rows - durable
    else:
        report.records_dead += 1
        report.rows_dead += record.rows


def _durable_rows(entry: Entry, offset: Offset, state: ManifestState) -> int:
    if offset < state.replay_offset:
        return sum(batch.num_rows for batch in entry.tables.values())
    durable = 0
    for table, batch in entry.tables.items():
        times = batch.column(TIME).view(pa.int64()).to_numpy()
        days = times // DAY_NS
        for day in np.unique(days):
            frontier = state.frontiers.get(PartitionKey(entry.namespace, table, int(day)), Frontier())
            durable += int(frontier.covered(offset, times[days == day]).sum())
    return durable
