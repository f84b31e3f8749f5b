"""What an ingester made of each record of a range: the same decisions again, from the manifest and the log."""

import enum
from collections.abc import Iterator

from common.catalog.manifest.producers import EXPIRY_NS, Producers
from common.catalog.manifest.state import ManifestState
from common.values.errors import DataCorrupt, Misconfigured
from common.values.ids import Offset
from ingester.core.ledger import Ledger
from ingester.following.decode import Decoded, Undecodable
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
        yield from read(reader, below, lambda passed: None)
    except OffsetTrimmed:  # meanwhile; what is asked for is still there, or reading it says so
        return


def _remembered_from(reader: Reader, asked: Range) -> Offset:
    one = next(read(reader, Range(asked.sequencer, asked.first, Offset(asked.first + 1)), lambda passed: None), None)
    if one is None:
        return asked.first
    try:
        _, _, _, _, append_time_ns, _ = one.record.headers
        return offset_at(reader, asked.sequencer, append_time_ns - EXPIRY_NS)
    except (Misconfigured, DataCorrupt):
        return Offset(0)
