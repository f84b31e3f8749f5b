"""The router's figures at one glance, as JSON values."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

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
    """JSON values, the most asked for first."""
    return {
        "process": "router",
        "ready": not service.waiting_for,
        "waiting_for": service.waiting_for,
        "version": about.version,
        "up": up,
        "cluster_id": about.cluster_id,
        "sequencers": about.sequencers,
        "write_buffer": without_password(about.write_buffer),
        "store": without_password(about.store),
        "last_offsets": {str(one): service.last_offsets[one] for one in sorted(service.last_offsets)},
        **service.figures(),
        **metrics.totals(),
    }


def without_password(url: str) -> str:
    """`url` as it may be shown."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc="…@" + parts.netloc.rpartition("@")[2]).geturl()
