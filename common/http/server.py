"""HTTP as router and ingester serve it: a bound socket, an application (app.py), uvicorn inside this process.

uvicorn runs with httptools (and uvloop where there is one), without an access log, and handles no signals: who runs a
server calls `stop`. Its shutdown is bounded; left alone it would wait for unanswered requests without limit.
"""

import asyncio
import math
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

import uvicorn

from common.http.app import AsgiApp
from common.http.connection import Connection, ConnectionConfig
from common.http.intake import HttpLimits, Shared
from common.http.listening import BACKLOG
from common.values.addresses import Address

TICK_S = 1.0
"""How often the Date header is renewed; it says whole seconds. So often connections that take too long are ended."""


DEFAULT_LIMITS = HttpLimits()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class HttpServer:
    """One uvicorn server on one socket, in the caller's event loop (`serve`) or in a thread (`start_thread`)."""

    def __init__(
        self, app: AsgiApp, sock: socket.socket, *, shutdown_timeout_s: float, limits: HttpLimits = DEFAULT_LIMITS
    ) -> None:
        """sock: from `bind`; closed when the server ends. shutdown_timeout_s: how long requests in flight may take."""
        self._sock = sock
        self.shared = Shared(limits)
        """What its connections use."""
        self._server = _Server(
            ConnectionConfig(
                self.shared,
                app=app,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                proxy_headers=bool(limits.proxies.networks),
                forwarded_allow_ips=[str(one) for one in limits.proxies.networks],
                timeout_graceful_shutdown=math.ceil(shutdown_timeout_s),
            )
        )
        self._thread: threading.Thread | None = None
        host, self.port = sock.getsockname()[:2]
        self.address = Address(host, self.port)

    async def serve(self) -> None:
        """Serve until `stop`; returns once requests in flight are answered, or at the shutdown timeout."""
        await self._server.serve(sockets=[self._sock])

    def start_thread(self) -> None:
        """Serve in a thread with an event loop of its own; returns once it accepts."""
        self._thread = threading.Thread(target=self._run, name=f"http-{self.port}", daemon=True)
        self._thread.start()
        self._server.accepting.wait()

    def stop(self) -> None:
        """Accept no more and end when what is in flight is answered. From any thread; waits for a thread's end."""
        self._server.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self.serve())
        finally:
            self._server.accepting.set()  # nobody waits for a server that could not start


class _Server(uvicorn.Server):
    """uvicorn's, but woken to stop: its own loop looks ten times a second, which costs an idle process time."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = threading.Event()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """From any thread, also before the loop runs or after its end."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # at count 0 it renews the Date header
            for connection in list(self.server_state.connections):
                assert isinstance(connection, Connection)
                connection.check(self._loop.time())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK_S)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
