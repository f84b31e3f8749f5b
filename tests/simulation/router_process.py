"""One router process: RouterCore, and what its driver (router/service.py) would have under way.

As there: one thread parses, a few settle, events come back through one queue, and appends are on the network in the
order in which the core asked; what of them a crash leaves behind may still reach the buffer later.
"""

import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from common.clock import FakeClock
from common.errors import PenstockError, Unavailable
from common.ids import Offset, SequencerId
from common.objectstore import Steps
from router.admission import Admission
from router.answers import Answer
from router.batch import BatchParser
from router.core import RouterCore
from router.events import (
    Action,
    Append,
    AppendDone,
    AppendFailed,
    Arrived,
    Cancel,
    Event,
    Expired,
    Finished,
    Halt,
    Parse,
    Parsed,
    ParseFailed,
    Respond,
    Settle,
    Settled,
    SettleFailed,
    Stop,
    Stopped,
    WriteRequest,
)
from router.schema_store import SchemaStore
from router.table_schema import NO_SCHEMA, TableSchema
from tests.simulation.chaos import Chaos, Fate, SimulationFailure
from tests.simulation.process import Process, Step
from tests.simulation.store import Connection, MemoryStore
from tests.simulation.tasks import StoreTask
from tests.simulation.workload import Line
from writebuffer.record import Record

IN_FLIGHT_BYTES_MAX = 2_000
BATCH_BYTES_MAX = 600


class RouterWorld(Protocol):
    """What a router process needs of the world."""

    rng: random.Random
    chaos: Chaos
    clock: FakeClock
    store: MemoryStore
    sequencers: Sequence[SequencerId]
    late_appends: list[Append]
    happened: Counter[str]

    def meanwhile(self) -> None: ...

    def answered(self, request_id: int, answer: Answer) -> None: ...

    def append(self, sequencer: SequencerId, records: Sequence[Record]) -> Offset: ...


class RouterProcess(Process):
    def __init__(self, world: RouterWorld, name: str) -> None:
        super().__init__(name)
        rng = world.rng
        self.is_stopping = False
        self.requests: set[int] = set()
        self._world = world
        self._skew_ns = rng.randrange(-3_000_000_000, 3_000_000_000)
        self._core = RouterCore(rng.randbytes(16), Admission(IN_FLIGHT_BYTES_MAX), BATCH_BYTES_MAX)
        self._parser = BatchParser(len(world.sequencers))
        self._schemas = SchemaStore(lambda: f"{rng.getrandbits(64):016x}")
        self._store = Connection(world.store, world.chaos, self._meanwhile)
        self._inbox: deque[Event] = deque()
        self._parses: deque[Parse] = deque()
        self._settles: list[StoreTask] = []
        self._appends: dict[SequencerId, deque[Append]] = {sequencer: deque() for sequencer in world.sequencers}
        self._batches: set[int] = set()
        self._cancelled: set[int] = set()

    def send(self, request_id: int, lines: Sequence[Line]) -> None:
        """A client's request arrives."""
        self.requests.add(request_id)
        body = "\n".join(line.text() for line in lines).encode()
        self._step(Arrived(request_id, WriteRequest(lines[0].namespace, body, precision_ns=1)))

    def stop(self) -> None:
        self.is_stopping = True
        self._step(Stop())

    def expire(self) -> None:
        """A request has taken too long."""
        if self.requests:
            request_id = self._world.rng.choice(sorted(self.requests))
            self._step(Expired(request_id, Unavailable("not durable in time", written="unknown")))

    def end(self, how: str) -> None:
        super().end(how)
        on_the_network = [append for queued in self._appends.values() for append in queued]
        self._world.late_appends += [append for append in on_the_network if self._world.rng.random() < 0.5]

    def work(self) -> Iterator[Step]:
        if self._inbox:
            yield Step(4, "event", lambda: self._step(self._inbox.popleft()))
        if self._parses:
            yield Step(3, "parse", self._parse)
        for task in self._settles:
            yield Step(2, f"settle {task.name}", lambda task=task: self._settle(task))
        for sequencer, queued in self._appends.items():
            if queued:
                yield Step(3, f"append to {sequencer}", lambda queued=queued: self._append(queued.popleft()))

    def _step(self, event: Event) -> None:
        now_ns = self._world.clock.now_ns() + self._skew_ns
        actions = self._core.step(event, now_ns)
        self._world.happened.update(type(one).__name__ for one in (event, *actions))
        for action in actions:
            self._world.chaos.crash_point()
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case Parse():
                self._batches.add(action.batch_id)
                self._parses.append(action)
            case Settle():
                self._begin_settle(action)
            case Append():
                self._appends[action.sequencer].append(action)
            case Cancel(batch_id):
                self._cancelled.add(batch_id)
            case Respond(request_id, answer):
                self.requests.remove(request_id)
                self._world.answered(request_id, answer)
            case Finished(batch_id):
                self._batches.remove(batch_id)
            case Halt(error):
                raise SimulationFailure(f"{self.name} halts: {error.message}")
            case Stopped():
                self.end("stopped")

    def _parse(self) -> None:
        action = self._parses.popleft()
        if action.batch_id in self._cancelled:
            self._inbox.append(ParseFailed(action.batch_id, Unavailable("given up")))
            return
        result = self._parser.parse(action.namespace, action.bodies, action.schemas)
        self._inbox.append(Parsed(action.batch_id, result))

    def _begin_settle(self, action: Settle) -> None:
        settled: dict[str, TableSchema] = {}
        self._settles.append(
            StoreTask(
                f"{action.namespace} {' '.join(sorted(action.additions))}",
                self._settle_steps(action, settled),
                self._store,
                lambda _: self._inbox.append(Settled(action.batch_id, settled)),
                lambda error: self._inbox.append(SettleFailed(action.batch_id, error, settled)),
            )
        )

    def _settle_steps(self, action: Settle, settled: dict[str, TableSchema]) -> Steps[None]:
        for table, additions in action.additions.items():
            cached = action.cached.get(table, NO_SCHEMA)
            settled[table] = yield from self._schemas.settle(action.namespace, table, cached, additions)

    def _settle(self, task: StoreTask) -> None:
        self._settles.remove(task)  # while its call is on its way, nothing else may advance it
        task.advance()
        if not task.ended:
            self._settles.append(task)

    def _append(self, action: Append) -> None:
        """The append reaches the buffer, and its answer this router, or not."""
        fate = self._world.chaos.write()
        if fate is Fate.LATE:
            self._world.late_appends.append(action)
        records = list(action.records)
        if fate is Fate.LOST and len(records) > 1:  # a prefix may stand
            records = records[: self._world.rng.randint(1, len(records))]
        if fate in (Fate.DONE, Fate.LOST, Fate.CRASH_AFTER):
            last_offset = self._world.append(action.sequencer, records)
        if fate in (Fate.CRASH_BEFORE, Fate.CRASH_AFTER):
            self.end("crashed")
        elif fate is Fate.DONE:
            self._inbox.append(AppendDone(action.batch_id, action.sequencer, last_offset))
        else:
            error: PenstockError = Unavailable(
                f"append: injected, {fate.value}", written="no" if fate is Fate.REFUSED else "unknown"
            )
            self._inbox.append(AppendFailed(action.batch_id, action.sequencer, error))

    def _meanwhile(self) -> None:
        self._world.meanwhile()
        self.check_alive()
