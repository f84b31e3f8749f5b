"""What an ingester serves over HTTP: /health, /ready, /metrics, /status (JSON) and a page for people at /."""

import html
import os
from collections.abc import Callable
from typing import Any

from common.httpserver import App, Request, Response, html_response, json_response, metrics_response
from common.ids import SequencerId
from common.logs import Logger
from ingester.metrics import IngesterCollector
from ingester.query import Published
from ingester.service import IngesterService


class Status:
    """What this process can say of itself, from before its claim to its end."""

    def __init__(self, sequencer: SequencerId, published: Published) -> None:
        self._sequencer = sequencer
        self._published = published
        self.service: IngesterService | None = None
        self.stopping = False

    @property
    def state(self) -> str:
        """starting (not claimed yet), replaying, live, waiting (the write buffer is away) or stopping."""
        if self.stopping:
            return "stopping"
        if self.service is None:
            return "starting"
        if not self.service.poller.reachable:
            return "waiting"
        return "live" if self._published.is_ready else "replaying"

    @property
    def is_ready(self) -> bool:
        return self.state == "live"

    def to_json(self) -> dict[str, Any]:
        """`penstock status` reads it. Offsets and counts are null before the claim."""
        values: dict[str, Any] = {"sequencer": self._sequencer, "state": self.state, "pid": os.getpid()}
        if self.service is not None:
            values |= _figures(self.service)
        return values


def _figures(service: IngesterService) -> dict[str, Any]:
    core = service.core
    return {
        "epoch": core.state.epoch,
        "applied_offset": core.applied_offset,
        "replay_offset": core.state.replay_offset,
        "next_offset": service.next_offset,
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
            return json_response(200, {"status": "ready"})
        return json_response(503, {"status": status.state}, {"Retry-After": "1"})

    async def metrics(request: Request) -> Response:
        if status.service is None:
            return json_response(503, {"status": status.state}, {"Retry-After": "1"})
        return metrics_response(IngesterCollector(status.service).registry)

    async def values(request: Request) -> Response:
        return json_response(200, status.to_json())

    async def page(request: Request) -> Response:
        return html_response(_page(status.to_json()))

    get: Callable[[Any], dict[str, Any]] = lambda handler: {"GET": handler}
    return App(
        {
            "/": get(page),
            "/status": get(values),
            "/metrics": get(metrics),
            **{path: get(health) for path in ("/health", "/healthz", "/livez")},
            **{path: get(ready) for path in ("/ready", "/readyz")},
        },
        logger,
    )


_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:40rem;padding:0 1rem;color:#1c2530}
h1{font-size:1.3rem}table{border-collapse:collapse;width:100%}
td{padding:.3rem .6rem;border-bottom:1px solid #dde3ea}td+td{text-align:right;font-variant-numeric:tabular-nums}"""


def _page(values: dict[str, Any]) -> str:
    flat = {**values, **{f"rows {name}": count for name, count in values.get("accounts", {}).items()}}
    flat.pop("accounts", None)
    rows = "".join(
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{_shown(value)}</td></tr>"
        for name, value in flat.items()
    )
    title = f"penstock ingester {values['sequencer']}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><table>{rows}</table>"
        '<p><a href="/metrics">metrics</a> · <a href="/status">status as JSON</a></p></html>'
    )


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return html.escape("–" if value is None else str(value))
