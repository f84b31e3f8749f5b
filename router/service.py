"""The driver of the router's core: performs its actions and feeds their outcomes back, on one event loop.

Parsing runs in one worker thread, schema steps in a few, appends on the write buffer's own; whatever they report comes
back through the loop. Appends are called on the loop, in the order in which the core asks for them.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from common import objectstore
from common.clock import Clock
from common.errors import PenstockError, Unavailable
from common.ids import Offset, SequencerId
from common.logs import Logger
from common.objectstore import ObjectStore
from router import answers
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
from router.metrics import RouterMetrics
from router.schema_store import SchemaStore
from router.table_schema import NO_SCHEMA, TableSchema
from writebuffer.contract import AppendedRange, Writer

_SETTLE_THREADS = 4


@dataclass(frozen=True, slots=True)
class Tools:
    """What the driver works with. store and schemas: where column types are settled."""

    clock: Clock
    store: ObjectStore
    schemas: SchemaStore
    parser: BatchParser
    metrics: RouterMetrics
    log: Logger


class RouterService:
    """Made and used on one event loop. Serves writes from `open` to `stop`."""

    def __init__(self, core: RouterCore, tools: Tools, append_timeout_s: float) -> None:
        self.stopped = asyncio.Event()
        self.halted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with the error for which this process must end."""
        self.last_offsets: dict[SequencerId, Offset] = {}
        self.waiting_for = "the write buffer is being opened"
        """Why writes are not taken; empty once they are."""
        self._loop = asyncio.get_running_loop()
        self._core = core
        self._tools = tools
        self._append_timeout_s = append_timeout_s
        self._writer: Writer | None = None
        self._failing: set[SequencerId] = set()
        self._requests = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._cancelled: dict[int, threading.Event] = {}
        """By batch: tells its workers to end early."""
        self._events: deque[Event] = deque()
        self._is_stepping = False
        self._parsers: Executor = ThreadPoolExecutor(1, "parse")
        self._settlers: Executor = ThreadPoolExecutor(_SETTLE_THREADS, "settle")

    def open(self, writer: Writer) -> None:
        """Take writes from now on."""
        self._writer = writer
        self.waiting_for = ""

    async def write(self, request: WriteRequest) -> Answer:
        """The answer to one write, once it is durable or cannot be. Cancelling changes nothing about the write."""
        if self._writer is None:
            return answers.failed(Unavailable(f"not ready: {self.waiting_for}"))
        self._requests += 1
        request_id = self._requests
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[request_id] = answer
        self._timers[request_id] = self._loop.call_later(self._append_timeout_s, self._expire, request_id)
        self._feed(Arrived(request_id, request))
        return await answer

    async def stop(self) -> None:
        """Refuse new writes; returns when those in flight are answered and every append has resolved."""
        self.waiting_for = "this router is stopping"
        self._feed(Stop())
        await self.stopped.wait()

    def give_up(self) -> None:
        """Answer everyone who still waits 503; `stop` returns once the workers have seen it and appends resolve."""
        error = Unavailable(
            "this router is stopping; the write may still become durable: send again", written="unknown"
        )
        for request_id in list(self._waiting):
            self._feed(Expired(request_id, error))

    def close(self) -> None:
        """Tell the workers to end. They do at the next lines or table; the interpreter's exit waits for that."""
        for timer in self._timers.values():
            timer.cancel()
        for cancelled in self._cancelled.values():
            cancelled.set()
        self._parsers.shutdown(wait=False, cancel_futures=True)
        self._settlers.shutdown(wait=False, cancel_futures=True)

    def figures(self) -> Mapping[str, int]:
        return self._core.figures()

    def _feed(self, event: Event) -> None:
        """Step the core. An event that an action causes at once waits until the actions before it are performed."""
        self._events.append(event)
        if self._is_stepping:
            return
        self._is_stepping = True
        try:
            while self._events:
                for action in self._core.step(self._events.popleft(), self._tools.clock.now_ns()):
                    self._perform(action)
        finally:
            self._is_stepping = False

    def _perform(self, action: Action) -> None:
        match action:
            case Parse():
                self._parse(action)
            case Settle():
                self._settle(action)
            case Append():
                self._append(action)
            case Cancel(batch_id):
                self._cancelled[batch_id].set()
            case Respond(request_id, answer):
                self._respond(request_id, answer)
            case Finished(batch_id):
                del self._cancelled[batch_id]
            case Halt(error):
                self._halt(error)
            case Stopped():
                self.stopped.set()

    def _parse(self, action: Parse) -> None:
        batch_id = action.batch_id
        cancelled = self._cancelled.setdefault(batch_id, threading.Event())
        parse = self._tools.parser.parse
        parsing = self._parsers.submit(parse, action.namespace, action.bodies, action.schemas, cancelled)
        self._report(parsing, lambda result: Parsed(batch_id, result), lambda error: ParseFailed(batch_id, error))

    def _expire(self, request_id: int) -> None:
        message = f"not durable within {self._append_timeout_s:g} s; it may still become so: send again"
        self._feed(Expired(request_id, Unavailable(message, written="unknown")))

    def _settle(self, action: Settle) -> None:
        settled: dict[str, TableSchema] = {}
        settling = self._settlers.submit(self._settle_tables, action, settled, self._cancelled[action.batch_id])
        self._report(
            settling,
            lambda _: Settled(action.batch_id, settled),
            lambda error: SettleFailed(action.batch_id, error, settled),
        )

    def _settle_tables(self, action: Settle, settled: dict[str, TableSchema], cancelled: threading.Event) -> None:
        """One table after another, as long as somebody waits."""
        for table, additions in action.additions.items():
            if cancelled.is_set():
                raise Unavailable(f"schema store: {len(settled)} of {len(action.additions)} tables settled in time")
            cached = action.cached.get(table, NO_SCHEMA)
            steps = self._tools.schemas.settle(action.namespace, table, cached, additions)
            try:
                settled[table] = objectstore.run(steps, self._tools.store)
            except PenstockError as error:
                self._tools.metrics.schema_settles.labels("failed").inc()
                self._tools.log.warning("schema not settled", table=table, reason=error.message)
                raise
            self._tools.metrics.schema_settles.labels("settled").inc()

    def _append(self, action: Append) -> None:
        assert self._writer is not None
        batch_id, sequencer = action.batch_id, action.sequencer
        try:
            appending = self._writer.append_many(sequencer, action.records)
        except Exception as error:  # noqa: BLE001  whatever it is, the requests of this append must be answered
            appending = Future()
            appending.set_exception(error)
        self._report(
            appending,
            lambda appended: self._appended(batch_id, sequencer, appended),
            lambda error: self._append_failed(batch_id, sequencer, error),
        )

    def _appended(self, batch_id: int, sequencer: SequencerId, appended: AppendedRange) -> Event:
        self.last_offsets[sequencer] = appended.last.offset
        if sequencer in self._failing:
            self._failing.remove(sequencer)
            self._tools.log.info("appends work again", sequencer=sequencer)
        return AppendDone(batch_id, sequencer, appended.last.offset)

    def _append_failed(self, batch_id: int, sequencer: SequencerId, error: PenstockError) -> Event:
        if sequencer not in self._failing:  # an outage is told when it begins and when it ends, not at each append
            self._failing.add(sequencer)
            self._tools.log.warning("appends fail", sequencer=sequencer, reason=error.message)
        return AppendFailed(batch_id, sequencer, error)

    def _respond(self, request_id: int, answer: Answer) -> None:
        self._timers.pop(request_id).cancel()
        waiting = self._waiting.pop(request_id)
        if not waiting.done():
            waiting.set_result(answer)

    def _halt(self, error: PenstockError) -> None:
        self.waiting_for = f"this router ends: {error.message}"
        if not self.halted.done():
            self.halted.set_exception(error)

    def _report(
        self, future: "Future[Any]", done: Callable[[Any], Event], failed: Callable[[PenstockError], Event]
    ) -> None:
        """Feed the outcome of a worker's future back on the loop."""

        def on_loop() -> None:
            error = future.exception()
            self._feed(failed(self._as_penstock_error(error)) if error else done(future.result()))

        def on_worker(_: "Future[Any]") -> None:
            with suppress(RuntimeError):  # the loop is closed: this process is at its end
                self._loop.call_soon_threadsafe(on_loop)

        future.add_done_callback(on_worker)

    def _as_penstock_error(self, error: BaseException) -> PenstockError:
        """A defect in a worker answers the requests it hit and is told in the log; it must not hang or stop others."""
        if isinstance(error, PenstockError):
            return error
        self._tools.log.error("worker failed", exc_info=error)
        return PenstockError("this is a defect; the router's log has its trace")
