"""The ASGI application of a table of routes: requests, answers, and what an error looks like.

Every error is JSON {"code", "message", "error"} with the code in X-Platform-Error-Code: InfluxDB 2's clients read the
message, those of 1 and 3 the error, which is the same text.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from common.http.clients import client_of
from common.http.intake import BodyTooMuch, BodyTooSlow, Intake
from common.logs import Logger

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


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
    values = {"code": code, "message": message, "error": message}
    return json_response(status, values, {"X-Platform-Error-Code": code, **(headers or {})})


class ClientGone(Exception):
    """The connection closed before the request was read; there is nobody to answer."""


class InvalidQuery(Exception):
    """The query string cannot be read; the text says why. A handler that lets it pass ends with 400."""


@dataclass(frozen=True, slots=True)
class Request:
    """headers: by lower-case name; of a name that occurs twice, the values joined by commas (RFC 9110, 5.3).

    client: who takes turns with other clients (clients.py).
    """

    method: str
    path: str
    headers: Mapping[str, str]
    raw_query: bytes
    receive: Receive
    client: str
    intake: Intake

    def query_pairs(self) -> Sequence[tuple[str, str]]:
        """The parameters in their order. Raises InvalidQuery for what is not UTF-8."""
        return _query_pairs(self.raw_query)

    def query(self) -> dict[str, str]:
        """The parameters; of one that occurs twice, the first. Raises InvalidQuery."""
        return dict(reversed(self.query_pairs()))

    async def whole(self) -> bytes | None:
        """The body, if all of it has arrived already, as nearly every small one has; else None, and `parts` brings it.

        Raises ClientGone.
        """
        if not self.intake.is_whole:
            return None
        self.intake.ask()
        return self._part(await self.receive())

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it arrives, empty parts left out. Raises ClientGone, BodyTooSlow, BodyTooMuch."""
        self.intake.ask()
        more = True
        while more:
            message = await self._next_part()
            part = self._part(message)
            more = message.get("more_body", False)
            if part:
                yield part

    def _part(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        self.intake.asked_for(len(part))
        self.intake.check()
        return part

    async def _next_part(self) -> Message:
        if self.intake.has_unread:  # it is there at once: a timeout would cost more than the part
            return await self.receive()
        try:
            async with asyncio.timeout_at(self.intake.deadline_s):
                return await self.receive()
        except TimeoutError:
            raise BodyTooSlow("the body did not arrive in time") from None


@lru_cache(maxsize=256)
def _query_pairs(raw: bytes) -> Sequence[tuple[str, str]]:
    """A client sends the same parameters again and again."""
    try:
        return tuple(parse_qsl(raw.decode(), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InvalidQuery(
            f"the query string is not UTF-8: it has the byte 0x{byte:02x}; encode text as UTF-8, then with %"
        ) from None


Handler = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, Mapping[str, Handler]]
"""Path to method to handler. HEAD is answered wherever GET is, OPTIONS everywhere."""


class App:
    """The ASGI application of a table of routes."""

    def __init__(
        self,
        routes: Routes,
        log: Logger,
        headers_of: Callable[[Request], Mapping[str, str]] = lambda request: {},
        advice: Callable[[str], str] = lambda path: "",
    ) -> None:
        """headers_of: headers that every response to a request carries. advice: what to use in place of a path that
        is not served, "" for nothing."""
        self._routes = routes
        self._log = log
        self._headers_of = headers_of
        self._advice = advice

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """For a Connection, which puts Intake and Answer into the scope's state; `send` is not used."""
        if scope["type"] != "http":
            return
        client = client_of(scope["client"][0]) if scope["client"] else ""
        headers = _joined(scope["headers"])
        intake = scope["state"]["intake"]
        request = Request(scope["method"], scope["path"], headers, scope["query_string"], receive, client, intake)
        try:
            response = await self._answer(request)
        except ClientGone:
            return
        finally:
            intake.close()
        headers = {**self._headers_of(request), **_closing(request), **response.headers}
        if response.body:
            headers["Content-Type"] = response.content_type
        await scope["state"]["answer"].send(response.status, headers, response.body)

    async def _answer(self, request: Request) -> Response:
        methods = self._routes.get(request.path)
        if methods and request.method == "OPTIONS":
            return Response(204, headers={"Allow": ", ".join(["OPTIONS", *_allowed(methods)])})
        if methods is None:
            return self._not_served(request.path)
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            return _not_allowed(request, methods)
        try:
            return await handler(request)
        except InvalidQuery as error:
            return error_response(400, "invalid", str(error))
        except BodyTooSlow as error:
            return error_response(408, "request timeout", str(error), {"Connection": "close"})
        except BodyTooMuch as error:
            return error_response(503, "unavailable", str(error), {"Retry-After": "1"})
        except ClientGone:
            raise
        except asyncio.CancelledError:  # the shutdown's time is over; whoever still waits should send again
            return error_response(503, "unavailable", "this process is stopping: send again", {"Retry-After": "1"})
        except Exception:  # noqa: BLE001  a defect must not take the server down; it is logged with its trace
            self._log.exception("request failed", method=request.method, path=request.path)
            return error_response(
                500, "internal error", "this is a defect; the log of this process has the stack trace"
            )

    def _not_served(self, path: str) -> Response:
        hint = self._advice(path) or f"served here are: {', '.join(sorted(self._routes))}"
        return error_response(404, "not found", f"path {path!r} is not served; {hint}")


def _joined(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name_raw, value_raw in raw:
        name, value = name_raw.decode("latin-1"), value_raw.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _closing(request: Request) -> Mapping[str, str]:
    """Who asked whether to send a body and is answered otherwise may send it or not: the next bytes mean nothing."""
    asks = request.headers.get("expect", "").lower() == "100-continue" and not request.intake.is_asked_for
    return {"Connection": "close"} if asks else {}


def _allowed(methods: Mapping[str, Handler]) -> list[str]:
    return sorted({*methods, *(["HEAD"] if "GET" in methods else [])})


def _not_allowed(request: Request, methods: Mapping[str, Handler]) -> Response:
    allowed = ", ".join(_allowed(methods))
    message = f"{request.method} is not served at {request.path}; use {allowed}"
    return error_response(405, "method not allowed", message, {"Allow": allowed})
