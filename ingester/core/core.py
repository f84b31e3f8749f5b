"""The ingester's core: everything it decides, and no I/O.

`step(event) -> actions`. It starts no thread, reads no clock, awaits nothing. The driver (ingester/service.py) polls,
performs the actions (ingester/performing.py) and hands the outcomes back; the simulation is another driver. Its parts:

    Polled ──> intake ──> buffer tree ──> persisting ──> jobs ──> committing ──> Commit
               repeats,   rows in         what is due    cut,     one change for
               refusals   memory                         running  all that finished
    flow: Pause and Resume     ending: a stop, or a lost stream     views: what queries see

What queries see is `view`, one immutable value that a step replaces: readers take a reference and no lock.

What holds after every step:
- rows applied = stored + overwritten + buffered + duplicate + dead
- the replay offset of a Change is at most the least offset of a row that no commit up to that one names
- jobs of one partition are committed in the order they were cut; at most one commit is under way
- a record is applied whole or not at all
"""

import random

from common.catalog.manifest.change import Accounts
from common.catalog.manifest.state import ManifestState
from common.values.ids import Offset
from ingester.buffer.late_rows import LateRows
from ingester.buffer.tree import BufferTree
from ingester.buffer.waiting import MERGE_ARRIVAL_NS_MAX
from ingester.core import lifecycle
from ingester.core.clock import LifecycleClock
from ingester.core.committing import Committing
from ingester.core.counters import Counters
from ingester.core.ending import Ending, Unfinished
from ingester.core.events import (
    Action,
    CommitFailed,
    Committed,
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
    StoreAway,
    StreamLost,
    SwapAsked,
    Tick,
)
from ingester.core.flow import Flow
from ingester.core.intake import Intake
from ingester.core.jobs import Jobs
from ingester.core.lifecycle import Rules
from ingester.core.persisting import Persisting, Policy
from ingester.core.view import Views


