"""A cluster under load for long: does throughput hold, and memory stay flat, while ingesters persist?

Router and four ingesters as processes over a file log and a local store; a client process sends devops lines in bodies
of about 100 KB on 4 connections, each the next once the 204 is there, with times that go on, so that every row is new.
Ingesters persist after small ages, history is trimmed. Printed for each window: MB of line protocol a second, resident
memory of the router with its parsers and of all ingesters, the disk's use; then the CPU of a million rows, of all
processes but the client. All share this machine's cores.

    python -m bench.long_run [--seconds 75] [--windows 5] [--folder DIR] [--json]
"""

import argparse
import asyncio
import multiprocessing
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from bench._measure import MB, report
from bench.http_ack import Case as Bodies
from bench.http_ack import Client, Write, cpu_s, writes
from common.http.server import new_event_loop
from tests.support.process_cluster import ProcessCluster
from tests.support.watching import Memory

BODIES = Bodies("100KBx4", 100_000, 4, 20)
TICK_NS = 10 * 10**9
SETTINGS = {
    "late_arrival_window_s": "5",
    "persist_age_threshold_s": "10",
    "keep_age_s": "0",
    "keep_bytes": "0",
    "trim_interval_s": "5",
}
_TIME = re.compile(rb" (\d{19})\n")
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Window:
    mb_per_s: float
    lines_per_s: float
    router_mb: float
    ingesters_mb: float


def later(templates: Sequence[Write]) -> Iterator[Write]:
    """The same bodies again and again, each time with times that follow those of the last."""
    times = [sorted({int(found) for found in _TIME.findall(one.request)}) for one in templates]
    step_ns = max(map(max, times)) - min(map(min, times)) + TICK_NS
    shift_ns = 0
    while True:
        for template, own in zip(templates, times, strict=True):
            request = template.request
            for time_ns in reversed(own):
                request = request.replace(b" %d\n" % time_ns, b" %d\n" % (time_ns + shift_ns))
            yield Write(request, template.body_bytes, template.lines)
        shift_ns += step_ns


def send(port: int, seconds: float, windows: int, results: Connection) -> None:
    """The client process: sends, after each window, how many bytes and lines were acknowledged in it."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_send(port, seconds, windows, results))


async def _send(port: int, seconds: float, windows: int, results: Connection) -> None:
    loop = asyncio.get_running_loop()
    sources = [later(writes(BODIES, connection, port)) for connection in range(BODIES.connections)]
    results.send((0, 0, 0.0))
    end_s = time.perf_counter() + seconds
    clients = [
        (await loop.create_connection(partial(Client, source, end_s), "127.0.0.1", port))[1] for source in sources
    ]
    for _ in range(windows):
        began_s = time.perf_counter()
        await asyncio.wait([client.done for client in clients], timeout=seconds / windows)
        sent = [write for client in clients for write in client.take_sent()]
        elapsed_s = time.perf_counter() - began_s
        results.send((sum(one.body_bytes for one in sent), sum(one.lines for one in sent), elapsed_s))
    await asyncio.gather(*(client.done for client in clients))


def measured(folder: Path, seconds: float, windows: int) -> tuple[list[Window], float, float]:
    """The windows, the CPU seconds of a million rows, and the MB that store and log take at the end."""
    with ProcessCluster(folder, settings=SETTINGS) as cluster:
        pids = [cluster.pid(name) for name in cluster.names]
        memories = [Memory(pid) for pid in pids]
        ours, theirs = _spawn.Pipe(duplex=False)
        client = _spawn.Process(target=send, args=(cluster.port, seconds, windows, theirs), daemon=True)
        client.start()
        ours.recv()
        started_s = sum(map(cpu_s, pids))
        found = []
        rows = 0
        for _ in range(windows):
            size, lines, elapsed_s = ours.recv()
            rows += lines
            router, *ingesters = [memory.look() / MB for memory in memories]
            found.append(Window(size / MB / elapsed_s, lines / elapsed_s, router, sum(ingesters)))
        used_s = sum(map(cpu_s, pids)) - started_s
        client.join()
        disk = sum(path.stat().st_size for path in cluster.data.rglob("*") if path.is_file()) / MB
    return found, used_s / rows * 1e6, disk


def main() -> None:
    options = _options()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        windows, cpu, disk = measured(folder, options.seconds, options.windows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    total = sum(one.mb_per_s for one in windows) * options.seconds / options.windows
    lines = [f"{options.seconds:g} s in {options.windows} windows, {BODIES.name}, 4 sequencers, ingesters persisting"]
    lines += [
        f"{one.mb_per_s:.1f} MB/s, {one.lines_per_s:.0f} lines/s; router and parsers {one.router_mb:.0f} MB, "
        f"ingesters {one.ingesters_mb:.0f} MB"
        for one in windows
    ]
    lines.append(f"{total:.0f} MB in all; {cpu:.1f} CPU s for 1 M rows; log and store {disk:.0f} MB at the end")
    values = {
        "mb_per_s": [round(one.mb_per_s, 1) for one in windows],
        "router_mb": [round(one.router_mb) for one in windows],
        "ingesters_mb": [round(one.ingesters_mb) for one in windows],
        "cpu_s_per_million_rows": round(cpu, 1),
    }
    report(lines, values, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=75.0, help="length of the load (75)")
    parser.add_argument("--windows", type=int, default=5, help="parts of it that are printed (5)")
    parser.add_argument("--folder", default=None, help="on the disk to measure (default: the temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
