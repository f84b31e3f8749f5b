"""Replay as a dry run: what a sequencer's records from some offset on hold, and how much of it is durable already.

Reads the buffer and the manifest, changes nothing, beside a live cluster or without one, in bounded memory.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from common.entry import Entry
from common.errors import Unavailable
from common.ids import Offset
from common.schema import DAY_NS, times_ns
from ingester.decode import Decoded, decode
from ingester.frontier import Frontier
from ingester.ledger import Ledger
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
    the ingester's memory, in a record that repeats an earlier one, in a record that cannot be decoded. Which are
    earlier: those of this range, and for records from the replay offset on all below it, which the manifest knows.
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
        count = _Count(state, from_offset, end)
        at = from_offset
        while at < end:
            batch = cursor.poll(POLL_RECORDS, POLL_BYTES, POLL_TIMEOUT_S)
            if batch.next_offset == at:
                raise Unavailable(f"sequencer {state.sequencer}: nothing came at {at}, below next offset {end}")
            for sequenced in batch.records:
                if sequenced.offset < end:
                    count.add(decode(sequenced))
            progress(min(batch.next_offset, end) - at)
            at = batch.next_offset
        return count.report
    finally:
        cursor.close()


class _Count:
    """What an ingester would make of the records: a repeat of an earlier one, refused, durable or not."""

    def __init__(self, state: ManifestState, from_offset: Offset, end: Offset) -> None:
        self.report = ReplayReport(state.sequencer, from_offset, end, state.number, state.replay_offset)
        self._state = state
        self._producers = Producers()
        self._log_time_ns = 0
        self._as_of_replay_offset = False
        self._ledger = Ledger(state)

    def add(self, record: Decoded) -> None:
        report = self.report
        report.records += 1
        report.bytes += record.size
        report.rows += record.rows
        if self._is_repeated(record):
            report.records_duplicate += 1
            report.rows_duplicate += record.rows
        elif isinstance(record.content, Entry) and not self._ledger.refusal(record.content):
            self._ledger.learn(record.content)
            durable = _durable_rows(record.content, record.offset, self._state)
            report.rows_durable += durable
            report.rows_missing += record.rows - durable
        else:
            report.records_dead += 1
            report.rows_dead += record.rows

    def _is_repeated(self, record: Decoded) -> bool:
        if record.offset >= self._state.replay_offset and not self._as_of_replay_offset:
            self._as_of_replay_offset = True
            self._producers, self._log_time_ns = self._state.producers.copy(), self._state.log_time_ns
        self._log_time_ns = max(self._log_time_ns, record.append_time_ns)
        if record.producer_id is None:
            return False
        mark = (record.producer_id, record.producer_sequence, self._log_time_ns)
        repeated = self._producers.seen(*mark)
        self._producers.add(*mark)
        return repeated


def _durable_rows(entry: Entry, offset: Offset, state: ManifestState) -> int:
    if offset < state.replay_offset:
        return sum(batch.num_rows for batch in entry.tables.values())
    durable = 0
    for table, batch in entry.tables.items():
        times = times_ns(batch)
        days = times // DAY_NS
        for day in np.unique(days):
            frontier = state.frontiers.get(PartitionKey(entry.namespace, table, int(day)), Frontier())
            durable += int(frontier.covered(offset, times[days == day]).sum())
    return durable