class IngesterCore:
    """One sequencer's state between its claim and its end."""

    def __init__(
        self,
        state: ManifestState,
        rules: Rules,
        file_bytes_max: int,
        persist_jobs_max: int,
        rng: random.Random,
        policy: Policy = lifecycle.plan,
        small_jobs_per_job: int = 1,
    ) -> None:
        """state: after this process's claim; reading begins at its replay offset. rng: for jitter and nonces.

        persist_jobs_max, small_jobs_per_job: as Jobs takes them.
        """
        self.counters = Counters()
        self._settled_at_claim = state.accounts.settled
        self._clock = LifecycleClock()
        merge_arrival_ns_max = min(MERGE_ARRIVAL_NS_MAX, rules.late_arrival_window_ns)
        self._tree = BufferTree(merge_arrival_ns_max, lambda key: self.state.persisted_until(key))
        self._jobs = Jobs(state.sequencer, state.epoch, persist_jobs_max, file_bytes_max, rng, small_jobs_per_job)
        self._intake = Intake(state, self._tree, self._clock, self.counters)
        self._persisting = Persisting(policy, rules, self._tree, self._intake.ledger, self._jobs, self.counters)
        self._committing = Committing(state, self._tree, self._intake, self._jobs, rng)
        self._flow = Flow(rules)
        self._ending = Ending(state.sequencer, rules.stop_timeout_ns, rules.stop_deadline_ns)
        self._views = Views(self._tree)
        self.view = self._views.after((), state.number, self.applied_offset)

    @property
    def state(self) -> ManifestState:
        """The newest committed one."""
        return self._committing.state

    @property
    def applied_offset(self) -> Offset:
        return self._intake.applied_offset

    @property
    def caught_up(self) -> bool:
        """The last batch reached the durable end."""
        return self._intake.caught_up

    @property
    def paused(self) -> bool:
        """Polling waits for memory or the log."""
        return self._flow.paused

    @property
    def ending(self) -> bool:
        """A stop was asked for, or the stream is lost: no record is applied any more."""
        return self._ending.begun

    @property
    def rows_buffered(self) -> int:
        return self._tree.rows

    @property
    def bytes_buffered(self) -> int:
        return self._tree.bytes

    @property
    def log_bytes(self) -> int:
        """Bytes of the records between the committed replay offset and the applied one."""
        return self._intake.ledger.log_bytes

    @property
    def log_records(self) -> int:
        """How many records there are between the two: each is remembered, and read again by a restart."""
        return self._intake.ledger.log_records

    @property
    def log_time_ns(self) -> int:
        """The greatest append time applied."""
        return self._intake.ledger.log_time_ns

    @property
    def late_rows(self) -> LateRows:
        """Since the start of this process."""
        return self._tree.late_rows

    @property
    def jobs_running(self) -> int:
        return len(self._jobs)

    @property
    def accounts(self) -> Accounts:
        """Settled rows, duplicate and dead ones above the replay offset included."""
        return self._intake.ledger.accounts

    def step(self, event: Event) -> list[Action]:
        """What `event` changes; returns what the driver must do now, in order."""
        actions = self._on(event)
        actions += self._cut()
        actions += [action for action in (self._judge_flow(), *self._begin_commit(), self._finish()) if action]
        return actions

    def _on(self, event: Event) -> list[Action]:
        match event:
            case Polled():
                return self._polled(event)
            case Tick(now_ns):
                return self._tick(now_ns)
            case SwapAsked(swap):
                self._committing.ask(swap)
                return []
            case StopRequested() | StreamLost():
                return self._end(event)
            case StoreAway(reason):
                self._ending.store_away(reason)
                return []
            case Persisted(job, result):
                self._jobs.finished(job.number, result)
            case PersistFailed(job):
                self.counters.persist_failures += 1
                self._jobs.failed(job.number, self._clock.elapsed_ns)
            case Committed(state):
                answers = self._committed(state)
                self._ending.note(event, self._clock.elapsed_ns)
                return answers
            case CommitFailed():
                self._committing.failed()
            case DeadLettered(letter):
                self._intake.dead_letters.kept(letter)
            case DeadLetterFailed(letter):
                self._intake.dead_letters.failed(letter)
        self._ending.note(event, self._clock.elapsed_ns)
        return []

    def _polled(self, event: Polled) -> list[Action]:
        if self._ending.begun:
            return []
        letters, touched = self._intake.apply(event, self.state.frontiers)
        self._persisting.after_records(len(event.records), self._clock.now_ns)
        self.view = self._views.after(touched, self.state.number, self.applied_offset)
        return [*letters]

    def _tick(self, now_ns: int) -> list[Action]:
        self._clock.tick(now_ns, caught_up=self.caught_up)
        settled = self.accounts.settled - self._settled_at_claim
        self.counters.rows_unaccounted = self.counters.rows_applied - settled - self._tree.rows
        if not self._ending.begun:
            self._persisting.plan(self._clock.now_ns)
        return self._again()

    def _again(self) -> list[Action]:
        """What failed and is to be tried again now."""
        persists = map(Persist, self._jobs.due_again(self._clock.elapsed_ns))
        commit = self._committing.again()
        return [*persists, *([commit] if commit else []), *self._intake.dead_letters.again()]

    def _end(self, event: StopRequested | StreamLost) -> list[Action]:
        begun = self._ending.begun
        self._ending.begin(event, self._clock.elapsed_ns)
        if begun:
            return []
        if not self._ending.persists:
            self._persisting.forget()
            return [Pause()]
        self._persisting.plan_end()
        self._jobs.wait_no_more(self._clock.elapsed_ns)
        return [Pause(), *self._again()]

    def _committed(self, state: ManifestState) -> list[Action]:
        touched, answers = self._committing.committed(state, self._clock.elapsed_ns)
        self.counters.commits += 1
        if not self._ending.begun:
            self._persisting.after_commit(self._clock.now_ns)
        self.view = self._views.after(touched, state.number, self.applied_offset)
        return [*answers]

    def _cut(self) -> list[Persist]:
        return self._persisting.cut(Offset(self.applied_offset - 1), self.state)

    def _judge_flow(self) -> Pause | Resume | None:
        if self._ending.begun:
            return None
        held_bytes = self._tree.bytes + self._intake.dead_letters.bytes
        return self._flow.judge(held_bytes, self.log_bytes, self.log_records)

    def _begin_commit(self) -> list[Action]:
        if self._ending.finished:
            return []
        commit, answers = self._committing.begin(self._clock.elapsed_ns, ending=self._ending.begun)
        return [*answers, *([commit] if commit else [])]

    def _finish(self) -> Finish | None:
        under_way = self._committing.under_way or len(self._jobs) > 0
        letters = len(self._intake.dead_letters)
        left = Unfinished(self._tree.rows, letters, under_way, self.state.replay_offset)
        return self._ending.finish(left, self._clock.elapsed_ns)
