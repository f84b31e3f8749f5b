"""What an ingester has done since its process started, for metrics and for the check of the accounts."""

from dataclasses import dataclass, field

from ingester.core.lifecycle import Reason


@dataclass(slots=True)
class Counters:
    """rows_applied: rows of the records read, without rows_durable, which a replay found in the store already.

    rows_unaccounted: those of them, as of the last tick, that are neither settled since the claim nor in memory: where
    it is not 0, rows were lost (above) or counted twice (below).
    """

    records: int = 0
    rows_applied: int = 0
    rows_durable: int = 0
    rows_duplicate: int = 0
    rows_dead: int = 0
    rows_unaccounted: int = 0
    persists: dict[Reason, int] = field(default_factory=dict)
    persist_failures: int = 0
    commits: int = 0

    def persist_cut(self, reason: Reason) -> None:
        self.persists[reason] = self.persists.get(reason, 0) + 1
