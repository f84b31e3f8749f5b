"""An answer, written to its connection all at once.

uvicorn's `send` takes head and body apart, writes each by itself, and looks at every header with two regular
expressions: that was a quarter of what a small write cost the HTTP side.
"""

import re
from collections.abc import Iterable, Mapping

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_CONTROL = re.compile(r"[\0-\x08\x0a-\x1f\x7f]")


class Answer:
    """The answer to one request, to be sent once."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send it, once the client reads what it was answered before; nothing where the connection is gone.

        headers: without Content-Length; one that is called Connection ends the connection. body: empty for 204.
        """
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if "Connection" in headers:
            cycle.keep_alive = False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(self._bytes(status, headers, body))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def _bytes(self, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        cycle = self._cycle
        parts = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:  # the Date
            parts += (name, b": ", value, b"\r\n")
        parts.append(_lines(headers))
        if status != 204:
            parts.append(b"Content-Length: %d\r\n" % len(body))
        if not cycle.keep_alive and "Connection" not in headers:
            parts.append(b"Connection: close\r\n")
        parts.append(b"\r\n")
        if cycle.scope["method"] != "HEAD":
            parts.append(body)
        return b"".join(parts)


def _lines(headers: Mapping[str, str]) -> bytes:
    """What a header cannot hold becomes `?`: a value may quote what a client sent."""
    named: Iterable[tuple[str, str]] = headers.items()
    if not "".join(headers.values()).isprintable():
        named = [(name, _CONTROL.sub("?", value)) for name, value in named]
    return "".join([f"{name}: {value}\r\n" for name, value in named]).encode("latin-1", "replace")
