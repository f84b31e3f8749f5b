"""What an ingester serves over HTTP: /health, /ready, /metrics, /status (JSON), a page for people at /, and /swap.

POST /swap is for penstock's own commands: it names files that they made in the sequencer's manifest (swap.py).
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

from common.catalog.joined_store import JoinedStore
from common.catalog.manifest.swap import Swap
from common.http.app import App, Request, Response, error_response, html_response, json_response, metrics_response
from common.http.status_page import status_page
from common.logs import Logger
from common.values.errors import InvalidRequest, Unavailable
from common.values.ids import SequencerId
from ingester.service import IngesterService
from ingester.serving.metrics import IngesterCollector
from ingester.serving.published import Published

SWAP_BYTES_MAX = 64 * 1024 * 1024
SWAP_TIMEOUT_S = 30.0


class Status:
    """What this process can say of itself, from before its claim to its end."""

    def __init__(self, sequencer: SequencerId, published: Published, store: JoinedStore) -> None:
        self._sequencer = sequencer
        self._published = published
        self.service: IngesterService | None = None
        self._store = store
        self.stopping = False

    @property
    def state(self) -> str:
        """starting (not claimed yet), replaying, live, waiting (`waiting_for` says for what) or stopping."""
        if self.stopping or (self.service is not None and self.service.core.ending):
            return "stopping"
        if self.service is None:
            return "starting"
        if self.waiting_for:
            return "waiting"
        return "live" if self._published.is_ready else "replaying"

    @property
    def waiting_for(self) -> str:
        """Why the store or the write buffer cannot be used now; "" if both can."""
        if reason := self._store.unusable:
            return reason
        if self.service is not None and not self.service.poller.reachable:
            return "the write buffer is away; the log has the reason"
        return ""

    @property
    def is_ready(self) -> bool:
        return self.state == "live"

    @property
    def ready_in_s(self) -> float | None:
        """About how long the records that were in the buffer at the start will take; None where that is not known."""
        left_s = self._published.seconds_left
        return None if left_s is None else round(left_s, 1)

    def to_json(self) -> dict[str, Any]:
        """`penstock status` reads it. Offsets and counts are null before the claim."""
        values: dict[str, Any] = {"sequencer": self._sequencer, "state": self.state, "pid": os.getpid()}
        values["waiting_for"] = self.waiting_for
        values["ready_in_s"] = self.ready_in_s
        if self.service is not None:
            values |= _figures(self.service)
        return values


def _figures(service: IngesterService) -> dict[str, Any]:
    core = service.core
    return {
        "epoch": core.state.epoch,
        "applied_offset": core.applied_offset,
        "persisted_offset": core.state.replay_offset,
        "next_offset": service.next_offset,
        "log_bytes": core.log_bytes,
        "log_records": core.log_records,
        "rows_buffered": core.rows_buffered,
        "bytes_buffered": core.bytes_buffered,
        "files": len(core.state.files),
        "manifest_number": core.state.number,
        "persist_jobs": core.jobs_running,
        "paused": core.paused,
        "accounts": core.accounts.to_json(),
    }


def make_app(status: Status, logger: Logger) -> App:
    async def health(request: Request) -> Response:
        return json_response(200, {"name": "penstock-ingester", "status": "pass", "message": status.state})

    async def ready(request: Request) -> Response:
        if status.is_ready:
            return json_response(200, {"status": "ready", "pid": os.getpid()})
        values = {"status": status.state, "reason": status.waiting_for, "ready_in_s": status.ready_in_s}
        return json_response(503, values, {"Retry-After": "1"})

    async def metrics(request: Request) -> Response:
        if status.service is None:
            return json_response(503, {"status": status.state}, {"Retry-After": "1"})
        return metrics_response(IngesterCollector(status.service).registry)

    async def values(request: Request) -> Response:
        return json_response(200, status.to_json())

    async def swap(request: Request) -> Response:
        return await _swapped(status, request)

    async def page(request: Request) -> Response:
        values = status.to_json()
        return html_response(status_page(f"penstock ingester {values['sequencer']}", values))

    get: Callable[[Any], dict[str, Any]] = lambda handler: {"GET": handler}
    return App(
        {
            "/": get(page),
            "/status": get(values),
            "/metrics": get(metrics),
            "/swap": {"POST": swap},
            **{path: get(health) for path in ("/health", "/healthz", "/livez")},
            **{path: get(ready) for path in ("/ready", "/readyz")},
        },
        logger,
    )


async def _swapped(status: Status, request: Request) -> Response:
    """200 with the number of the record that names the files; 409 where they have to be made again."""
    body = bytearray()
    async for part in request.parts():
        body += part
        if len(body) > SWAP_BYTES_MAX:
            return error_response(413, "request too large", f"a swap has at most {SWAP_BYTES_MAX} bytes")
    try:
        swap = Swap.from_json(json.loads(body))
    except (ValueError, InvalidRequest) as error:
        return error_response(400, "invalid", f"no swap: {error}")
    if status.service is None or swap.sequencer != status.service.core.state.sequencer:
        return error_response(
            503, "unavailable", f"sequencer {swap.sequencer} is not claimed here", {"Retry-After": "1"}
        )
    try:
        answer = await asyncio.wait_for(asyncio.wrap_future(status.service.swap(swap)), SWAP_TIMEOUT_S)
    except (Unavailable, TimeoutError) as error:
        return error_response(503, "unavailable", str(error) or "not committed yet: ask again", {"Retry-After": "1"})
    if answer.number is None:
        return error_response(409, "conflict", answer.refusal)
    return json_response(200, {"manifest_number": answer.number})
