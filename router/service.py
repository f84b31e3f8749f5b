"""The driver of the router's core: performs its actions and feeds their events back, on one event loop.

Worker processes parse (workers/), schema steps run on a few threads, appends on the write buffer's own (performer.py
says what these do); their events come back through the loop. Appends are called on the loop, in the order in which the
core asks.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from common.logs import Logger
from common.store import objects as objectstore
from common.store.objects import ObjectStore
from common.values.clock import Clock
from common.values.errors import PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from router.core.core import RouterCore
from router.core.events import (
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
    Linger,
    Lingered,
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
from router.core.outcome import Outcome
from router.metrics import RouterMetrics
from router.performer import Performer
from writebuffer.contract import Writer

_SETTLE_THREADS = 4

_LINGER_S = 0.004
"""About as long as a worker takes for a small batch; only while another one parses."""


class Parsers(Protocol):
    """What parses, as Workers in workers/workers.py says; tests have one without processes."""

    slots: int

    def open(self, report: Callable[[Parsed | ParseFailed], None], on_restart: Callable[[], None]) -> None: ...

    def parse(self, action: Parse) -> None: ...

    def cancel(self, batch_id: int) -> None: ...

    def figures(self) -> Mapping[str, Mapping[str, int | None]]: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What the driver works with. store: where column types are settled."""

    clock: Clock
    parsers: Parsers
    store: ObjectStore
    performer: Performer
    metrics: RouterMetrics
    log: Logger


class _Waiting(NamedTuple):
    """Who waits for the outcome of a request. expires_s: by the loop's clock."""

    outcome: "asyncio.Future[Outcome]"
    expires_s: float


