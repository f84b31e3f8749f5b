"""The router's HTTP side: InfluxDB's v2 write, what its clients ask beside it, and what an operator looks at.

POST /api/v2/write?bucket=NAMESPACE[&precision=ns|us|ms|s]   204, or JSON {"code", "message", …}
GET  /ping /health /ready /metrics, with /healthz /livez /readyz   no parameters
GET  / /status   the same figures for people and for scripts
"""

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from common.clock import Clock
from common.httpserver import (
    App,
    Request,
    Response,
    error_response,
    html_response,
    json_response,
    metrics_response,
)
from common.logs import Logger
from common.statuspage import status_page
from router import answers
from router.admission import Admission
from router.body import BodyReader, WriteRefused
from router.events import WriteRequest
from router.metrics import RouterMetrics
from router.service import RouterService
from router.status import About, status

NAMESPACE_BYTES_MAX = 511
"""InfluxDB 3's limit; a record's header block has room for it."""

PRECISIONS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID_CHARS_MAX = 128


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a write goes, as its parameters say."""

    namespace: str
    precision_ns: int


class RouterHttp:
    """The handlers. `app` is what a server runs."""

    def __init__(
        self,
        service: RouterService,
        admission: Admission,
        metrics: RouterMetrics,
        about: About,
        clock: Clock,
        log: Logger,
        *,
        body_bytes_max: int,
    ) -> None:
        self._service = service
        self._admission = admission
        self._metrics = metrics
        self._about = about
        self._clock = clock
        self._body_bytes_max = body_bytes_max
        health = {"GET": self._health}
        ready = {"GET": self._ready}
        routes = {
            "/api/v2/write": {"POST": self._write},
            "/ping": {"GET": self._ping},
            "/health": health,
            "/healthz": health,
            "/livez": health,
            "/ready": ready,
            "/readyz": ready,
            "/metrics": {"GET": self._show_metrics},
            "/": {"GET": self._page},
            "/status": {"GET": self._status},
        }
        self.app = App(routes, log, self._headers_of)

    async def _write(self, request: Request) -> Response:
        started_s = self._clock.monotonic_s()
        try:
            target = _target(request.query())
            with BodyReader(self._admission, self._body_bytes_max) as reader:
                body = await reader.read(request)
            size = len(body)
            answer = await self._service.write(
                WriteRequest(target.namespace, body, target.precision_ns, _trace_parent(request))
            )
        except WriteRefused as refused:
            size, answer = 0, refused.answer
        self._metrics.answered(answer, self._clock.monotonic_s() - started_s, size)
        return Response(answer.status, answer.body, "application/json; charset=utf-8", answer.headers)

    async def _ping(self, request: Request) -> Response:
        wants_json = "application/json" in request.headers.get("accept", "")
        if not wants_json and request.query().get("verbose", "") not in ("1", "true"):
            return Response(204)
        return json_response(200, {"product_name": "penstock", "version": self._about.version})

    async def _health(self, request: Request) -> Response:
        """Being up is enough: restarting a router would not bring an absent buffer back; /ready tells of that."""
        waiting_for = self._service.waiting_for
        return json_response(
            200,
            {
                "name": "penstock",
                "status": "pass",
                "message": waiting_for or "ready for queries and writes",
                "checks": [],
                "version": self._about.version,
                "commit": "",
            },
        )

    async def _ready(self, request: Request) -> Response:
        if waiting_for := self._service.waiting_for:
            retry = {"Retry-After": str(answers.RETRY_AFTER_S)}
            return error_response(503, "unavailable", f"not ready: {waiting_for}", retry)
        started = datetime.fromtimestamp(self._about.started_ns / 1e9, UTC).isoformat()
        return json_response(200, {"status": "ready", "pid": os.getpid(), "started": started, "up": self._up()})

    async def _show_metrics(self, request: Request) -> Response:
        return metrics_response(self._metrics.registry)

    async def _status(self, request: Request) -> Response:
        return json_response(200, self._figures())

    async def _page(self, request: Request) -> Response:
        return html_response(status_page("penstock router", self._figures()))

    def _figures(self) -> Mapping[str, object]:
        return status(self._about, self._service, self._metrics, self._up())

    def _up(self) -> str:
        """How long this router runs, as Go writes durations."""
        seconds = max(0, self._clock.now_ns() - self._about.started_ns) // 1_000_000_000
        return f"{seconds // 3600}h{seconds // 60 % 60}m{seconds % 60}s"

    def _headers_of(self, request: Request) -> Mapping[str, str]:
        """What InfluxDB puts on every response; version readers take the header first."""
        asked = request.headers.get("x-request-id") or request.headers.get("request-id") or str(uuid.uuid4())
        request_id = asked[:_REQUEST_ID_CHARS_MAX]
        return {
            "X-Influxdb-Version": self._about.version,
            "X-Influxdb-Build": "penstock",
            "X-Request-Id": request_id,
            "Request-Id": request_id,
        }


def _target(query: Mapping[str, str]) -> _Target:
    """Namespace and precision; other parameters (org, orgID, …) mean nothing here. Raises WriteRefused."""
    namespace = query.get("bucket", "")
    if not namespace:
        raise WriteRefused(answers.refused("bucket is missing: give ?bucket=NAMESPACE"))
    size = len(namespace.encode())
    if size > NAMESPACE_BYTES_MAX or "\0" in namespace:
        raise WriteRefused(
            answers.refused(f"bucket of {size} bytes: give at most {NAMESPACE_BYTES_MAX}, and no NUL among them")
        )
    precision = query.get("precision") or "ns"
    if precision not in PRECISIONS_NS:
        raise WriteRefused(answers.refused(f"invalid precision {precision[:40]!r}: use {', '.join(PRECISIONS_NS)}"))
    return _Target(namespace, PRECISIONS_NS[precision])


def _trace_parent(request: Request) -> str:
    """The W3C trace context, where the request brings a valid one."""
    given = request.headers.get("traceparent", "")
    return given if _TRACE_PARENT.fullmatch(given) else ""
