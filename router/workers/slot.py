"""One slot of the router's core: a worker process, its successors, and the batches that it is given one by one.

A worker is given its first batch once it says that it is ready: what dies before was ended by no body. A batch whose
worker died fails with `parser_died`: the core decides whether to try again. A worker that still has a batch
CANCEL_GRACE_S after nobody waits for it any longer hangs, and is killed. Whatever ends a worker, another is started: at
once where it had parsed something, after a short pause where a body ended it, else after growing pauses.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from common.logs import Logger
from common.retrying import PAUSE_S, PAUSE_S_MAX
from common.values.errors import PenstockError, Unavailable
from router.core.events import Cancel, Parse, Parsed, ParseFailed
from router.workers.frames import Answer
from router.workers.link import WorkerLink
from router.workers.process import WorkerProcess

CANCEL_GRACE_S = 5.0
"""A parser asks every few hundred lines whether to go on: a few milliseconds."""

START_S_MAX = 60.0
"""A worker starts in a fraction of a second; where a machine is overloaded, or reads its Python from afar, in some."""

Report = Callable[[Parsed | ParseFailed], None]


class Slot:
    """Its first process runs from the constructor on, all else happens on the event loop of `open`."""

    def __init__(self, number: int, start: Callable[[], WorkerProcess], log: Logger) -> None:
        self._number = number
        self._start = start
        self._log = log
        self._process = start()
        self._link: WorkerLink | None = None
        """To the worker, once it is ready."""
        self._waiting: deque[Parse] = deque()
        self._parsing: Parse | None = None
        self._cancelled: asyncio.TimerHandle | None = None
        self._deaths_in_a_row = 0
        self._parsed = 0
        self._restarts = 0

    def open(self, report: Report, on_restart: Callable[[], None]) -> None:
        self._report = report
        self._on_restart = on_restart
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    def close(self) -> None:
        """Kill the process and wait for its end. The event loop has ended, or will at once."""
        self._process.end()
        self._process.sock.close()

    def parse(self, action: Parse) -> None:
        self._waiting.append(action)
        self._send_next()

    def cancel(self, batch_id: int) -> None:
        if self._parsing and self._parsing.batch_id == batch_id and self._link:
            self._link.send(Cancel(batch_id))
            self._cancelled = asyncio.get_running_loop().call_later(CANCEL_GRACE_S, self._kill_hanging)
        for action in [action for action in self._waiting if action.batch_id == batch_id]:
            self._waiting.remove(action)
            self._tell(ParseFailed(batch_id, Unavailable("this batch was given up before a worker had it")))

    def figures(self) -> Mapping[str, int | None]:
        return {
            "pid": self._process.pid,
            "parsed_batches": self._parsed,
            "restarts": self._restarts,
            "rss_bytes": self._process.rss_bytes(),
        }

    async def _keep(self) -> None:
        """Have a worker, always."""
        while True:
            try:
                await self._take_answers()
            except ConnectionError:
                pass  # it has ended
            except TimeoutError:
                self._log.error(f"a worker is not ready after {START_S_MAX:g} s: it is killed", **self._named())
            except Exception as error:  # noqa: BLE001  whatever it is, this worker is of no use, another may be
                self._log.error("a worker's answer cannot be read: it is killed", exc_info=error, **self._named())
            doing, self._link = self._doing(), None
            self._died(await asyncio.to_thread(self._process.end), doing)
            await self._start_again()

    async def _take_answers(self) -> None:
        """Until the worker is gone, which raises."""
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: WorkerLink(self._answered), sock=self._process.sock)
        try:
            async with asyncio.timeout(START_S_MAX):
                await link.ready
            self._link = link
            self._send_next()
            await link.ended
        finally:
            link.close()

    def _send_next(self) -> None:
        if self._link and self._waiting and not self._parsing:
            self._parsing = self._waiting.popleft()
            self._link.send(self._parsing)

    def _answered(self, answer: Answer) -> None:
        self._end_batch()
        self._deaths_in_a_row = 0
        self._parsed += 1
        if answer.trace:
            self._log.error("a batch broke its parser", trace=answer.trace, **self._named())
        self._tell(answer.event)
        self._send_next()

    def _end_batch(self) -> None:
        self._parsing = None
        if self._cancelled:
            self._cancelled.cancel()
            self._cancelled = None

    def _doing(self) -> str:
        if self._parsing:
            return f"while it parsed {sum(len(body.data) for body in self._parsing.bodies)} bytes"
        return "while idle" if self._link else "while it started"

    def _died(self, how: str, doing: str) -> None:
        batch = self._parsing
        self._end_batch()
        self._deaths_in_a_row = min(self._deaths_in_a_row + 1, 2) if batch else self._deaths_in_a_row + 1
        self._log.error(f"a worker {how} {doing}", starts_again_in_s=self._pause_s(), **self._named())
        if batch:
            error = PenstockError(f"the process that parsed this body {how}; the router's log has more")
            self._tell(ParseFailed(batch.batch_id, error, parser_died=True))

    def _tell(self, event: Parsed | ParseFailed) -> None:
        """Later, and on its own: an error of the driver is not the worker's."""
        asyncio.get_running_loop().call_soon(self._report, event)

    async def _start_again(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s())
            try:
                self._process = self._start()
            except OSError as error:
                self._deaths_in_a_row += 1
                self._log.error(
                    f"a worker cannot be started: {error}", slot=self._number, starts_again_in_s=self._pause_s()
                )
                continue
            self._restarts += 1
            self._on_restart()
            return

    def _pause_s(self) -> float:
        """Before the next start. It does not grow where bodies end the workers: others wait for this slot."""
        if self._deaths_in_a_row < 2:
            return 0.0
        return min(PAUSE_S * 2.0 ** min(self._deaths_in_a_row - 2, 10), PAUSE_S_MAX)

    def _kill_hanging(self) -> None:
        """The batch that was cancelled is still the one that is parsed, or this timer would have ended with it."""
        self._log.error(
            f"a worker hangs: it is killed {CANCEL_GRACE_S:g} s after its batch was given up", **self._named()
        )
        self._process.kill()

    def _named(self) -> Mapping[str, int]:
        return {"slot": self._number, "pid": self._process.pid}
