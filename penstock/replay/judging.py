"""What an ingester made of each record of a range: the same decisions again, from the manifest and the log."""

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.catalog.manifest.frontier import Frontier
from common.catalog.manifest.producers import EXPIRY_NS, Producers
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.entry.series_rows import SeriesRows
from common.values.errors import DataCorrupt, Misconfigured
from common.values.ids import Offset
from common.values.schema import DAY_NS
from ingester.buffer.origins import Numbers, TableColumns
from ingester.core.arrivals import Arrivals
from ingester.core.ledger import Ledger
from ingester.following.decode import Decoded, Undecodable
from ingester.following.joining import Known
from ingester.following.poller import decoded_steps
from penstock.replay.reading import Range, offset_at, read
from writebuffer.contract import Reader, SequencedRecord
from writebuffer.errors import OffsetTrimmed


class Fate(enum.Enum):
    """APPLIED: its rows are to be in the store, or in memory. REPEATED: as an earlier record. DEAD: a dead letter."""

    APPLIED = "applied"
    REPEATED = "repeated"
    DEAD = "dead"


class Judge:
    """Judges records in order of offsets. Those before the range are recalled first, or repeats are taken for new."""

    def __init__(self, state: ManifestState) -> None:
        self._state = state
        self._producers = Producers()
        self._log_time_ns = 0
        self._as_of_replay_offset = False
        self._ledger = Ledger(state)

    def recall(self, record: SequencedRecord) -> None:
        """A record below the range; only its headers are read."""
        try:
            _, _, producer_id, sequence, append_time_ns, _ = record.record.headers
        except DataCorrupt:
            return
        self._is_repeated(record.offset, append_time_ns, producer_id, sequence)

    def judge(self, record: Decoded) -> Fate:
        if self._is_repeated(record.offset, record.append_time_ns, record.producer_id, record.producer_sequence):
            return Fate.REPEATED
        if isinstance(record.content, Undecodable):
            return Fate.DEAD
        tables = record.tables
        if self._ledger.refusal(tables):
            return Fate.DEAD
        self._ledger.learn(tables)
        return Fate.APPLIED

    def _is_repeated(self, offset: Offset, append_time_ns: int, producer_id: bytes | None, sequence: int) -> bool:
        if offset >= self._state.replay_offset and not self._as_of_replay_offset:
            self._as_of_replay_offset = True
            as_of = self._state.as_of
            self._producers, self._log_time_ns = as_of.producers.copy(), as_of.log_time_ns
        self._log_time_ns = max(self._log_time_ns, append_time_ns)
        if producer_id is None:
            return False
        repeated = self._producers.seen(producer_id, sequence, self._log_time_ns)
        self._producers.add(producer_id, sequence, self._log_time_ns)
        return repeated


class TableRows(NamedTuple):
    """Rows that applied records brought to a table. offsets: int64, of each row's record, ascending."""

    brought: TableColumns
    rows: SeriesRows
    offsets: Numbers

    def by_partition(self) -> "Iterator[tuple[PartitionKey, npt.NDArray[np.bool_]]]":
        """Each partition that has some, and which."""
        table, days = self.brought.table, self.rows.times // DAY_NS
        for day in np.unique(days):
            yield PartitionKey(table.namespace, table.table, int(day)), days == day


class Judged(NamedTuple):
    """Records that follow each other, what became of each, and the rows of those that are applied."""

    records: list[tuple[Decoded, Fate]]
    rows: list[TableRows]


def judged(
    state: ManifestState,
    earlier: Iterable[SequencedRecord],
    polls: Iterable[Sequence[SequencedRecord]],
    condemned: Mapping[Offset, str],
) -> Iterator[Judged]:
    """All of `polls`, decoded together as an ingester does.

    earlier: the records before them that they may repeat. condemned: those whose payload must not be looked at.
    """
    judge, known = Judge(state), Known()
    for record in earlier:
        judge.recall(record)
    for records in polls:
        if not records:
            continue
        end = Offset(records[-1].offset + 1)
        for polled in decoded_steps(records, end, caught_up=False, known=known, condemned=condemned):
            arrivals, fates = Arrivals(polled), []
            for position, decoded in enumerate(polled.records):
                fate = judge.judge(decoded)
                fates.append((decoded, fate))
                if fate is Fate.APPLIED:
                    arrivals.add(position, decoded.tables, 0)
            rows = [TableRows(brought, rows, origins.of_rows(rows.count)) for brought, rows, origins in arrivals.rows()]
            yield Judged(fates, rows)


def covered(state: ManifestState, key: PartitionKey, rows: TableRows) -> "npt.NDArray[np.bool_]":
    """Which rows the manifest says are durable, if they belong to the partition `key`."""
    frontier = state.frontiers.get(key, Frontier())
    mask: npt.NDArray[np.bool_] = (rows.offsets < state.replay_offset) | frontier.covered(rows.offsets, rows.rows.times)
    return mask


def recalled(reader: Reader, state: ManifestState, asked: Range) -> Iterator[SequencedRecord]:
    """The records below `asked` that a record in it may repeat, as far as the log still has them.

    From the replay offset on the manifest knows what was below it; else those of the time for which producers are
    remembered, or all, where the write buffer cannot find offsets by time.
    """
    there = reader.offsets(asked.sequencer)
    if not there.first_offset < asked.first <= there.next_offset:
        return
    start = state.replay_offset if asked.first >= state.replay_offset else _remembered_from(reader, asked)
    below = Range(asked.sequencer, max(there.first_offset, min(start, asked.first)), asked.first)
    try:
        for records in read(reader, below):
            yield from records
    except OffsetTrimmed:  # meanwhile; what is asked for is still there, or reading it says so
        return


def _remembered_from(reader: Reader, asked: Range) -> Offset:
    one = next(read(reader, Range(asked.sequencer, asked.first, Offset(asked.first + 1))), [])
    if not one:
        return asked.first
    try:
        _, _, _, _, append_time_ns, _ = one[0].record.headers
        return offset_at(reader, asked.sequencer, append_time_ns - EXPIRY_NS)
    except (Misconfigured, DataCorrupt):
        return Offset(0)
