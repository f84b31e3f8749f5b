"""One connection of a server, kept within HttpLimits: its place, its headers, its body's memory, and its time.

uvicorn's protocol has none of these limits with httptools. A connection is in one of these states, each with an end:
a request's headers arrive (head_s, then 408), its body arrives (intake.py; the handler answers 408), it is answered
(the handler's time), its answer is not read (answer_s, then cut off), the rest of a refused body is dropped (drain_s),
or nothing is asked (idle_s). `check` is called about once a second.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from common.http.answering import Answer
from common.http.intake import Intake, Shared
from common.http.lingering import LingeringTransport
from common.http.protocol import Http1Protocol

HEAD_BYTES_MAX = 16_384
"""Of a request's line and headers, and of what a chunked body has beside its data: trailers, and extensions of a chunk.
Up to twice as much is read before it is refused."""

HEAD_FIELDS_MAX = 100

PIPELINED_MAX = 16
"""Requests that a connection sent before it was answered the first; each costs some thousand bytes."""

_REST = 0.75
"""Of the Retry-After of the last answer: a client that waits as long finds its connection read again."""
_EARLY = 0.2
"""Of the same time: a request that arrives so soon after the connection is read again was sent too early."""


class ConnectionConfig(uvicorn.Config):
    """uvicorn's settings, and what the connections have together."""

    def __init__(self, shared: Shared, **settings: Any) -> None:
        super().__init__(http=Connection, **settings)
        self.shared = shared


class _Refused(Exception):
    """Out of a callback of the parser, which stops."""


