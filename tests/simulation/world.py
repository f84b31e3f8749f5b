"""The driver: at each step one of the things that may happen now, chosen by the seed.

Real cores and store steps, a virtual clock, thresholds so small that everything happens often. Processes crash, calls
fail, land late or lose their answers, ingesters are superseded while they work.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from common.values.clock import FakeClock
from common.values.ids import Offset, SequencerId
from router.core.events import Append
from router.core.outcome import Outcome
from tests.simulation.audit import ManifestAudit
from tests.simulation.chaos import CALM, Chaos, Crashed
from tests.simulation.ingester_process import IngesterProcess
from tests.simulation.model import SequencerModel
from tests.simulation.process import Process, Step
from tests.simulation.reading import Query
from tests.simulation.router_process import RouterProcess
from tests.simulation.settings import SECOND_NS, drawn_settings
from tests.simulation.store import MemoryStore
from tests.simulation.workload import Clients, strange_record
from tests.support.records import DAY0_NS
from writebuffer.contract import Reader
from writebuffer.memory import MemoryBackend
from writebuffer.record import Record

TRACE_LINES_KEPT = 40

Possible = Sequence[tuple[Process | None, Step]]
"""What may happen, and to which process; to none for what comes from outside."""


class World:
    """Everything there is in one run; `trace` says what happened."""

    def __init__(self, seed: int, keep_trace: bool = False) -> None:
        """keep_trace: all of it, not only its end."""
        self.rng = random.Random(seed)
        self.chaos = Chaos(self.rng)
        self.clock = FakeClock(DAY0_NS)
        self.settings = drawn_settings(self.rng)
        self.trace: deque[str] = deque(maxlen=None if keep_trace else TRACE_LINES_KEPT)
        self.happened: Counter[str] = Counter()
        """What the run has met, and how often: a simulation that meets nothing shows nothing."""
        self.sequencers: Sequence[SequencerId] = [
            SequencerId(number) for number in range(self.rng.choice((1, 1, 2, 3)))
        ]
        backend = MemoryBackend()
        backend.create(len(self.sequencers))
        self.reader: Reader = backend.open_reader()
        self.store = MemoryStore(self._on_put)
        self.models: Sequence[SequencerModel] = [
            SequencerModel(sequencer, self.reader) for sequencer in self.sequencers
        ]
        self.audits: Mapping[SequencerId, ManifestAudit] = {
            model.sequencer: ManifestAudit(model, self.store) for model in self.models
        }
        self.clients = Clients(self.rng)
        self.routers: list[RouterProcess] = []
        self.ingesters: list[IngesterProcess] = []
        self.queries: list[Query] = []
        self.late_appends: list[Append] = []
        self._writer = backend.open_writer()
        self._started = 0
        self._is_nested = False

    def step(self) -> None:
        """One thing happens."""
        self.happen(self._possible())

    def happen(self, possible: Possible) -> None:
        """One of `possible` happens, by their weights."""
        process, step = self.rng.choices(possible, [step.weight for _, step in possible])[0]
        self.note(f"{process.name}: {step.name}" if process else step.name)
        try:
            step.run()
        except Crashed:
            assert process is not None
            process.end("crashed")
        self.bury()

    def bury(self) -> None:
        """Take out the processes that came to their end."""
        for process in [process for process in (*self.routers, *self.ingesters) if not process.is_alive]:
            self.note(f"{process.name}: {process.ended}")
            self.happened[f"{type(process).__name__} {process.ended}"] += 1
            if isinstance(process, RouterProcess):
                self.routers.remove(process)
                self.clients.lose(sorted(process.requests))
            elif isinstance(process, IngesterProcess):
                self.ingesters.remove(process)

    # What the processes need

    def append(self, sequencer: SequencerId, records: Sequence[Record]) -> Offset:
        """Append to the buffer, and read what it holds now; the last record's offset."""
        last_offset = self._writer.append_many(sequencer, records).result().last.offset
        self.note(f"  {len(records)} records up to {sequencer}:{last_offset}")
        for record in self.models[sequencer].look():
            self.clients.check(record)
        return last_offset

    def note(self, text: str) -> None:
        self.trace.append(f"{self.clock.monotonic_s():9.3f} {text}")

    def answered(self, request_id: int, outcome: Outcome) -> None:
        self.note(f"  request {request_id}: {outcome}")
        self.clients.answered(request_id, outcome, self.models)

    def meanwhile(self) -> None:
        """While a call to the store is on its way, other things happen, also in the process that made it."""
        if self._is_nested or self.chaos.intensity is CALM or self.rng.random() < 0.7:
            return
        self._is_nested = True
        for _ in range(self.rng.randint(1, 4)):
            self.step()
        self._is_nested = False

    def _on_put(self, path: str, data: bytes) -> None:
        if path.startswith("manifest/"):
            self.audits[SequencerId(int(path.split("/")[1]))].landed(path, data)

    # What may happen

    def _possible(self) -> Possible:
        found: list[tuple[Process | None, Step]] = [(None, step) for step in self._from_outside()]
        for router in self.routers:
            found += [(router, step) for step in (*router.work(), *self._to_router(router))]
        for ingester in self.ingesters:
            found += [(ingester, step) for step in (*ingester.work(), *self._to_ingester(ingester))]
        return found

    def _from_outside(self) -> Iterator[Step]:
        rng, start = self.rng, self.chaos.pace.start
        yield Step(1.5, "time passes", lambda: self.clock.advance(rng.choice((0.01, 0.5, 1, 3, 8))))
        yield Step(0.05, "a long time passes", lambda: self.clock.advance(rng.randrange(30, 300)))
        yield Step(0.05, "the wall clock is set back", self._set_back)
        yield Step(0.3, "a strange record", self._append_strange)
        yield Step(0.2, "trim", self._trim)
        yield Step(0.03 if self.routers else start, "start a router", self.start_router)
        for sequencer in self.sequencers:
            live = sum(ingester.sequencer == sequencer for ingester in self.ingesters)
            weight = (start, 0.03, 0)[min(live, 2)]
            yield Step(weight, f"start an ingester of {sequencer}", lambda s=sequencer: self.start_ingester(s))
        for query in self.queries:
            yield Step(0.5, "finish a query", lambda query=query: self.finish_query(query))
        for late in self.store.late:
            yield Step(0.3, "a late put lands", lambda late=late: self._land_put(late))
        for append in self.late_appends:
            yield Step(0.3, "a late append lands", lambda append=append: self._land_append(append))

    def _to_router(self, router: RouterProcess) -> Iterator[Step]:
        if not router.is_stopping:
            yield Step(self.chaos.pace.send, "a client sends", lambda: self._send(router))
            yield Step(0.02, "stop", router.stop)
        yield Step(0.1, "a batch expires", router.expire)
        yield Step(self.chaos.intensity.crash, "kill", lambda: router.end("killed"))

    def _to_ingester(self, ingester: IngesterProcess) -> Iterator[Step]:
        yield Step(0.6, "tick", ingester.tick)
        yield Step(0.1, "watch", ingester.watch)
        yield Step(self.chaos.intensity.crash, "kill", lambda: ingester.end("killed"))
        if not ingester.is_stopping:
            yield Step(0.02, "stop", lambda: ingester.stop(persist_first=self.rng.random() < 0.5))
        if ingester.is_following:
            yield Step(0.02, "its stream is lost", ingester.lose_stream)
        if ingester.is_ready:
            yield Step(0.3, "take a view", lambda: self.queries.append(ingester.query()))

    def start_router(self) -> None:
        self._started += 1
        self.routers.append(RouterProcess(self, f"router-{self._started}"))

    def start_ingester(self, sequencer: SequencerId) -> None:
        self._started += 1
        self.ingesters.append(IngesterProcess(self, sequencer, f"ingester-{sequencer}-{self._started}"))

    def finish_query(self, query: Query) -> None:
        self.queries.remove(query)
        query.finish(self.models[query.sequencer], self.store)

    def land_everything(self) -> None:
        """What is still on the network arrives."""
        while self.store.late:
            self._land_put(self.store.late[0])
        while self.late_appends:
            self._land_append(self.late_appends[0])

    def _land_put(self, put: Callable[[], None]) -> None:
        self.store.late.remove(put)
        put()

    def _land_append(self, append: Append) -> None:
        self.late_appends.remove(append)
        self.append(append.sequencer, append.records)

    def _send(self, router: RouterProcess) -> None:
        request_id, lines = self.clients.next_request()
        self.note(f"  request {request_id}: lines {[line.number for line in lines]}")
        router.send(request_id, lines)

    def _append_strange(self) -> None:
        model = self.rng.choice(self.models)
        self.append(model.sequencer, [strange_record(self.rng, model, self.clock.now_ns())])

    def _trim(self) -> None:
        """As the buffer's owner does: nothing above the replay offset."""
        sequencer = self.rng.choice(self.sequencers)
        self._writer.trim(sequencer, self.audits[sequencer].state.replay_offset)

    def _set_back(self) -> None:
        self.clock.set_wall(self.clock.now_ns() - self.rng.choice((5, 7200)) * SECOND_NS)
