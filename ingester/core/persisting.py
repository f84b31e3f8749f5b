"""Which rows become persist jobs, and when: what is due is cut as fast as jobs may run beside each other.

A plan looks through all partitions: at each tick, after many records, and under pressure once nothing is left to cut.
Between two plans the parts that were due are cut one after another as jobs end, without looking at the others again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from common.catalog.manifest.frontier import TIME_END
from common.catalog.manifest.state import ManifestState
from common.values.ids import Offset
from ingester.buffer.tree import BufferTree
from ingester.core.counters import Counters
from ingester.core.events import Persist
from ingester.core.jobs import Jobs
from ingester.core.ledger import Ledger
from ingester.core.lifecycle import Due, Figures, Reason, Rules, figures

CORNERS_MAX = 16
"""Of a partition's frontier. Before it would have more, its rows are persisted whole, which leaves one corner."""

RECORDS_BETWEEN_PLANS = 10_000
"""While many records arrive, a plan is made after this many of them, also between ticks."""

Policy = Callable[[Iterable[Figures], int, Rules, int, Offset], Sequence[Due]]
"""lifecycle.plan, or what a test puts in its place."""


class Persisting:
    """Owns what is due and not cut yet; `jobs` are those cut and not committed yet."""

    def __init__(
        self, policy: Policy, rules: Rules, tree: BufferTree, ledger: Ledger, jobs: Jobs, counters: Counters
    ) -> None:
        self._policy = policy
        self._rules = rules
        self._tree = tree
        self._ledger = ledger
        self._jobs = jobs
        self._counters = counters
        self._due: deque[Due] = deque()
        self._records_since_plan = 0

    def plan(self, now_ns: int) -> None:
        """Look through all partitions; what was due before and is not any more is forgotten."""
        self._records_since_plan = 0
        window_ns = self._rules.late_arrival_window_ns
        found = (figures(partition, now_ns, window_ns) for partition in self._tree)
        known = [partition for partition in found if partition is not None]
        due = self._policy(known, now_ns, self._rules, self._tree.waiting_bytes, self._log_kept_from())
        self._due = deque(due)

    def plan_end(self) -> None:
        """Everything is due: no record comes any more."""
        self._due = deque(
            Due(partition.key, Reason.STOP, TIME_END) for partition in self._tree if partition.waiting_bytes
        )

    def forget(self) -> None:
        """Nothing is cut any more."""
        self._due.clear()

    def after_records(self, count: int, now_ns: int) -> None:
        """Plan, where so many records or so much memory call for it before the next tick."""
        self._records_since_plan += count
        over_soft = not self._due and self._tree.waiting_bytes > self._rules.soft_memory_bytes
        if over_soft or self._records_since_plan >= RECORDS_BETWEEN_PLANS:
            self.plan(now_ns)

    def after_commit(self, now_ns: int) -> None:
        """Plan, where a limit is not kept and nothing more is due: rows came while all that was had been cut."""
        if not self._due and (self._tree.waiting_bytes > self._rules.soft_memory_bytes or self._holds_log_back()):
            self.plan(now_ns)

    def cut(self, last_offset: Offset, state: ManifestState) -> list[Persist]:
        """Cut what is due, as far as jobs are permitted. last_offset: one below the applied offset."""
        cut = []
        while self._due and self._jobs.has_permit:
            due = self._due.popleft()
            corner = (last_offset, due.until_ns)
            if len(self._jobs.frontier_with(due.key, corner, state)) > CORNERS_MAX:
                corner = (last_offset, TIME_END)
            view = self._tree.cut(due.key, self._jobs.next_number, corner[1])
            cut.append(Persist(self._jobs.start(view, corner, state.sort_keys)))
            self._counters.persist_cut(due.reason)
        return cut

    def _log_kept_from(self) -> Offset:
        return self._ledger.replay_offset_within(self._rules.log_bytes_max, self._rules.log_records_max)

    def _holds_log_back(self) -> bool:
        """Whether rows that are in no job hold the replay offset back too far."""
        first_offset = self._tree.first_offset(self._jobs.numbers)
        return first_offset is not None and first_offset < self._log_kept_from()
