"""The driver: at each step one of the things that may happen now, chosen by the seed.

Real cores and store steps, a virtual clock, thresholds so small that everything happens often. In a phase of chaos
processes crash, calls fail, land late or lose their answers, ingesters are superseded while they work. At the quiet
point after it everything must come to rest within a bounded time, and what is read must be what the model says.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from unittest import mock

from common.clock import FakeClock
from common.errors import PenstockError
from common.ids import Offset, SequencerId
from common.objectstore import run
from ingester import core as ingester_core
from ingester.buffer import partition
from ingester.decode import Decoded, decode
from ingester.lifecycle import Rules
from ingester.persist import manifest
from penstock import query
from router import entries
from router.answers import Answer
from router.events import Append
from tests.simulation.audit import ManifestAudit
from tests.simulation.chaos import CALM, Chaos, Crashed, SimulationFailure
from tests.simulation.ingester_process import IngesterProcess, Settings
from tests.simulation.model import SequencerModel, difference, fold
from tests.simulation.parquet import parquet
from tests.simulation.process import Process, Step
from tests.simulation.reading import Query
from tests.simulation.router_process import RouterProcess
from tests.simulation.store import MemoryStore
from tests.simulation.workload import Clients, strange_record
from tests.support.records import DAY0_NS
from writebuffer.contract import SequencedRecord
from writebuffer.memory import MemoryBackend
from writebuffer.record import Record

STEPS = 220
"""Of one phase of chaos; a run has two."""

TRACE_LINES_KEPT = 40
QUIET_ROUNDS_MAX = 200
"""Virtual seconds within which everything must come to rest: the longest back-off is 45 s."""

SECOND_NS = 1_000_000_000


@contextmanager
def tiny_limits(rng: random.Random) -> Iterator[None]:
    """What takes thousands of records or minutes elsewhere happens after a few here."""
    with ExitStack() as limits:
        for module, name, value in (
            (ingester_core, "RECORDS_BETWEEN_PLANS", 6),
            (ingester_core, "ADVANCE_RECORDS", 8),
            (ingester_core, "ADVANCE_NS", 20 * SECOND_NS),
            (partition, "MERGE_COUNT", 3),
            (manifest, "TRIES_MAX", 2),
            (entries, "PAYLOAD_BYTES_MAX", rng.choice((1_000_000, 2_500))),
            (query, "_read", lambda file, store: parquet(store.get(file.path))),
        ):
            limits.enter_context(mock.patch.object(module, name, value))
        yield


def drawn_settings(rng: random.Random) -> Settings:
    window_s = rng.choice((2, 10))
    soft_bytes = rng.choice((3_000, 8_000, 100_000))
    return Settings(
        Rules(
            late_arrival_window_ns=window_s * SECOND_NS,
            persist_row_threshold=rng.choice((5, 30)),
            persist_age_threshold_ns=3 * window_s * SECOND_NS,
            soft_memory_bytes=soft_bytes,
            hard_memory_bytes=soft_bytes * 2,
            log_bytes_max=rng.choice((6_000, 50_000)),
        ),
        file_bytes_max=rng.choice((200, 100_000)),
        persist_jobs_max=rng.choice((1, 3)),
    )


class Simulation:
    """One run. `run` raises SimulationFailure where something that must hold does not; `trace` says what happened."""

    def __init__(self, seed: int, steps: int = STEPS, keep_trace: bool = False) -> None:
        """steps: of each phase of chaos. keep_trace: all of it, not only its end."""
        self.rng = random.Random(seed)
        self.chaos = Chaos(self.rng)
        self.clock = FakeClock(DAY0_NS)
        self.settings = drawn_settings(self.rng)
        self.trace: deque[str] = deque(maxlen=None if keep_trace else TRACE_LINES_KEPT)
        self.sequencers = [SequencerId(number) for number in range(self.rng.choice((1, 1, 2, 3)))]
        backend = MemoryBackend()
        backend.create(len(self.sequencers))
        self._writer, self.reader = backend.open_writer(), backend.open_reader()
        self.store = MemoryStore(self._on_put)
        self.models = [SequencerModel(sequencer, self.reader) for sequencer in self.sequencers]
        self.audits = {model.sequencer: ManifestAudit(model, self.store.objects) for model in self.models}
        self.clients = Clients(self.rng)
        self.late_appends: list[Append] = []
        self.happened: Counter[str] = Counter()
        """What the run has met, and how often: a simulation that meets nothing shows nothing."""
        self._steps = steps
        self._routers: list[RouterProcess] = []
        self._ingesters: list[IngesterProcess] = []
        self._queries: list[Query] = []
        self._started = 0
        self._is_nested = False
        self._is_ending = False
        self._decoded: dict[tuple[SequencerId, int], Decoded] = {}

    def run(self) -> None:
        with tiny_limits(self.rng):
            for phase in range(2):
                intensity = self.chaos.intensity
                for _ in range(self._steps):
                    self._happen(self._choose(self._possible()))
                self.chaos.intensity = CALM
                self._come_to_rest()
                self._read_everything()
                if phase == 0:
                    self.chaos.intensity = intensity
            self._stop_everything()
            self._check_store()

    # What the processes need

    def _on_put(self, path: str, data: bytes) -> None:
        if path.startswith("manifest/"):
            self.audits[SequencerId(int(path.split("/")[1]))].landed(path, data)

    def append(self, sequencer: SequencerId, records: Sequence[Record]) -> Offset:
        """Append to the buffer, and see what stands there now; the last record's offset."""
        last_offset = self._writer.append_many(sequencer, records).result().last.offset
        self.note(f"{len(records)} records up to {sequencer}:{last_offset}")
        for record in self.models[sequencer].look():
            self.clients.check(record)
        return last_offset

    def note(self, text: str) -> None:
        self.trace.append(f"{self.clock.monotonic_s():9.3f}   {text}")

    def decoded(self, sequencer: SequencerId, found: SequencedRecord) -> Decoded:
        """Decoding is a function of the record alone: done once, however often it is read."""
        key = sequencer, found.offset
        if key not in self._decoded:
            self._decoded[key] = decode(found)
        return self._decoded[key]

    def answered(self, request_id: int, answer: Answer) -> None:
        self.note(f"request {request_id}: {answer.status} {dict(answer.headers)}")
        self.clients.answered(request_id, answer, self.models)

    def meanwhile(self) -> None:
        """While a call to the store is on its way, other things happen, also in the process that made it."""
        if self._is_nested or self.chaos.intensity is CALM or self.rng.random() < 0.7:
            return
        self._is_nested = True
        for _ in range(self.rng.randint(1, 4)):
            self._happen(self._choose(self._possible()))
        self._is_nested = False

    # Chaos

    def _possible(self) -> list[tuple[Process | None, Step]]:
        found: list[tuple[Process | None, Step]] = [(None, step) for step in self._of_the_world()]
        for router in self._routers:
            found += [(router, step) for step in (*router.work(), *self._to_router(router))]
        for ingester in self._ingesters:
            found += [(ingester, step) for step in (*ingester.work(), *self._to_ingester(ingester))]
        return found

    def _of_the_world(self) -> Iterator[Step]:
        rng = self.rng
        yield Step(1.5, "time passes", lambda: self.clock.advance(rng.choice((0.01, 0.5, 1, 3, 8))))
        yield Step(0.05, "a long time passes", lambda: self.clock.advance(rng.randrange(30, 300)))
        yield Step(0.05, "the wall clock is set back", lambda: self.clock.set_wall(self.clock.now_ns() - 40 * SECOND_NS))
        yield Step(0.3, "a strange record", self._append_strange)
        yield Step(0.2, "trim", self._trim)
        yield Step(self.chaos.pace.start if not self._routers else 0.03, "start a router", self._start_router)
        for sequencer in self.sequencers:
            live = sum(ingester.sequencer == sequencer for ingester in self._ingesters)
            weight = (self.chaos.pace.start, 0.03, 0)[min(live, 2)]
            yield Step(weight, f"start an ingester of {sequencer}", lambda s=sequencer: self._start_ingester(s))
        for query in self._queries:
            yield Step(0.5, "finish a query", lambda query=query: self._finish_query(query))
        for late in self.store.late:
            yield Step(0.3, "a late put lands", lambda late=late: (self.store.late.remove(late), late()))
        for append in self.late_appends:
            yield Step(0.3, "a late append lands", lambda append=append: self._land(append))

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
        if ingester.is_ready:
            yield Step(0.3, "take a view", lambda: self._queries.append(self._query(ingester)))

    def _choose(self, possible: list[tuple[Process | None, Step]]) -> tuple[Process | None, Step]:
        return self.rng.choices(possible, [step.weight for _, step in possible])[0]

    def _happen(self, chosen: tuple[Process | None, Step]) -> None:
        process, step = chosen
        self.note(f"{process.name}: {step.name}" if process else step.name)
        try:
            step.run()
        except Crashed:
            assert process is not None
            process.end("crashed")
        self._bury()

    def _bury(self) -> None:
        for process in [process for process in (*self._routers, *self._ingesters) if not process.is_alive]:
            self.note(f"{process.name}: {process.ended}")
            self.happened[f"{type(process).__name__} {process.ended}"] += 1
            if isinstance(process, RouterProcess):
                self._routers.remove(process)
                self.clients.lose(sorted(process.requests))
            elif isinstance(process, IngesterProcess):
                self._ingesters.remove(process)

    def _start_router(self) -> None:
        self._started += 1
        self._routers.append(RouterProcess(self, f"router-{self._started}"))

    def _start_ingester(self, sequencer: SequencerId) -> None:
        self._started += 1
        self._ingesters.append(IngesterProcess(self, sequencer, f"ingester-{sequencer}-{self._started}"))

    def _send(self, router: RouterProcess) -> None:
        request_id, lines = self.clients.next_request()
        self.note(f"request {request_id}: lines {[line.number for line in lines]}")
        router.send(request_id, lines)

    def _append_strange(self) -> None:
        model = self.rng.choice(self.models)
        self.append(model.sequencer, [strange_record(self.rng, model, self.clock.now_ns())])

    def _land(self, append: Append) -> None:
        self.late_appends.remove(append)
        self.append(append.sequencer, append.records)

    def _trim(self) -> None:
        """As the buffer's owner does: nothing above the replay offset."""
        sequencer = self.rng.choice(self.sequencers)
        self._writer.trim(sequencer, self.audits[sequencer].state.replay_offset)

    def _query(self, ingester: IngesterProcess) -> Query:
        assert ingester.core is not None
        return Query(ingester.sequencer, ingester.core.view)

    def _finish_query(self, query: Query) -> None:
        self._queries.remove(query)
        query.finish(self.models[query.sequencer], self.store)

    # Quiet points

    def _come_to_rest(self) -> None:
        """Everything runs, nothing fails. Raises SimulationFailure where it does not come to rest in time."""
        while self.store.late:
            self.store.late.pop()()
        while self.late_appends:
            self._land(self.late_appends[0])
        if self.rng.random() < 0.5:
            for process in (*self._routers, *self._ingesters):
                process.end("killed")
            self._bury()
        self._rest_until(self._is_at_rest)

    def _rest_until(self, is_at_rest: Callable[[], bool]) -> None:
        for _ in range(QUIET_ROUNDS_MAX):
            self._start_what_is_missing()
            self._work_off()
            if is_at_rest():
                return
            self.clock.advance(1.0)
            for ingester in list(self._ingesters):
                self._happen((ingester, Step(1, "tick and watch", lambda one=ingester: (one.tick(), one.watch()))))
        raise SimulationFailure(f"no rest after {QUIET_ROUNDS_MAX} virtual seconds: {self._states()}")

    def _start_what_is_missing(self) -> None:
        if not self._routers and not self._is_ending:
            self._start_router()
        for sequencer in self.sequencers:
            if not self._is_ending and not any(one.sequencer == sequencer for one in self._ingesters):
                self._start_ingester(sequencer)

    def _work_off(self) -> None:
        while work := [(process, step) for process in (*self._routers, *self._ingesters) for step in process.work()]:
            self._happen(self._choose(work))

    def _is_at_rest(self) -> bool:
        held = {ingester.sequencer for ingester in self._ingesters}
        answered = not any(router.requests for router in self._routers)
        return answered and len(held) == len(self.sequencers) and all(map(self._rests, self._ingesters))

    def _rests(self, ingester: IngesterProcess) -> bool:
        core = ingester.core
        if core is None or ingester.is_stopping or ingester.is_superseded:
            return False
        applied_all = core.applied_offset == self.models[ingester.sequencer].next_offset
        return applied_all and core.caught_up and not core.paused and not core.jobs_running

    def _states(self) -> str:
        told = [f"{len(router.requests)} requests at {router.name}" for router in self._routers]
        for ingester in self._ingesters:
            core = ingester.core
            told.append(
                f"{ingester.name} without a claim"
                if core is None
                else f"{ingester.name} applied {core.applied_offset} of {self.models[ingester.sequencer].next_offset}, "
                f"caught up {core.caught_up}, paused {core.paused}, {core.jobs_running} jobs, {core.rows_buffered} rows"
            )
        return "; ".join(told)

    def _read_everything(self) -> None:
        for query in self._queries:
            query.finish(self.models[query.sequencer], self.store)
        self._queries.clear()
        for ingester in self._ingesters:
            self._query(ingester).finish(self.models[ingester.sequencer], self.store)

    def _stop_everything(self) -> None:
        """In order: routers, then ingesters, which persist what they hold."""
        self._is_ending = True
        for router in list(self._routers):
            router.stop()
        self._bury()
        self._rest_until(lambda: not self._routers)
        for ingester in self._ingesters:
            if not ingester.is_stopping:
                ingester.stop(persist_first=True)
        self._rest_until(lambda: not self._ingesters)

    def _check_store(self) -> None:
        """The files alone hold everything, and nothing is left to replay."""
        for model in self.models:
            audited = self.audits[model.sequencer].state
            state = run(manifest.load(model.sequencer), self.store)
            if state.as_change().to_json() != audited.as_change().to_json() or state.number != audited.number:
                raise SimulationFailure(f"sequencer {model.sequencer}: loaded {state}, its records say {audited}")
            if state.replay_offset != model.next_offset:
                raise SimulationFailure(
                    f"sequencer {model.sequencer}: after an ordered stop the replay offset is {state.replay_offset}, "
                    f"the next offset {model.next_offset}"
                )
            self._check_files(model)

    def _check_files(self, model: SequencerModel) -> None:
        audit = self.audits[model.sequencer]
        rows = [row for path in audit.state.files for row in audit.rows_of_file(path)]
        if wrong := difference(fold(rows), fold(model.rows(model.next_offset))):
            raise SimulationFailure(f"sequencer {model.sequencer}: files after an ordered stop: {wrong}")
        written: dict[object, int] = {}
        for key, _ in model.rows(model.next_offset):
            written[key] = written.get(key, 0) + 1
        for key, _ in rows:
            written[key] -= 1
            if written[key] < 0:
                raise SimulationFailure(f"sequencer {model.sequencer}: {key} is in more files than it was written")


class SeedFailed(AssertionError):
    """A run failed; the message says how to run it again alone."""


def simulate(seed: int, steps: int = STEPS) -> Simulation:
    """One run from beginning to end. Raises SeedFailed."""
    simulation = Simulation(seed, steps)
    try:
        simulation.run()
    except (AssertionError, PenstockError, LookupError) as error:
        command = f"python -m tests.simulation.run --seed {seed} --steps {steps} --trace"
        raise SeedFailed(
            f"seed {seed}: {type(error).__name__}: {error}\nagain, alone: {command}\nthe end of its trace:\n"
            + "\n".join(simulation.trace)
        ) from error
    return simulation
