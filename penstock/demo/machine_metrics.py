"""This machine's live metrics: CPU, memory, disk, network, processes, as the points that influxdb-client accepts."""

import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psutil

PROCESSES = 5

Point = dict[str, Any]


def sample() -> list[Point]:
    """One look at the machine; every point carries the same host and time (ns)."""
    host, now_ns = socket.gethostname(), time.time_ns()
    points = [*_cpu(), _memory(), _disk(), *_network(), *_processes()]
    return [{**point, "tags": {**point["tags"], "host": host}, "time": now_ns} for point in points]


def _point(measurement: str, tags: Mapping[str, str], **fields: float) -> Point:
    return {"measurement": measurement, "tags": tags, "fields": fields}


def _cpu() -> Iterator[Point]:
    for number, times in enumerate(psutil.cpu_times(percpu=True)):
        yield _point("live_cpu", {"cpu": f"cpu{number}"}, user_s=times.user, system_s=times.system)


def _memory() -> Point:
    memory = psutil.virtual_memory()
    return _point("live_memory", {}, total_bytes=memory.total, available_bytes=memory.available)


def _disk() -> Point:
    disk = psutil.disk_usage("/")
    return _point("live_disk", {"path": "/"}, free_bytes=disk.free, used_percent=float(disk.percent))


def _network() -> Iterator[Point]:
    for name, counters in psutil.net_io_counters(pernic=True).items():
        yield _point(
            "live_network",
            {"interface": name},
            sent_bytes=counters.bytes_sent,
            received_bytes=counters.bytes_recv,
        )


def _processes() -> Iterator[Point]:
    """The largest by resident memory."""
    found = [process.info for process in psutil.process_iter(["pid", "name", "memory_info"])]
    found = [info for info in found if info["memory_info"] is not None]
    for info in sorted(found, key=lambda info: info["memory_info"].rss, reverse=True)[:PROCESSES]:
        tags = {"name": info["name"] or "?", "pid": str(info["pid"])}
        yield _point("live_processes", tags, resident_bytes=info["memory_info"].rss)
