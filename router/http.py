"""The router's HTTP side: InfluxDB's v2 write, what its clients ask beside it, and what an operator looks at.

POST /api/v2/write?bucket=NAMESPACE[&precision=ns|us|ms|s]   204, or JSON {"code", "message", …}
GET  /ping /health /ready /metrics, with /healthz /livez /readyz   no parameters
GET  / /status   the same figures for people and for scripts
"""

import json
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import urlsplit

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
from router import answers
from router.admission import Admission
from router.answers import Answer
from router.body import BodyReader, BodyRefused
from router.events import WriteRequest
from router.metrics import RouterMetrics
from router.service import RouterService

NAMESPACE_BYTES_MAX = 511
"""InfluxDB 3's limit; a record's header block has room for it."""

PRECISIONS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class About:
    """What the router says of itself. write_buffer: its URL. durability: what an acknowledgement means."""

    version: str
    cluster_id: str
    sequencers: int
    write_buffer: str
    store: str
    started_ns: int


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
        routes = {
            "/api/v2/write": {"POST": self._write},
            "/ping": {"GET": self._ping},
            "/health": {"GET": self._health},
            "/healthz": {"GET": self._health},
            "/livez": {"GET": self._health},
            "/ready": {"GET": self._ready},
            "/readyz": {"GET": self._ready},
            "/metrics": {"GET": self._show_metrics},
            "/": {"GET": self._page},
            "/status": {"GET": self._status},
        }
        self.app = App(routes, log, self._headers_of)
