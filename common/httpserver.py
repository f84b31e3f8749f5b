"""HTTP as router and ingester serve it: a bound socket, a table of routes, uvicorn inside this process.

uvicorn runs with httptools (and uvloop where there is one), without an access log, and takes no signals: who runs a
server calls `stop`. Its shutdown is bounded; left alone it would wait for unanswered requests without limit.
Every error is JSON {"code", "message"} with the code in X-Platform-Error-Code, as InfluxDB's clients expect.
"""

import asyncio
import errno
import json
import math
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from common.errors import Misconfigured
from common.logs import Logger

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

BACKLOG = 2048
KEEP_ALIVE_S = 75
"""Longer than the clients' own flush intervals: a connection closed as a write comes in costs that write."""

TICK_S = 1.0
"""How often the Date header is renewed; it says whole seconds."""


@dataclass(frozen=True, slots=True)
class Response:
    """body: empty for 204. content_type: given whenever there is a body."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(status: int, values: Any, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(values, ensure_ascii=False).encode() + b"\n"
    return Response(status, body, "application/json; charset=utf-8", headers or {})


def html_response(html: str) -> Response:
    return Response(200, html.encode(), "text/html; charset=utf-8")


def metrics_response(registry: CollectorRegistry) -> Response:
    """The registry in Prometheus' text format."""
    return Response(200, generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4)


def error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """code: one of InfluxDB's, e.g. `not found`."""
    return json_response(status, {"code": code, "message": message}, {"X-Platform-Error-Code": code, **(headers or {})})


class ClientGone(Exception):
    """The connection closed before the request was read; there is nobody to answer."""


class Refused(Exception):
    """A handler's way out with an answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass(frozen=True, slots=True)
class Request:
    """headers: by lower-case name; of a name that stands twice, the first."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw_query: bytes
    receive: Receive

    def query(self) -> dict[str, str]:
        """The parameters; of one that stands twice, the first. Raises Refused for what is not UTF-8."""
        try:
            pairs = parse_qsl(self.raw_query.decode(), keep_blank_values=True, errors="strict")
        except ValueError as error:
            raise Refused(error_response(400, "invalid", f"query string: {error}")) from None
        return dict(reversed(pairs))

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it arrives, empty parts left out. Raises ClientGone."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = message.get("more_body", False)
            if part := message.get("body", b""):
                yield part


Handler = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, Mapping[str, Handler]]
"""Path to method to handler. HEAD is answered wherever GET is."""


class App:
    """The ASGI application of a table of routes."""

    def __init__(
        self,
        routes: Routes,
        log: Logger,
        headers_of: Callable[[Request], Mapping[str, str]] = lambda request: {},
    ) -> None:
        """headers_of: headers that every response to a request carries."""
        self._routes = routes
        self._log = log
        self._headers_of = headers_of

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        request = Request(scope["method"], scope["path"], headers, scope["query_string"], receive)
        try:
            response = await self._answer(request)
        except ClientGone:
            return
        await _send(response, self._headers_of(request), send)

    async def _answer(self, request: Request) -> Response:
        methods = self._routes.get(request.path)
        if methods is None:
            return error_response(404, "not found", f"path {request.path!r} is not served here")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            return _not_allowed(request, methods)
        try:
            return await handler(request)
        except Refused as refused:
            return refused.response
        except ClientGone:
            raise
        except asyncio.CancelledError:  # the shutdown's time is over; whoever still waits shall come back
            return error_response(503, "unavailable", "this process is stopping: send again", {"Retry-After": "1"})
        except Exception:  # noqa: BLE001  a defect must not take the server down; it is logged with its trace
            self._log.exception("request failed", method=request.method, path=request.path)
            return error_response(500, "internal error", "this is a defect; the log of this process has its trace")


def _not_allowed(request: Request, methods: Mapping[str, Handler]) -> Response:
    allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
    message = f"{request.method} is not served at {request.path}; use {allowed}"
    return error_response(405, "method not allowed", message, {"Allow": allowed})


async def _send(response: Response, more_headers: Mapping[str, str], send: Send) -> None:
    headers = {**more_headers, **response.headers}
    if response.body:
        headers |= {"Content-Type": response.content_type, "Content-Length": str(len(response.body))}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": response.body})


def bind(host: str, port: int, option: str) -> socket.socket:
    """A listening socket. option: the flag that changes the port, for the message.

    Raises Misconfigured when the port is in use, or the address not to be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Misconfigured(f"address {host!r}: {error.strerror}; give one of this machine", host=host) from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)  # two sockets may bind one port; only one may listen
    except OSError as error:
        sock.close()
        raise Misconfigured(_why_not_bound(host, port, option, error), host=host, port=port) from None
    return sock


def _why_not_bound(host: str, port: int, option: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another process: stop that one, or give another port with {option}"
    if error.errno == errno.EACCES:
        return f"port {port} on {host}: this user may not bind it; give one above 1023 with {option}"
    return f"port {port} on {host}: {error.strerror}"


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

    def __init__(self, app: AsgiApp, sock: socket.socket, *, shutdown_timeout_s: float) -> None:
        """sock: from `bind`; closed when the server ends. shutdown_timeout_s: how long requests in flight may take."""
        self._sock = sock
        self._server = _Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(shutdown_timeout_s),
            )
        )
        self._thread: threading.Thread | None = None
        self.host, self.port = sock.getsockname()[:2]

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
    """uvicorn's, but woken to stop: its own loop looks ten times a second, which an idle process would pay for."""

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
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK_S)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
