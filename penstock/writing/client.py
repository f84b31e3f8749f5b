"""A client of the router's write endpoint over one keep-alive connection.

Sends gzip, tries again on 503 (as Retry-After says) and when the connection fails, and distinguishes refused lines
from a refused request. Sending again after a lost answer is safe: rows with the same keys overwrite themselves.
"""

import http.client
import json
import re
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from isal import igzip

from common.values.clock import Clock, SystemClock
from common.values.errors import InvalidRequest, PenstockError, Unavailable
from common.values.token import TOKEN_HEADER

_DROPPED_HEADER = "X-Penstock-Dropped-Fields"
_DROPPED = re.compile(r"(\d+); line (\d+): (.*)")
_RETRIED = (429, 502, 503, 504)
_PAUSE_S = 0.25
_PAUSE_S_MAX = 8.0
_NO_ROUTER = (404, 405)
_FORM = "give http://host:port"
_OF_AN_API = re.compile(r"/api\b|/write$")
_ANSWER_S_MIN = 1.0
"""How long to wait for an answer at least, also where nothing is tried again."""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """line: its number in the body, from 1."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of one body. token: of what is durable, "" when nothing is. refused: those of the `refused_count`
    refused lines that the router lists. attempts: how often it was sent. dropped: those of the `dropped_count` fields
    left out of stored lines that the router names."""

    token: str
    refused_count: int = 0
    refused: list[RefusedLine] = field(default_factory=list)
    attempts: int = 1
    dropped_count: int = 0
    dropped: list[RefusedLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True, slots=True)
class _Again:
    """The same body may be sent again: after `pause_s` when the server says so, else after a growing pause."""

    reason: str
    pause_s: float | None


class WriteClient:
    """Writes to one namespace. Not shared between threads.

    url: of the router, http://host:port, or of a proxy before it, https:// and with a path of its own.
    on_retry(reason, pause_s): called before each pause.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        *,
        precision: str = "ns",
        timeout_s: float = 60.0,
        on_retry: Callable[[str, float], None] = lambda reason, pause_s: None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection, path = _router(url, max(timeout_s, _ANSWER_S_MIN))
        query = urlencode({"bucket": namespace, "precision": precision})
        self._path = f"{path}/api/v2/write?{query}"
        self._url = url
        self._timeout_s = timeout_s
        self._on_retry = on_retry
        self._clock = clock or SystemClock()
        self._sleep = sleep

    def write(self, body: bytes) -> Written:
        """Return once `body` is durable, except the refused lines.

        Raises InvalidRequest when the whole request is refused, Unavailable (`written: unknown`) when it was not
        acknowledged within timeout_s, PenstockError when the router failed.
        """
        deadline_s = self._clock.monotonic_s() + self._timeout_s
        packed = igzip.compress(body, compresslevel=1)
        attempts = 0
        while True:
            attempts += 1
            outcome = self._attempt(packed)
            if isinstance(outcome, _Answer):
                return self._written(outcome, attempts)
            pause_s = outcome.pause_s
            if pause_s is None:
                pause_s = min(_PAUSE_S_MAX, _PAUSE_S * 2.0 ** (attempts - 1))
            if self._clock.monotonic_s() + pause_s > deadline_s:
                raise Unavailable(
                    f"{self._url}: {outcome.reason}; given up after {attempts} attempts in {self._timeout_s:g} s: "
                    "check that the cluster runs (`penstock up`), correct --url, or raise --timeout",
                    written="unknown",
                    url=self._url,
                )
            self._on_retry(outcome.reason, pause_s)
            self._sleep(pause_s)

    def close(self) -> None:
        self._connection.close()

    def _attempt(self, packed: bytes) -> "_Answer | _Again":
        try:
            with suppress(BrokenPipeError):  # whoever closes before it has read all may have answered first
                self._connection.request("POST", self._path, packed, {"Content-Encoding": "gzip"})
            response = self._connection.getresponse()
            answer = _Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if problem := _why_no_router(error):
                raise InvalidRequest(f"--url {self._url}: {problem}", url=self._url) from None
            return _Again(_reason(error), None)
        if answer.status in _RETRIED:
            return _Again(f"{answer.status} {_message(answer.body)}", _retry_after_s(answer.headers))
        return answer

    def _written(self, answer: _Answer, attempts: int) -> Written:
        token = answer.headers.get(TOKEN_HEADER, "")
        if answer.status == http.client.NO_CONTENT:
            return Written(token, 0, [], attempts, *_dropped(answer))
        if refused := _refused_lines(answer.body):
            return Written(token, _refused_count(answer.body, refused), refused, attempts, *_dropped(answer))
        problem = f"{self._url}: the write was refused: {answer.status} {_message(answer.body)}"
        if answer.status >= http.client.INTERNAL_SERVER_ERROR:
            raise PenstockError(problem, status=answer.status)
        if answer.status in _NO_ROUTER:
            problem += f"; correct --url: {_FORM}, of a router"
        raise InvalidRequest(problem, status=answer.status)


def _router(url: str, timeout_s: float) -> tuple[http.client.HTTPConnection, str]:
    """The connection that `url` names, not opened yet, and the path before the router's. Raises InvalidRequest."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("it names no host" if parts.scheme in ("http", "https") else "it is not an http:// URL")
        if parts.query or parts.fragment or _OF_AN_API.search(parts.path):
            raise ValueError("it names more than a router; path and parameters of a write are added to it")
    except ValueError as error:
        raise InvalidRequest(f"--url {url!r}: {error}; {_FORM}, or http://[::1]:8086", url=url) from None
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(unquote(host), port, timeout=timeout_s), parts.path.rstrip("/")