class RouterService:
    """Made and used on one event loop. Serves writes from `open` to `stop`."""

    def __init__(self, core: RouterCore, tools: Tools, append_timeout_s: float) -> None:
        self.stopped = asyncio.Event()
        self.halted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with the error for which this process must end."""
        self.last_offsets: dict[SequencerId, Offset] = {}
        self.waiting_for = "the write buffer is being opened"
        """Why writes are not accepted; empty once they are."""
        self._loop = asyncio.get_running_loop()
        self._core = core
        self._tools = tools
        self._performer = tools.performer
        self._append_timeout_s = append_timeout_s
        self._writer: Writer | None = None
        self._failing: set[SequencerId] = set()
        self._requests = 0
        self._waiting: dict[int, _Waiting] = {}
        """By request, the oldest first, which expires first: all may wait as long."""
        self._expiring: asyncio.TimerHandle | None = None
        """For the oldest that waited when it was set: a timer for each request would cost more than its answer."""
        self._batches: set[int] = set()
        self._events: deque[Event] = deque()
        self._is_stepping = False
        self._from_threads: deque[Event] = deque()
        self._is_waking = False
        """Whether the loop was asked to look at `_from_threads`."""
        self._settlers: Executor = ThreadPoolExecutor(_SETTLE_THREADS, "settle")
        self._parsers = tools.parsers
        self._parsers.open(self._feed, tools.metrics.parser_restarts.inc)

    def open(self, writer: Writer) -> None:
        """Accept writes from now on."""
        self._writer = writer
        self.waiting_for = ""

    def check_open(self) -> None:
        """Raises Unavailable, with what is missing, until `open`: the body of a write need not be read then."""
        if self._writer is None:
            raise Unavailable(f"not ready: {self.waiting_for}")

    async def write(self, request: WriteRequest) -> Outcome:
        """What became of one write, once it is durable or cannot be. Not before `open`.

        Cancelling changes nothing about the write: a client that disconnects may have sent all it wanted to.
        The bytes of its body are admitted; they are released when it is done with.
        """
        self._requests += 1
        request_id = self._requests
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        expires_s = self._loop.time() + self._append_timeout_s
        self._waiting[request_id] = _Waiting(outcome, expires_s)
        if self._expiring is None:
            self._expiring = self._loop.call_at(expires_s, self._expire)
        self._feed(Arrived(request_id, request))
        return await outcome

    async def stop(self) -> None:
        """Refuse new writes; returns when those in flight are answered and every append has resolved."""
        self.waiting_for = "this router is stopping"
        self._feed(Stop())
        await self.stopped.wait()

    def give_up(self) -> None:
        """Answer everyone who still waits 503; `stop` returns once the workers have seen it and appends resolve."""
        for request_id in list(self._waiting):
            self._feed(Expired(request_id, "this router is stopping: send again"))

    def close(self) -> None:
        """Let what is under way end, parsing at the next lines, settling at the next table."""
        if self._expiring is not None:
            self._expiring.cancel()
        for batch_id in self._batches:
            self._cancel(batch_id)
        self._settlers.shutdown(wait=False, cancel_futures=True)

    def figures(self) -> Mapping[str, int]:
        return self._core.figures()

    def workers(self) -> Mapping[str, Mapping[str, int | None]]:
        return self._parsers.figures()

    def _feed(self, event: Event) -> None:
        """Step the core. An event that an action causes at once waits until the actions before it are performed."""
        self._events.append(event)
        if self._is_stepping:
            return
        self._is_stepping = True
        try:
            while self._events:
                next_event = self._events.popleft()
                self._note(next_event)
                for action in self._core.step(next_event, self._tools.clock.now_ns()):
                    self._perform(action)
        finally:
            self._is_stepping = False

    def _perform(self, action: Action) -> None:
        match action:
            case Parse(batch_id):
                self._batches.add(batch_id)
                self._parsers.parse(action)
            case Settle():
                store = self._tools.store
                self._settle(lambda: objectstore.run(self._performer.settle(action), store))
            case Append():
                assert self._writer is not None
                self._performer.append(action, self._writer, self._feed_from_any_thread)
            case Cancel(batch_id):
                self._cancel(batch_id)
            case Linger():
                self._loop.call_later(_LINGER_S, self._feed, Lingered())
            case Respond(request_id, outcome):
                self._respond(request_id, outcome)
            case Finished(batch_id):
                self._batches.remove(batch_id)
                self._performer.forget(batch_id)
            case Halt(error):
                self._halt(error)
            case Stopped():
                self.stopped.set()

    def _settle(self, perform: Callable[[], Event]) -> None:
        self._settlers.submit(lambda: self._feed_from_any_thread(perform()))

    def _cancel(self, batch_id: int) -> None:
        self._parsers.cancel(batch_id)
        self._performer.cancel(batch_id)

    def _feed_from_any_thread(self, event: Event) -> None:
        """One wake-up of the loop is enough for all that comes before it has woken, such as the appends of a batch."""
        self._from_threads.append(event)
        if not self._is_waking:
            self._is_waking = True
            with suppress(RuntimeError):  # the loop is closed: this process is at its end
                self._loop.call_soon_threadsafe(self._feed_from_threads)

    def _feed_from_threads(self) -> None:
        self._is_waking = False  # first: what comes from now on wakes the loop again
        while self._from_threads:
            self._feed(self._from_threads.popleft())

    def _note(self, event: Event) -> None:
        """Count and log what a person wants to know of an event."""
        match event:
            case AppendDone(_, sequencer, last_offset):
                self.last_offsets[sequencer] = last_offset
                if sequencer in self._failing:
                    self._failing.remove(sequencer)
                    self._tools.log.info("appends work again", sequencer=sequencer)
            case AppendFailed(_, sequencer, error):
                if sequencer not in self._failing:  # an outage is logged when it begins and ends, not at each append
                    self._failing.add(sequencer)
                    self._tools.log.warning("appends fail", sequencer=sequencer, reason=error.message)
            case Settled(_, schemas, refused):
                self._tools.metrics.schema_settles.labels("settled").inc(len(schemas))
                self._tools.metrics.schema_settles.labels("refused").inc(len(refused))
            case SettleFailed(_, error, _):
                self._tools.metrics.schema_settles.labels("failed").inc()
                self._tools.log.warning("columns not settled", reason=error.message)

    def _expire(self) -> None:
        """End the wait of all that have waited long enough; the timer goes on with who has waited longest then."""
        now_s = self._loop.time()
        self._expiring = None
        for request_id, one in list(self._waiting.items()):
            if one.expires_s > now_s:
                self._expiring = self._loop.call_at(one.expires_s, self._expire)
                return
            self._feed(Expired(request_id, f"not durable within {self._append_timeout_s:g} s: send again"))

    def _respond(self, request_id: int, outcome: Outcome) -> None:
        waiting = self._waiting.pop(request_id).outcome
        if not waiting.done():
            waiting.set_result(outcome)

    def _halt(self, error: PenstockError) -> None:
        self.waiting_for = f"this router ends: {error.message}"
        if not self.halted.done():
            self.halted.set_exception(error)
