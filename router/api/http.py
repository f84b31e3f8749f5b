"""The router's HTTP side: InfluxDB's writes, what else its clients ask for, and what an operator looks at.

POST /write          v1.py; GET and POST /query: v1_query.py
POST /api/v2/write   v2.py; /api/v2/signin, /api/v2/signout: before and after it, where a client has a password
POST /api/v3/write_lp   v3.py; /api/v3/write_arrow: v3_arrow.py
GET  /ping /health /ready /metrics, with /healthz /livez /readyz   no parameters
GET  / /status   the same figures for people and for scripts
"""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from common.http.app import (
    App,
    Request,
    Response,
    Routes,
    error_response,
    html_response,
    json_response,
    metrics_response,
)
from common.http.status_page import status_page
from common.logs import Logger
from common.values.clock import Clock
from common.values.token import TOKEN_HEADER
from router.api import v1, v2, v3, v3_arrow
from router.api.client_texts import RETRY_AFTER_S
from router.api.not_served import advice
from router.api.status import About, status
from router.api.v1_query import QueryV1
from router.api.writing import DROPPED_HEADER, Writes
from router.core.admission import Admission
from router.core.rates import ClientRates
from router.metrics import RouterMetrics
from router.service import RouterService

NO_RATES = ClientRates()
_REQUEST_ID_CHARS_MAX = 128
_SESSION = "influxdb-oss-session=any; Path=/api/; HttpOnly; SameSite=Strict"
"""InfluxDB 2's name of it."""
_EXPOSED = f"Date, X-Influxdb-Version, X-Influxdb-Build, Request-Id, Retry-After, {TOKEN_HEADER}, {DROPPED_HEADER}"
_ACCEPTED = "Authorization, Content-Encoding, Content-Type, Accept"
_PREFLIGHT_AGE_S = 86_400
"""So long a browser need not ask again whether it may send."""


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
        rates: ClientRates = NO_RATES,
        namespaces: Callable[[], list[str]],
        store_away: Callable[[], str] = lambda: "",
    ) -> None:
        """namespaces: those of the object store; may raise PenstockError.

        store_away: why the store cannot be used, "" if it can. Writes of known columns do not need it.
        """
        self._service = service
        self._metrics = metrics
        self._about = about
        self._clock = clock
        self._store_away = store_away
        writes = Writes(service, admission, metrics, clock, body_bytes_max=body_bytes_max, rates=rates)
        self.app = App(self._routes(writes, QueryV1(namespaces)), log, self._headers_of, advice)

    def _routes(self, writes: Writes, query: QueryV1) -> Routes:
        health = {"GET": self._health}
        ready = {"GET": self._ready}
        return {
            "/write": {"POST": writes.handler(v1.target, v1.render)},
            "/query": {"GET": query.answer, "POST": query.answer},
            "/api/v2/signin": {"POST": self._sign_in},
            "/api/v2/signout": {"POST": self._sign_out},
            "/api/v2/write": {"POST": writes.handler(v2.target, v2.render)},
            "/api/v3/write_lp": {"POST": writes.handler(v3.target, v3.render)},
            "/api/v3/write_arrow": {"POST": writes.handler(v3_arrow.target, v3_arrow.render)},
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

    async def _ping(self, request: Request) -> Response:
        wants_json = "application/json" in request.headers.get("accept", "")
        if not wants_json and request.query().get("verbose", "") not in ("1", "true"):
            return Response(204)
        return json_response(200, {"product_name": "penstock", "version": self._about.version})

    async def _sign_in(self, request: Request) -> Response:
        """A client with user and password brings the cookie with each write. Like any token, it is not looked at."""
        return Response(204, headers={"Set-Cookie": _SESSION})

    async def _sign_out(self, request: Request) -> Response:
        return Response(204)

    async def _health(self, request: Request) -> Response:
        """Being up is enough: restarting a router would not bring an absent buffer back; /ready reports that."""
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
            retry = {"Retry-After": str(RETRY_AFTER_S)}
            return error_response(503, "unavailable", f"not ready: {waiting_for}", retry)
        started = datetime.fromtimestamp(self._about.started_ns / 1e9, UTC).isoformat()
        values = {"status": "ready", "pid": os.getpid(), "started": started, "up": self._up()}
        return json_response(200, values | {"store_away": self._store_away()})

    async def _show_metrics(self, request: Request) -> Response:
        return metrics_response(self._metrics.registry)

    async def _status(self, request: Request) -> Response:
        return json_response(200, self._figures())

    async def _page(self, request: Request) -> Response:
        return html_response(status_page("penstock router", self._figures()))

    def _figures(self) -> Mapping[str, object]:
        return {**status(self._about, self._service, self._metrics, self._up()), "store_away": self._store_away()}

    def _up(self) -> str:
        """How long this router runs, as Go writes durations."""
        seconds = max(0, self._clock.now_ns() - self._about.started_ns) // 1_000_000_000
        return f"{seconds // 3600}h{seconds // 60 % 60}m{seconds % 60}s"

    def _headers_of(self, request: Request) -> Mapping[str, str]:
        """What InfluxDB puts on every response; clients that look for a version read the header first."""
        asked = request.headers.get("x-request-id") or request.headers.get("request-id") or os.urandom(16).hex()
        request_id = asked[:_REQUEST_ID_CHARS_MAX]
        return {
            **_cross_origin(request),
            "X-Influxdb-Version": self._about.version,
            "X-Influxdb-Build": "penstock",
            "X-Request-Id": request_id,
            "Request-Id": request_id,
        }


def _cross_origin(request: Request) -> Mapping[str, str]:
    """What lets a page of another origin use the APIs (CORS), as InfluxDB allows it to any."""
    origin = request.headers.get("origin", "")
    if not origin:
        return {}
    headers = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED, "Vary": "Origin"}
    if request.method == "OPTIONS":
        headers |= {
            "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
            "Access-Control-Allow-Headers": request.headers.get("access-control-request-headers", _ACCEPTED),
            "Access-Control-Max-Age": str(_PREFLIGHT_AGE_S),
        }
    return headers