def _why_no_router(error: OSError | http.client.HTTPException) -> str:
    """Why what answered is no router, and will be none; "" for what may pass."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is refused: {error.verify_message}; SSL_CERT_FILE names another authority's"
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return ""
        case ssl.SSLError():
            return f"no TLS is spoken there ({error.reason}): a router speaks plain HTTP; {_FORM}"
        case http.client.RemoteDisconnected():
            return ""
        case http.client.BadStatusLine() if not "HTTP/".startswith(error.args[0][:5]):
            return f"no HTTP/1 is spoken there: is it the Flight port of an ingester? {_FORM}, 8086 by default"
    return ""


def _reason(error: OSError | http.client.HTTPException) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return reason or str(error) or type(error).__name__


def _retry_after_s(headers: http.client.HTTPMessage) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _message(body: bytes) -> str:
    document = _document(body)
    return str(document.get("message") or document.get("error") or body[:200].decode(errors="replace")).strip()


def _refused_lines(body: bytes) -> list[RefusedLine]:
    lines = _document(body).get("data")
    if not isinstance(lines, list):
        return []
    return [RefusedLine(line["line_number"], line["error_message"]) for line in lines]


def _dropped(answer: _Answer) -> tuple[int, list[RefusedLine]]:
    """How many fields were left out of stored lines, and those named: the first by a header, more by a body."""
    found = _DROPPED.fullmatch(answer.headers.get(_DROPPED_HEADER, ""))
    listed = _document(answer.body).get("dropped_fields")
    if isinstance(listed, list):
        dropped = [
            RefusedLine(one["line_number"], f"field '{one['field']}' left out, the name is reserved") for one in listed
        ]
        return max(len(dropped), int(found[1]) if found else 0), dropped
    return (int(found[1]), [RefusedLine(int(found[2]), found[3])]) if found else (0, [])


def _refused_count(body: bytes, listed: list[RefusedLine]) -> int:
    """`refused_count` counts all; `data` lists the first of them."""
    counted = _document(body).get("refused_count")
    return counted if isinstance(counted, int) else len(listed)
