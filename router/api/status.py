"""The router's figures on one page, as JSON values."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.values.urls import redacted
from router.metrics import RouterMetrics
from router.service import RouterService


@dataclass(frozen=True, slots=True)
class About:
    """What does not change while a router runs. write_buffer, store: their URLs."""

    version: str
    cluster_id: str
    sequencers: int
    write_buffer: str
    store: str
    started_ns: int


def status(about: About, service: RouterService, metrics: RouterMetrics, up: str) -> Mapping[str, object]:
    """JSON values, the most important first."""
    return {
        "process": "router",
        "ready": not service.waiting_for,
        "waiting_for": service.waiting_for,
        "version": about.version,
        "up": up,
        "cluster_id": about.cluster_id,
        "sequencers": about.sequencers,
        "write_buffer": redacted(about.write_buffer),
        "store": redacted(about.store),
        "last_offsets": {str(one): service.last_offsets[one] for one in sorted(service.last_offsets)},
        **service.figures(),
        **metrics.totals(),
        "workers": service.workers(),
    }
