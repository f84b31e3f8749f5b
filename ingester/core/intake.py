"""Records in: each is applied whole, found to be a repeat, or kept as a dead letter; in order of offsets."""

from collections.abc import Mapping

from common.catalog.manifest.frontier import Frontier
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.values.errors import DataCorrupt
from common.values.ids import Offset
from ingester.buffer.tree import BufferTree
from ingester.core.arrivals import Arrivals
from ingester.core.clock import LifecycleClock
from ingester.core.counters import Counters
from ingester.core.dead_letters import DeadLetters
from ingester.core.events import DeadLetter, Polled
from ingester.core.ledger import Ledger
from ingester.core.run import run_of
from ingester.following.decode import Decoded, Undecodable

Frontiers = Mapping[PartitionKey, Frontier]


class Intake:
    """applied_offset: one past the last record. caught_up: the last batch reached the durable end."""

    def __init__(self, state: ManifestState, tree: BufferTree, clock: LifecycleClock, counters: Counters) -> None:
        self.applied_offset = state.replay_offset
        self.caught_up = False
        self.ledger = Ledger(state)
        self.dead_letters = DeadLetters(state.sequencer)
        self._tree = tree
        self._clock = clock
        self._counters = counters

    def apply(self, polled: Polled, frontiers: Frontiers) -> tuple[list[DeadLetter], set[PartitionKey]]:
        """Apply a batch but for the rows that the frontiers cover; returns new dead letters, and what was touched.

        Raises DataCorrupt at a record that was applied already: those before it are applied.
        """
        letters: list[DeadLetter] = []
        arrivals = Arrivals(polled)
        try:
            if not self._apply_together(polled, arrivals):
                self._apply_each(polled, arrivals, letters)
        finally:
            touched = self._buffer(arrivals, frontiers)
        self.applied_offset = polled.next_offset
        self.caught_up = polled.caught_up
        return letters, touched

    def _apply_together(self, polled: Polled, arrivals: Arrivals) -> bool:
        """Apply all records at once, where that is sure to be what one after another gives; else False, nothing done.

        Of nearly all polls each record is new and brings known columns: then none depends on those before it.
        """
        run = run_of(polled.records)
        if run is None or run.offsets[0] < self.applied_offset or not self.ledger.are_new(run):
            return False
        arrivals.add_all(run.tables, self._clock.read_all(run.append_times_ns))
        self._counters.records += len(run.rows)
        self._counters.rows_applied += sum(run.rows)
        self.ledger.note_new(run)
        return True

    def _apply_each(self, polled: Polled, arrivals: Arrivals, letters: list[DeadLetter]) -> None:
        for position, record in enumerate(polled.records):
            if record.offset < self.applied_offset:
                raise DataCorrupt(
                    f"offset {record.offset} was read again after everything below {self.applied_offset} was applied",
                    offset=record.offset,
                )
            reason = self._decide(position, record, arrivals)
            if reason:
                letters.append(self.dead_letters.add(record, reason))
            self.applied_offset = Offset(record.offset + 1)

    def _decide(self, position: int, record: Decoded, arrivals: Arrivals) -> str | None:
        """What becomes of a record, by those before it; returns why it cannot be applied, where it cannot."""
        self.ledger.observe(record.append_time_ns)
        self._clock.read(record.append_time_ns)
        self._counters.records += 1
        if self.ledger.is_duplicate(record):
            self._repeated(record)
            return None
        if isinstance(record.content, Undecodable):
            self._refused(record)
            return record.content.reason
        tables = record.tables
        reason = self.ledger.refusal(tables)
        if reason:
            self._refused(record)
            return reason
        arrivals.add(position, tables, self._clock.now_ns)
        self._counters.rows_applied += record.rows
        self.ledger.note_applied(record, tables)
        return None

    def _buffer(self, arrivals: Arrivals, frontiers: Frontiers) -> set[PartitionKey]:
        """The rows of all records that are applied: one addition to the tree for each batch."""
        touched: set[PartitionKey] = set()
        for brought, batch, origins in arrivals.rows():
            durable, here = self._tree.add(brought, batch, origins, frontiers)
            self._counters.rows_durable += durable
            self._counters.rows_applied -= durable
            touched |= here
        return touched

    def _repeated(self, record: Decoded) -> None:
        self._counters.rows_duplicate += record.rows
        self._counters.rows_applied += record.rows
        self.ledger.note_duplicate(record)

    def _refused(self, record: Decoded) -> None:
        self._counters.rows_dead += record.rows
        self._counters.rows_applied += record.rows
        self.ledger.note_dead(record)
