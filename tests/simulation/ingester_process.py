"""One ingester process: IngesterCore, and what its driver (ingester/service.py) would have under way.

As there: one thread polls, a few batches ahead; workers run persist jobs in any order; one thread does commits, dead
letters and the look for a newer epoch in order; and all of it comes back through one queue.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from common.catalog.manifest import manifest
from common.catalog.manifest.change import Instance
from common.catalog.manifest.state import ManifestState
from common.values.clock import FakeClock
from common.values.errors import Fenced, Forked, PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from ingester.core.core import IngesterCore
from ingester.core.events import (
    Action,
    Commit,
    DeadLetter,
    Event,
    Finish,
    Pause,
    Persist,
    Polled,
    Resume,
    StopRequested,
    StreamLost,
    Tick,
)
from ingester.core.lifecycle import Rules
from ingester.following.claim import Claimed, claim_steps
from ingester.following.followed import Followed
from ingester.following.joining import Known
from ingester.following.poller import decoded_steps
from ingester.performing import StoreAction, perform, perform_steps
from ingester.persist.unnamed import remove_unnamed_files
from tests.simulation.audit import ManifestAudit
from tests.simulation.chaos import Chaos, SimulationFailure
from tests.simulation.model import SequencerModel
from tests.simulation.process import Process, Step
from tests.simulation.reading import Query
from tests.simulation.store import Connection, MemoryStore
from tests.simulation.tasks import StoreTask
from writebuffer.contract import Cursor, Reader
from writebuffer.errors import OffsetTrimmed
from writebuffer.faults import FaultyReader

BATCHES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Settings:
    rules: Rules
    file_bytes_max: int
    persist_jobs_max: int
    small_jobs_per_job: int


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
        self._persists: list[Persist] = []
        self._in_order: deque[tuple[str, Callable[[], StoreTask | None]]] = deque([("claim", self._claim)])
        self._current: StoreTask | None = None
        self._is_busy = False
        self._is_paused = False
        self._reported_caught_up = False
        self._cursor: Cursor | None = None
        self._followed: Followed | None = None
        self._known = Known()
        self._lost: PenstockError | None = None
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
        for one in self._persists:
            name = f"persist job {one.job.number}"
            yield Step(self._world.chaos.pace.persist, name, lambda one=one: self._persist(one))
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

    @property
    def is_following(self) -> bool:
        return self.core is not None and self._lost is None

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
        self.core = IngesterCore(
            state,
            settings.rules,
            settings.file_bytes_max,
            settings.persist_jobs_max,
            jitter,
            small_jobs_per_job=settings.small_jobs_per_job,
        )
        self.ready_at = claimed.next_offset
        self._followed = Followed(self.sequencer, self.core.applied_offset, state.as_of.stream)
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
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Persist():
                self._persists.append(action)
            case Commit():
                self._queue(f"commit {action.state.number + 1}", action)
            case DeadLetter():
                self._queue(f"dead letter {action.offset}", action)
            case Pause():
                self._is_paused = True
            case Resume():
                self._is_paused = False
            case Finish(error):
                self._finished(error)

    def _queue(self, name: str, action: StoreAction) -> None:
        self._in_order.append((name, lambda: self._performed(name, action)))

    def _finished(self, error: PenstockError | None) -> None:
        assert self.core is not None
        if self._lost is not None and error is self._lost:
            self._check_nothing_left(self.core)
            self.end("finished, its stream lost")
        elif isinstance(error, Unavailable | Forked):
            self.end("finished, the store away")
        elif error is not None:
            self._superseded(f"finished: {type(error).__name__} {error.message}")
        else:
            self.end("finished")

    def _check_nothing_left(self, core: IngesterCore) -> None:
        """What was applied of a lost stream is committed before the end."""
        if core.rows_buffered or core.state.replay_offset != core.applied_offset:
            raise SimulationFailure(
                f"{self.name}: ended with {core.rows_buffered} rows in memory, applied up to {core.applied_offset} and "
                f"committed up to {core.state.replay_offset}"
            )

    def _check_accounts(self, core: IngesterCore) -> None:
        applied = self._settled_at_claim + core.counters.rows_applied
        accounted = core.accounts.settled + core.rows_buffered
        if applied != accounted:
            raise SimulationFailure(
                f"{self.name}: {applied} rows applied, {accounted} accounted for: {core.accounts}, "
                f"{core.rows_buffered} buffered"
            )

    # The poller

    def lose_stream(self) -> None:
        """The buffer answers as another stream would, and is put right again after this process."""
        self._lose(Forked("the stream is another one"))

    def _lose(self, error: PenstockError) -> None:
        self._lost = error
        self._inbox.append(StreamLost(error))

    def _may_poll(self, core: IngesterCore) -> bool:
        assert self._followed is not None
        has_news = self._followed.next_offset < self._world.models[self.sequencer].next_offset
        if not has_news and self._reported_caught_up:
            return False
        if self._is_paused or self._lost:
            return False
        return sum(isinstance(event, Polled) for event in self._inbox) < BATCHES_AHEAD

    def _poll(self) -> None:
        assert self._followed is not None
        try:
            if self._cursor is None:
                self._cursor, _ = self._followed.open(self._reader)
            batch = self._cursor.poll(self._world.rng.randint(1, 5), 2**20, 0)
            next_offset = self._reader.offsets(self.sequencer).next_offset
        except Unavailable:
            self._cursor = None
            return
        except OffsetTrimmed as error:
            if not self.is_superseded:
                raise SimulationFailure(f"{self.name}: {error.message}, and nobody else holds the sequencer") from None
            self._lose(error)
            return
        self._reported_caught_up = batch.next_offset >= next_offset
        records = self._followed.read(batch)
        self._inbox += decoded_steps(records, batch.next_offset, self._reported_caught_up, known=self._known)

    # Workers

    def _persist(self, action: Persist) -> None:
        self._persists.remove(action)
        self._inbox.append(perform(action, self._store))

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

    def _performed(self, name: str, action: StoreAction) -> StoreTask:
        return StoreTask(name, perform_steps(action, self._store), self._store, self._inbox.append, self._fenced)

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

    def _remove_unnamed(self, state: ManifestState) -> None:
        try:
            remove_unnamed_files(state, self._store)
        except Unavailable:
            return

    def _meanwhile(self) -> None:
        self._world.meanwhile()
        self.check_alive()