class Connection(Http1Protocol):
    """uvicorn makes one for each connection that it accepts."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(config, ConnectionConfig)
        self._shared = config.shared
        self._owner = ""
        self._has_place = self._is_surplus = False
        self._intake: Intake | None = None
        self._refusal: tuple[int, str, str] | None = None
        self._head_since_s: float | None = None
        self._head_bytes = 0
        self._is_only_head = False
        """Whether what was received last neither began nor completed anything, and brought no data of a body."""
        self._has_body_left = False
        self._idle_since_s: float | None = None
        """Since when no request is being answered."""
        self._stuck_since_s: float | None = None
        """Since when the client does not read what it was answered."""
        self._rest_s = 0.0
        """How long this connection rests, or rested, after a request that is to be sent again; 0 after any other."""
        self._retry_after_s = 0.0
        self._is_rest_due = self._was_early = False
        self._rested_s: float | None = None
        """When the last rest ended, until the next request."""
        self._resting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        limits = self._shared.limits
        super().connection_made(LingeringTransport(transport, self._expects_more, limits.linger_s, limits.answer_s))
        host, port = self.client or ("", 0)
        self._owner = self._shared.owner(host, port)
        self._idle_since_s = self.loop.time()
        self._has_place = self._shared.connections.take(self._owner, 1)
        if not self._has_place:
            self._shared.refused += 1
            self._is_surplus = self._shared.take_surplus()
            if not self._is_surplus:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._has_place:
            self._shared.connections.give_back(self._owner, 1)
        if self._is_surplus:
            self._shared.give_surplus_back()
        for cycle, _ in self.pipeline:  # they were not begun, and no handler closes their intakes
            cycle.scope["state"]["intake"].close()
        self._head_since_s = self._stuck_since_s = None
        if self._resting is not None:
            self._resting.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """In slices, so that headers cannot be longer than a slice or two."""
        for at in range(0, len(data), HEAD_BYTES_MAX):
            if self.transport.is_closing() or self._refusal:
                return
            part = data if len(data) <= HEAD_BYTES_MAX else data[at : at + HEAD_BYTES_MAX]
            self._is_only_head = True
            super().data_received(part)
            self._head_bytes = self._head_bytes + len(part) if self._is_only_head else 0
            if self._head_bytes > HEAD_BYTES_MAX:
                self.refuse(431, "request header fields too large", _HEAD_TOO_LONG)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_only_head = False
        self._head_since_s = self.loop.time()
        self._was_early = (
            self._rested_s is not None and self._head_since_s - self._rested_s < _EARLY * self._retry_after_s
        )
        self._rested_s = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers come this way too: they are no headers of a request that is answered already, or soon."""
        if self._head_since_s is None:
            return
        super().on_header(name, value)
        if len(self.headers) > HEAD_FIELDS_MAX:
            self._refusal = (431, "request header fields too large", _TOO_MANY_FIELDS)
            raise _Refused

    def on_headers_complete(self) -> None:
        self._is_only_head = False
        self._head_since_s = None
        if self._is_surplus:
            self._refusal = (503, "unavailable", self._too_many_connections())
            raise _Refused
        if len(self.pipeline) >= PIPELINED_MAX:
            self._refusal = (400, "invalid", f"more than {PIPELINED_MAX} requests wait for their answers")
            raise _Refused
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # unknown there: it would pass for the answer
        self._has_body_left = True
        self._idle_since_s = None
        self._intake = self.scope["state"]["intake"] = Intake(self._shared, self._owner, self._rest)
        super().on_headers_complete()
        self.scope["state"]["answer"] = Answer(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._is_only_head = False
        if self.cycle.response_complete:
            return
        assert self._intake is not None
        if self._intake.arrived(len(body)):
            super().on_body(body)
        else:
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._intake is not None:
            self._intake.has_ended = True
        self._is_only_head = self._has_body_left = False
        if self._idle_since_s is not None:
            self._idle_since_s = self.loop.time()
            self._begin_rest()

    def on_response_complete(self) -> None:
        self._go_on()
        if not self._is_rest_due:
            self._rest_s = 0.0
        if self.cycle.response_complete:
            self._idle_since_s = self.loop.time()
            self._begin_rest()

    def _go_on(self) -> None:
        """As uvicorn's on_response_complete, without a timer for each answer: `check` ends idle connections."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def _rest(self, seconds: float) -> None:
        """The answer asks the client to wait so long. For most of that time its next request is not read.

        A client that waits does not notice it. One that does not is kept from spending this process's time on more
        refusals: the longer, the more often it comes early.
        """
        again_s = 2 * self._rest_s if self._was_early else 0.0
        self._retry_after_s = seconds
        self._rest_s = min(max(_REST * seconds, again_s), self._shared.limits.rest_s_max)
        self._is_rest_due = True

    def _begin_rest(self) -> None:
        if self._is_rest_due and not self._has_body_left and not self.transport.is_closing():
            self._is_rest_due = False
            self.flow.pause_reading()
            self._resting = self.loop.call_later(self._rest_s, self._end_rest)

    def _end_rest(self) -> None:
        self.flow.resume_reading()
        self._rested_s = self.loop.time()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck_since_s = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stuck_since_s = None

    def check(self, now_s: float) -> None:
        """End what takes too long."""
        limits = self._shared.limits
        if self._stuck_since_s is not None and now_s - self._stuck_since_s > limits.answer_s:
            self.transport.abort()
        elif self.transport.is_closing():
            return  # the transport bounds that
        elif self._head_since_s is not None and now_s - self._head_since_s > limits.head_s:
            self.refuse(408, "request timeout", f"the request's headers did not arrive within {limits.head_s:g} s")
        elif self._idle_since_s is not None:
            wait_s = limits.drain_s if self._has_body_left else limits.idle_s
            if now_s - self._idle_since_s > wait_s:
                self.transport.close()

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer in place of a handler, and end the connection.

        Where earlier requests wait for their answers, the last of these ends it. A request that was answered already,
        and whose body is to blame, gets no second answer.
        """
        status, code, message = self._refusal = self._refusal or (status, code, message)
        if self.cycle is not None and not self.cycle.response_complete:
            if not self._has_body_left or self.cycle.response_started or self.pipeline:
                self.cycle.keep_alive = False
                return
            self.cycle.disconnected = True  # its handler waits for a body that cannot be read
            self.cycle.message_event.set()
        elif self._has_body_left:
            self.transport.close()
            return
        self.transport.write(_answer(status, code, message))
        self.transport.close()

    def _expects_more(self) -> bool:
        return bool(self._idle_since_s is None or self._has_body_left or self._head_since_s or self._refusal)

    def _too_many_connections(self) -> str:
        connections = self._shared.connections
        return (
            f"{connections.held} connections are open, {connections.of(self._owner)} of them from this client; the "
            f"limit is {connections.limit} for all clients (connections_max), and each has a share: send again later, "
            "over fewer connections"
        )


_HEAD_TOO_LONG = f"the request line and headers, or the trailers of its body, are over {HEAD_BYTES_MAX} bytes"
_TOO_MANY_FIELDS = f"the request has more than {HEAD_FIELDS_MAX} header fields"


def _answer(status: int, code: str, message: str) -> bytes:
    body = json.dumps({"code": code, "message": message, "error": message}).encode()
    headers: Mapping[str, object] = {
        "content-type": "application/json; charset=utf-8",
        "x-platform-error-code": code,
        "content-length": len(body),
        "connection": "close",
        **({"retry-after": 1} if status == 503 else {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[status] + lines.encode() + b"\r\n" + body
