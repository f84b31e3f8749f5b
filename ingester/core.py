"""The ingester's core: everything it decides, and no I/O.

`step(event) -> actions`. It starts no thread, reads no clock, awaits nothing. The driver (service.py) polls, runs
persist jobs, commits and feeds results back; the simulation is another driver. What queries see is `view`, one
immutable value that a step replaces: readers take a reference and no lock.

What holds after every step:
- rows taken = stored + overwritten + buffered + duplicate + dead
- the replay offset of a Change is at most the least offset of a row that no commit up to that one names
- jobs of one partition are committed in the order they were cut; at most one commit is under way
- a record is applied whole or not at all
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from common.entry import Entry
from common.errors import DataCorrupt
from common.ids import ManifestNumber, Offset
from ingester.buffer.partition import MERGE_ARRIVAL_NS_MAX, PartitionView
from ingester.buffer.tree import BufferTree
from ingester.clock import LifecycleClock
from ingester.decode import Decoded
from ingester.events import (
    Action,
    Commit,
    CommitFailed,
    Committed,
    DeadLetter,
    DeadLettered,
    DeadLetterFailed,
    Event,
    Finish,
    Pause,
    Persist,
    Persisted,
    PersistFailed,
    Polled,
    Resume,
    StopRequested,
    Tick,
)
from ingester.jobs import Jobs
from ingester.ledger import Ledger
from ingester.lifecycle import Reason, Rules, figures, plan
from ingester.partition_key import PartitionKey
from ingester.persist.manifest_state import Accounts, Change, ManifestState

RECORDS_BETWEEN_PLANS = 10_000
"""A torrent is looked at this often between ticks."""

ADVANCE_RECORDS = 10_000
ADVANCE_NS = 60_000_000_000
"""When nothing is persisted, a commit that only moves the replay offset is worth so many records, or so long a wait."""


@dataclass(frozen=True, slots=True)
class View:
    """What a query sees: the rows in memory, and the manifest number whose files they complement."""

    manifest_number: ManifestNumber
    applied_offset: Offset
    partitions: Mapping[PartitionKey, PartitionView]


@dataclass(slots=True)
class Counters:
    """Since this process started; rows_taken leaves out rows_durable, which a replay found persisted already."""

    records: int = 0
    rows_taken: int = 0
    rows_durable: int = 0
    rows_duplicate: int = 0
    rows_dead: int = 0
    persists: dict[Reason, int] = field(default_factory=dict)
    persist_failures: int = 0
    commits: int = 0


class IngesterCore:
    """One sequencer's state between its claim and its end."""

    def __init__(
        self, state: ManifestState, rules: Rules, file_bytes_max: int, persist_jobs_max: int, rng: random.Random
    ) -> None:
        """state: after this process's claim; reading begins at its replay offset. rng: for jitter and nonces."""
        self.state = state
        self.counters = Counters()
        self.paused = False
        self.caught_up = False
        self.applied_offset = state.replay_offset
        self.view = View(state.number, self.applied_offset, {})
        self._rules = rules
        self._file_bytes_max = file_bytes_max
        self._random = rng
        self._tree = BufferTree(min(MERGE_ARRIVAL_NS_MAX, rules.late_arrival_window_ns))
        self._ledger = Ledger(state)
        self._jobs = Jobs(state.sequencer, state.epoch, persist_jobs_max, rng)
        self._commit: Commit | None = None
        self._commit_jobs: tuple[int, ...] = ()
        self._commit_failed = False
        self._dead: dict[Offset, DeadLetter] = {}
        self._dead_bytes = 0
        self._dead_failed: set[Offset] = set()
        self._stopping: StopRequested | None = None
        self._finished = False
        self._clock = LifecycleClock()
        self._committed_at_ns = 0
        self._records_since_plan = 0
        self._views: dict[PartitionKey, PartitionView] = {}
        self._touched: set[PartitionKey] = set()

    @property
    def rows_buffered(self) -> int:
        return self._tree.rows

    @property
    def bytes_buffered(self) -> int:
        return self._tree.bytes

    @property
    def log_bytes(self) -> int:
        """Bytes of log between the committed replay offset and the applied one."""
        return self._ledger.log_bytes

    @property
    def log_time_ns(self) -> int:
        """The greatest append time applied."""
        return self._ledger.log_time_ns

    @property
    def jobs_running(self) -> int:
        return len(self._jobs)

    @property
    def accounts(self) -> Accounts:
        """Settled rows, duplicate and dead ones above the replay offset included."""
        return self._ledger.accounts

    def step(self, event: Event) -> list[Action]:
        """Take one event in; returns what the driver must do now, in order."""
        actions: list[Action] = []
        match event:
            case Polled():
                self._polled(event, actions)
            case Tick(now_ns):
                self._tick(now_ns, actions)
            case Persisted(job, result):
                self._jobs.finished(job.number, result)
            case PersistFailed(job):
                self.counters.persist_failures += 1
                self._jobs.failed(job.number, self._clock.elapsed_ns)
            case Committed(state):
                self._committed(state)
                self._plan(actions)
            case CommitFailed():
                self._commit_failed = True
            case DeadLettered(offset):
                self._dead_bytes -= len(self._dead.pop(offset).data)
            case DeadLetterFailed(offset):
                self._dead_failed.add(offset)
            case StopRequested():
                self._stopping = event
                actions.append(Pause())
                self._plan(actions)
        self._flow(actions)
        self._begin_commit(actions)
        self._finish(actions)
        return actions

    # Taking records in

    def _polled(self, event: Polled, actions: list[Action]) -> None:
        if self._stopping:
            return
        for record in event.records:
            if record.offset < self.applied_offset:
                raise DataCorrupt(
                    f"offset {record.offset} came after applied offset {self.applied_offset}", offset=record.offset
                )
            self._apply(record, actions)
        self.applied_offset = event.next_offset
        self.caught_up = event.caught_up
        self._records_since_plan += len(event.records)
        if self._tree.bytes > self._rules.soft_memory_bytes or self._records_since_plan >= RECORDS_BETWEEN_PLANS:
            self._plan(actions)
        self._show()

    def _apply(self, record: Decoded, actions: list[Action]) -> None:
        self._ledger.observe(record.append_time_ns)
        self._clock.read(record.append_time_ns)
        self.counters.records += 1
        if self._ledger.is_duplicate(record):
            self.counters.rows_duplicate += record.rows
            self.counters.rows_taken += record.rows
            self._ledger.note_duplicate(record)
        elif not isinstance(record.content, Entry):
            actions.append(self._put_aside(record, record.content.reason))
        elif reason := self._ledger.refusal(record.content):
            actions.append(self._put_aside(record, reason))
        else:
            self._take(record, record.content)
        self.applied_offset = Offset(record.offset + 1)

    def _take(self, record: Decoded, entry: Entry) -> None:
        durable, touched = self._tree.take(entry, record.offset, self._clock.now_ns, self.state.frontiers)
        self._touched |= touched
        self.counters.rows_durable += durable
        self.counters.rows_taken += record.rows - durable
        self._ledger.note_taken(record, entry)

    def _put_aside(self, record: Decoded, reason: str) -> DeadLetter:
        self.counters.rows_dead += record.rows
        self.counters.rows_taken += record.rows
        self._ledger.note_dead(record)
        letter = self._dead[record.offset] = DeadLetter(record.offset, reason, record.data)
        self._dead_bytes += len(letter.data)
        return letter

    # Deciding what to persist

    def _tick(self, now_ns: int, actions: list[Action]) -> None:
        self._clock.tick(now_ns, caught_up=self.caught_up)
        actions.extend(map(Persist, self._jobs.due_again(self._clock.elapsed_ns)))
        if self._commit is not None and self._commit_failed:
            self._commit_failed = False
            actions.append(self._commit)
        actions.extend(self._dead[offset] for offset in sorted(self._dead_failed))
        self._dead_failed.clear()
        self._plan(actions)

    def _plan(self, actions: list[Action]) -> None:
        self._records_since_plan = 0
        due = self._due_at_stop() if self._stopping else self._due()
        for key, reason in due[: self._jobs.permits]:
            view = self._tree.partitions[key].cut(self._jobs.next_number)
            last_offset = Offset(self.applied_offset - 1)
            job = self._jobs.start(view, reason, last_offset, self.state.sort_keys, self._file_bytes_max)
            self.counters.persists[reason] = self.counters.persists.get(reason, 0) + 1
            actions.append(Persist(job))

    def _due(self) -> list[tuple[PartitionKey, Reason]]:
        window_ns = self._rules.late_arrival_window_ns
        found = (figures(partition, self._clock.now_ns, window_ns) for partition in self._tree)
        known = [partition for partition in found if partition is not None]
        waiting_bytes = sum(partition.bytes for partition in known)
        # While a job cut for log pressure runs, what pins the replay offset is on its way out already.
        log_bytes = 0 if self._jobs.has(Reason.LOG) else self.log_bytes
        return plan(known, self._clock.now_ns, self._rules, waiting_bytes, log_bytes)

    def _due_at_stop(self) -> list[tuple[PartitionKey, Reason]]:
        if not self._stopping or not self._stopping.persist:
            return []
        return [(partition.key, Reason.STOP) for partition in self._tree if partition.chunks]

    def _flow(self, actions: list[Action]) -> None:
        """Over the hard limit stop polling; go on once the soft one is kept. Dead letters that wait count, too.

        The same for twice the log limit and the limit itself: with the store away, what must be remembered of each
        record above the replay offset would grow without bound, however few its rows.
        """
        if self._stopping:
            return
        held_bytes, rules = self._tree.bytes + self._dead_bytes, self._rules
        if not self.paused and (held_bytes > rules.hard_memory_bytes or self.log_bytes > 2 * rules.log_bytes_max):
            self.paused = True
            actions.append(Pause())
        elif self.paused and held_bytes <= rules.soft_memory_bytes and self.log_bytes <= rules.log_bytes_max:
            self.paused = False
            actions.append(Resume())

    # Committing

    def _begin_commit(self, actions: list[Action]) -> None:
        if self._commit is not None or self._finished:
            return
        done = self._jobs.committable()
        if not done and not self._worth_advancing(self.applied_offset):
            return  # the replay offset is not above it: no need to look through all partitions at every step
        replay_offset = self._replay_offset(frozenset(done))
        if not done and not self._worth_advancing(replay_offset):
            return
        self._commit_jobs = done
        self._commit = Commit(self.state, self._change(done, replay_offset), f"{self._random.getrandbits(128):032x}")
        actions.append(self._commit)

    def _replay_offset(self, jobs: frozenset[int]) -> Offset:
        """The least offset with rows that are neither committed nor in `jobs`, or that waits for its dead letter."""
        in_memory = self._tree.first_offset(jobs)
        pinned = [self.applied_offset, *self._dead, *([] if in_memory is None else [in_memory])]
        return max(self.state.replay_offset, min(pinned))

    def _worth_advancing(self, replay_offset: Offset) -> bool:
        advance = replay_offset - self.state.replay_offset
        if advance <= 0:
            return False
        at_the_end = self._stopping is not None and not self._jobs
        waited = self._clock.elapsed_ns - self._committed_at_ns >= ADVANCE_NS
        return at_the_end or waited or advance >= ADVANCE_RECORDS

    def _change(self, done: tuple[int, ...], replay_offset: Offset) -> Change:
        settled = self._ledger.settled_at(replay_offset)
        results = [result for number in done if (result := self._jobs[number].result)]
        files = tuple(file for result in results for file in result.files)
        return Change(
            replay_offset=replay_offset,
            log_time_ns=settled.log_time_ns,
            stream=settled.stream,
            producers=settled.producers,
            columns=settled.columns,
            accounts=settled.accounts.plus(
                stored=sum(file.rows for file in files), overwritten=sum(result.overwritten for result in results)
            ),
            files_added=files,
            frontiers=self._jobs.frontiers(done, self.state.frontiers),
            sort_keys=self._jobs.sort_keys(done, self.state.sort_keys),
        )

    def _committed(self, state: ManifestState) -> None:
        for number in self._commit_jobs:
            key = self._jobs.drop(number).key
            self._tree.drop(key, number)
            self._touched.add(key)
        self.state = state
        self._ledger.committed(state)
        self.counters.commits += 1
        self._committed_at_ns = self._clock.elapsed_ns
        self._commit, self._commit_jobs = None, ()
        self._show()

    def _finish(self, actions: list[Action]) -> None:
        if not self._stopping or self._finished:
            return
        if self._stopping.persist and (self._commit is not None or len(self._jobs) or self._dead or self._tree.rows):
            return
        self._finished = True
        actions.append(Finish())

    def _show(self) -> None:
        """Replace what queries see."""
        for key in sorted(self._touched):
            partition = self._tree.partitions.get(key)
            if partition is None:
                self._views.pop(key, None)
            else:
                self._views[key] = partition.view()
        self._touched = set()
        self.view = View(self.state.number, self.applied_offset, dict(self._views))
