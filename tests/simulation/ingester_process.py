"""One ingester process: IngesterCore, and what its driver (ingester/service.py) would have under way.

As there: one thread polls, a few batches ahead; workers run persist jobs in any order; one thread does commits, dead
letters and the look for a newer epoch in order; and all of it comes back through one queue.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from common.clock import FakeClock
from common.errors import Fenced, Forked, PenstockError, Unavailable
from common.ids import Offset, SequencerId
from ingester.core import IngesterCore
from ingester.dead_letter import put_aside
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
from ingester.lifecycle import Rules
from ingester.persist import manifest
from ingester.persist.job import PersistJob, persist
from ingester.persist.manifest_state import Instance, ManifestState
from ingester.persist.unnamed import remove_unnamed_files
from ingester.start import Claimed, claim_steps
from tests.simulation.audit import ManifestAudit
from tests.simulation.chaos import Chaos, SimulationFailure
from tests.simulation.model import SequencerModel
from tests.simulation.process import Process, Step
from tests.simulation.reading import Query
from tests.simulation.store import Connection, MemoryStore
from tests.simulation.tasks import StoreTask
from writebuffer.contract import Cursor, Reader, SequencedRecord
from writebuffer.errors import OffsetTrimmed
from writebuffer.faults import FaultyReader

BATCHES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Settings:
    rules: Rules
    file_bytes_max: int
    persist_jobs_max: int


class IngesterWorld(Protocol):
    """What an ingester process needs of the world."""

    rng: random.Random
    chaos: Chaos
    clock: FakeClock
    store: MemoryStore
    reader: Reader
    settings: Settings
    models: Sequence[SequencerModel]
    audits: Mapping[SequencerId, ManifestAudit]
    happened: Counter[str]

    def meanwhile(self) -> None: ...

    def decoded(self, sequencer: SequencerId, found: SequencedRecord) -> Decoded: ...

    def note(self, text: str) -> None: ...


class IngesterProcess(Process):
    def __init__(self, world: IngesterWorld, sequencer: SequencerId, name: str) -> None:
        super().__init__(name)
        self.sequencer = sequencer
        self.core: IngesterCore | None = None
        self.is_stopping = False
        self.ready_at = Offset(0)
        self._world = world
        self._store = Connection(world.store, world.chaos, self._meanwhile)
        self._reader = FaultyReader(world.reader, world.rng, world.chaos.reading)
        self._inbox: deque[Event] = deque()
        self._persists: list[PersistJob] = []
        self._in_order: deque[tuple[str, Callable[[], StoreTask | None]]] = deque([("claim", self._claim)])
        self._current: StoreTask | None = None
        self._is_busy = False
        self._is_paused = False
        self._told_caught_up = False
        self._cursor: Cursor | None = None
        self._at = Offset(0)
        self._identity = ""
        self._settled_at_claim = 0

    @property
    def is_ready(self) -> bool:
        """Whether queries are answered."""
        return self.core is not None and self.core.applied_offset >= self.ready_at

    @property
    def is_superseded(self) -> bool:
        newest = self._world.audits[self.sequencer].state.epoch
        return self.core is not None and self.core.state.epoch < newest

    def work(self) -> Iterator[Step]:
        if self._inbox:
            yield Step(4, "event", lambda: self._step(self._inbox.popleft()))
        if self.core is not None and self._may_poll(self.core):
            yield Step(self._world.chaos.pace.poll, "poll", self._poll)
        for job in self._persists:
            yield Step(self._world.chaos.pace.persist, f"persist job {job.number}", lambda job=job: self._persist(job))
        if (self._in_order or self._current) and not self._is_busy:
            name = self._current.name if self._current else self._in_order[0][0]
            yield Step(2, name, self._advance_in_order)

    def query(self) -> Query:
        """What a query sees now."""
        assert self.core is not None
        return Query(self.sequencer, self.core.view)

    def end(self, how: str) -> None:
        super().end(how)
        if self.core is not None:
            counters, happened = self.core.counters, self._world.happened
            happened.update({f"persist for {reason.value}": count for reason, count in counters.persists.items()})
            happened["rows durable before their replay"] += counters.rows_durable
            happened["rows duplicate"] += counters.rows_duplicate

    def tick(self) -> None:
        if self.core is not None:
            self._step(Tick(self._world.clock.now_ns()))

    def watch(self) -> None:
        if self.core is not None:
            state = self.core.state
            self._in_order.append(
                ("watch", lambda: StoreTask("watch", manifest.watch(state), self._store, lambda _: None, self._watched))
            )

    def stop(self, persist_first: bool) -> None:
        if self.core is None:
            self.end("stopped before its claim")
            return
        self.is_stopping = True
        self._inbox.append(StopRequested(persist_first))

    # The claim

    def _claim(self) -> StoreTask:
        steps = claim_steps(self._reader, self.sequencer, Instance(self.name), accept_loss=False)
        return StoreTask("claim", steps, self._store, self._claimed, self._claim_failed)

    def _claim_failed(self, error: PenstockError) -> None:
        if not isinstance(error, Unavailable):
            raise SimulationFailure(f"{self.name} cannot claim: {type(error).__name__} {error.message}")
        self._in_order.append(("claim", self._claim))

    def _claimed(self, claimed: Claimed) -> None:
        settings, state = self._world.settings, claimed.state
        jitter = random.Random(self._world.rng.getrandbits(64))
        self.core = IngesterCore(state, settings.rules, settings.file_bytes_max, settings.persist_jobs_max, jitter)
        self.ready_at = claimed.next_offset
        self._at = self.core.applied_offset
        self._identity = self._world.reader.identity(self.sequencer)
        self._settled_at_claim = state.accounts.settled
        self._in_order.append(("remove unnamed files", lambda: self._remove_unnamed(state)))
        self._world.note(f"{self.name}: epoch {state.epoch}, from {state.replay_offset}, ready at {self.ready_at}")

    # The loop

    def _step(self, event: Event) -> None:
        assert self.core is not None
        actions = self.core.step(event)
        self._world.happened.update(type(one).__name__ for one in (event, *actions))
        self._check_accounts(self.core)
        for action in actions:
            self._world.chaos.crash_point()
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case Persist(job):
                self._persists.append(job)
            case Commit():
                self._in_order.append((f"commit {action.state.number + 1}", lambda: self._commit(action)))
            case DeadLetter():
                self._in_order.append((f"dead letter {action.offset}", lambda: self._dead_letter(action)))
            case Pause():
                self._is_paused = True
            case Resume():
                self._is_paused = False
            case Finish():
                self.end("finished")

    def _check_accounts(self, core: IngesterCore) -> None:
        taken = self._settled_at_claim + core.counters.rows_taken
        told = core.accounts.settled + core.rows_buffered
        if taken != told:
            raise SimulationFailure(
                f"{self.name}: {taken} rows taken, {told} accounted for: {core.accounts}, {core.rows_buffered} buffered"
            )

    # The poller

    def _may_poll(self, core: IngesterCore) -> bool:
        has_news = self._at < self._world.models[self.sequencer].next_offset or not self._told_caught_up
        if self._is_paused or not has_news:
            return False
        return sum(isinstance(event, Polled) for event in self._inbox) < BATCHES_AHEAD

    def _poll(self) -> None:
        try:
            if self._cursor is None:
                self._cursor = self._opened_cursor()
            batch = self._cursor.poll(self._world.rng.randint(1, 5), 2**20, 0)
            next_offset = self._reader.offsets(self.sequencer).next_offset
        except Unavailable:
            self._cursor = None
            return
        except OffsetTrimmed:
            self._superseded("what it reads was trimmed")
            return
        decoded = tuple(self._world.decoded(self.sequencer, found) for found in batch.records)
        self._at = batch.next_offset
        self._told_caught_up = batch.next_offset >= next_offset
        self._inbox.append(Polled(decoded, batch.next_offset, self._told_caught_up))

    def _opened_cursor(self) -> Cursor:
        if self._reader.identity(self.sequencer) != self._identity:
            raise Forked("another stream")
        cursor = self._reader.reader(self.sequencer)
        cursor.seek(self._at)
        return cursor

    # Workers

    def _persist(self, job: PersistJob) -> None:
        self._persists.remove(job)
        try:
            result = persist(job, self._store)
        except Unavailable:
            self._inbox.append(PersistFailed(job))
        else:
            self._inbox.append(Persisted(job, result))

    def _advance_in_order(self) -> None:
        self._is_busy = True
        if self._current is not None:
            self._current.advance()
        else:
            _, begin = self._in_order.popleft()
            self._current = begin()
        if self._current is not None and self._current.ended:
            self._current = None
        self._is_busy = False

    def _commit(self, action: Commit) -> StoreTask:
        steps = manifest.commit(action.state, action.change, action.nonce)
        name = f"commit {action.state.number + 1}"
        return StoreTask(name, steps, self._store, self._committed, self._commit_failed)

    def _committed(self, state: ManifestState) -> None:
        self._inbox.append(Committed(state))

    def _commit_failed(self, error: PenstockError) -> None:
        if isinstance(error, Unavailable):
            self._inbox.append(CommitFailed())
        else:
            self._fenced(error)

    def _watched(self, error: PenstockError) -> None:
        if not isinstance(error, Unavailable):
            self._fenced(error)

    def _fenced(self, error: PenstockError) -> None:
        if not isinstance(error, Fenced):
            raise SimulationFailure(f"{self.name}: {type(error).__name__} {error.message}")
        self._superseded("fenced")

    def _superseded(self, how: str) -> None:
        """It comes to its end, which it may only where a newer one has claimed."""
        if not self.is_superseded:
            raise SimulationFailure(f"{self.name} ends, {how}, and nobody else holds the sequencer")
        self.end(how)

    def _dead_letter(self, letter: DeadLetter) -> None:
        try:
            put_aside(self._store, self.sequencer, letter)
        except Unavailable:
            self._inbox.append(DeadLetterFailed(letter.offset))
        else:
            self._inbox.append(DeadLettered(letter.offset))

    def _remove_unnamed(self, state: ManifestState) -> None:
        try:
            remove_unnamed_files(state, self._store)
        except Unavailable:
            return

    def _meanwhile(self) -> None:
        self._world.meanwhile()
        self.check_alive()
