"""One router process: RouterCore, and what its driver (router/service.py) would have under way.

As there: one parser works beside the core, a few threads settle, events come back through one queue, and appends are on
the network in the order in which the core asked; what of them a crash leaves on the way may still reach the buffer
later.
"""

import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

import structlog

from common.catalog.schema_store import SchemaStore
from common.catalog.table_limit import TableLimit
from common.values.clock import FakeClock
from common.values.errors import PenstockError, Unavailable, Written
from common.values.ids import Offset, SequencerId
from router.core.admission import Admission
from router.core.core import RouterCore
from router.core.events import (
    Action,
    Append,
    Arrived,
    Cancel,
    Event,
    Expired,
    Finished,
    Halt,
    Parse,
    Respond,
    Settle,
    Stop,
    Stopped,
    WriteRequest,
)
from router.core.outcome import Outcome, Overloaded, PartlyStored
from router.performer import Performer
from tests.simulation.chaos import Chaos, Fate, SimulationFailure
from tests.simulation.process import Process, Step
from tests.simulation.store import Connection, MemoryStore
from tests.simulation.tasks import StoreTask
from tests.simulation.workload import Line
from tests.support.parsers import LocalParser
from writebuffer.contract import Appended, AppendedRange
from writebuffer.record import Record

IN_FLIGHT_BYTES_MAX = 2_000
BATCH_BYTES_MAX = 600
CLIENTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


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

    def answered(self, request_id: int, outcome: Outcome) -> None: ...

    def append(self, sequencer: SequencerId, records: Sequence[Record]) -> Offset: ...


class RouterProcess(Process):
    def __init__(self, world: RouterWorld, name: str) -> None:
        super().__init__(name)
        rng = world.rng
        self.is_stopping = False
        self.requests: set[int] = set()
        self._all_or_nothing: set[int] = set()
        self._world = world
        self._skew_ns = rng.randrange(-3_000_000_000, 3_000_000_000)
        self._admission = Admission(IN_FLIGHT_BYTES_MAX)
        self._core = RouterCore(rng.randbytes(16), self._admission, BATCH_BYTES_MAX)
        limit = TableLimit(rng.choice((0, 0, 2)), world.clock)  # of three tables; a router with another limit is a race
        schemas = SchemaStore(lambda: f"{rng.getrandbits(64):016x}", limit)
        self._performer = Performer(schemas, structlog.get_logger())
        self._parser = LocalParser(len(world.sequencers))
        self._store = Connection(world.store, world.chaos, self._meanwhile)
        self._inbox: deque[Event] = deque()
        self._parses: deque[Parse] = deque()
        self._settles: list[StoreTask] = []
        self._appends: dict[SequencerId, deque[Append]] = {sequencer: deque() for sequencer in world.sequencers}

    def send(self, request_id: int, lines: Sequence[Line]) -> None:
        """A client's request arrives."""
        body = "\n".join(line.text() for line in lines).encode()
        client = self._world.rng.choice(CLIENTS)
        if not self._admission.admit(client, len(body)):
            self._world.answered(request_id, Overloaded(self._admission.refusal(client)))
            return
        self.requests.add(request_id)
        all_or_nothing = self._world.rng.random() < 0.3
        if all_or_nothing:
            self._all_or_nothing.add(request_id)
        namespace = lines[0].namespace
        request = WriteRequest(namespace, body, precision_ns=1, all_or_nothing=all_or_nothing, client=client)
        self._step(Arrived(request_id, request))

    def stop(self) -> None:
        self.is_stopping = True
        self._step(Stop())

    def expire(self) -> None:
        """A request has taken too long."""
        if self.requests:
            request_id = self._world.rng.choice(sorted(self.requests))
            self._step(Expired(request_id, "not durable in time"))

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
                self._world.happened["a table is refused"] += bool(action.refused_tables)
                self._parses.append(action)
            case Settle():
                self._begin_settle(action)
            case Append():
                self._appends[action.sequencer].append(action)
            case Cancel(batch_id):
                self._parser.cancel(batch_id)
                self._performer.cancel(batch_id)
            case Respond(request_id, outcome):
                self.requests.remove(request_id)
                if request_id in self._all_or_nothing and isinstance(outcome, PartlyStored):
                    raise SimulationFailure(f"request {request_id} is all or nothing, and partly stored")
                self._world.answered(request_id, outcome)
            case Finished(batch_id):
                self._performer.forget(batch_id)
            case Halt(error):
                raise SimulationFailure(f"{self.name} halts: {error.message}")
            case Stopped():
                self.end("stopped")

    def _parse(self) -> None:
        self._inbox.append(self._parser.parse(self._parses.popleft()))

    def _begin_settle(self, action: Settle) -> None:
        name = f"{action.namespace} {' '.join(sorted(action.additions))}"
        task = StoreTask(name, self._performer.settle(action), self._store, self._inbox.append, _no_error)
        if not task.ended:  # a table that a full namespace has no room for is refused without a call
            self._settles.append(task)

    def _settle(self, task: StoreTask) -> None:
        self._settles.remove(task)  # while its call is on its way, nothing else may advance it
        task.advance()
        if not task.ended:
            self._settles.append(task)

    def _append(self, action: Append) -> None:
        """The append reaches the buffer, and its event this router, or not."""
        self._performer.append(action, SimulatedWriter(self._world, self, action), self._inbox.append)

    def _meanwhile(self) -> None:
        self._world.meanwhile()
        self.check_alive()


class SimulatedWriter:
    """What the performer uses of a Writer: appends that are done, refused, late, lost in the answer, or a crash."""

    def __init__(self, world: RouterWorld, process: RouterProcess, action: Append) -> None:
        self._world = world
        self._process = process
        self._action = action

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        future: Future[AppendedRange] = Future()
        fate = self._world.chaos.write()
        if fate is Fate.LATE:
            self._world.late_appends.append(self._action)
        if fate is Fate.LOST and len(records) > 1:  # a prefix may be there
            records = records[: self._world.rng.randint(1, len(records))]
        if fate in (Fate.DONE, Fate.LOST, Fate.CRASH_AFTER):
            last = Appended(self._world.append(sequencer, list(records)), 0)
        if fate in (Fate.CRASH_BEFORE, Fate.CRASH_AFTER):
            self._process.end("crashed")
        elif fate is Fate.DONE:
            future.set_result(AppendedRange(last, last))
        else:
            written: Written = "no" if fate is Fate.REFUSED else "unknown"
            future.set_exception(Unavailable(f"append: injected, {fate.value}", written=written))
        return future


def _no_error(error: PenstockError) -> None:
    raise SimulationFailure(f"the performer let an error out: {error.message}")
