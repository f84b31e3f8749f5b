"""The router's figures at one glance, as JSON values and as a page for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
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


def page(figures: Mapping[str, object]) -> str:
    """The figures as a small page without scripts."""
    rows = "".join(f"<tr><th>{escape(name)}<td>{escape(str(value))}" for name, value in figures.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>penstock router</title>'
        "<style>body{font:16px sans-serif;margin:2em}th{text-align:left;padding-right:2em}</style>"
        f"<h1>penstock router</h1><table>{rows}</table>"
        '<p><a href="/status">JSON</a> <a href="/metrics">metrics</a> <a href="/health">health</a> '
        '<a href="/ready">ready</a>'
    )


def without_password(url: str) -> str:
    """`url` as it may be shown."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc="…@" + parts.netloc.rpartition("@")[2]).geturl()
