"""HTTP to durable acknowledgement: how much line protocol a router takes, and how long a write waits.

A router process over a write buffer of 4 sequencers: a file log, or a real Redis or Kafka on loopback. A client process
with keep-alive connections sends devops lines (about 420 bytes, nine tables), on each connection the next body as soon
as the 204 is there, which is once every record is durable. Bodies are made beforehand. Each case is warmed up, then run
several times; printed are medians over the runs. Client and router share this machine's cores. CPU is that of the
router and its parsers, over warm-up and runs.

    python -m bench.http_ack [--seconds 3] [--runs 5] [--cases 1MBx4,5KBx256] [--parsers N] [--buffer kafka]
                             [--folder DIR] [--json]
"""

import argparse
import asyncio
import http.client
import itertools
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import numpy as np

from bench._buffers import place
from bench._measure import MB, median, report, spread
from common.http.server import new_event_loop
from common.values.config import ClusterConfig, RetentionConfig, RouterConfig
from penstock.writing.devops import DevopsLines
from router.main import run

SEQUENCERS = 4
HOSTS = 100
START_NS = 1_750_000_000_000_000_000
WARM_UP_S = 1.0
_READY_TIMEOUT_S = 60.0
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Case:
    """body_bytes: about; a body ends with a line. bodies: different ones that a connection sends in turn."""

    name: str
    body_bytes: int
    connections: int
    bodies: int


CASES = (
    Case("1MBx4", 1_000_000, 4, 4),
    Case("100KBx4", 100_000, 4, 20),
    Case("5KBx256", 5_000, 256, 20),
    Case("5KBx32", 5_000, 32, 20),
)
_ALL = ",".join(case.name for case in CASES)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run."""

    mb_per_s: float
    lines_per_s: float
    writes_per_s: float
    p50_ms: float
    p99_ms: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Write:
    """A whole HTTP request, its body's size and lines."""

    request: bytes
    body_bytes: int
    lines: int


def writes(case: Case, connection: int, port: int) -> list[Write]:
    """What one connection sends; the connections' hosts are disjoint, so that every series has one writer."""
    source = DevopsLines(
        seed=7, hosts=max(HOSTS, case.connections), start_ns=START_NS, worker=connection, workers=case.connections
    )
    lines = source.lines()
    return [_write(lines, case.body_bytes, port) for _ in range(case.bodies)]


def _write(lines: Iterator[bytes], body_bytes: int, port: int) -> Write:
    body: list[bytes] = []
    size = 0
    while size < body_bytes:
        body.append(next(lines) + b"\n")
        size += len(body[-1])
    head = f"POST /api/v2/write?bucket=bench HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {size}\r\n\r\n"
    return Write(head.encode() + b"".join(body), size, len(body))


class Client(asyncio.Protocol):
    """One connection in a closed loop: write, await the 204, write again, until the end."""

    def __init__(self, to_send: Iterator[Write], end_s: float) -> None:
        self.latencies_s: list[float] = []
        self.sent: list[Write] = []
        self.done = asyncio.get_running_loop().create_future()
        self._to_send = to_send
        self._end_s = end_s
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass of asyncio's
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(b"\r\n\r\n"):
            return
        if not self._answer.startswith(b"HTTP/1.1 204 "):
            self.done.set_exception(RuntimeError(f"not acknowledged: {self._answer[:500]!r}"))
            return
        now_s = time.perf_counter()
        self.latencies_s.append(now_s - self._sent_s)
        self.sent.append(self._current)
        self._answer = b""
        if now_s < self._end_s:
            self._send()
        else:
            self.done.set_result(None)

    def take_sent(self) -> Sequence[Write]:
        """What was acknowledged since the last call."""
        taken, self.sent = self.sent, []
        return taken

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"connection lost: {error}, {self._answer[:500]!r}"))

    def _send(self) -> None:
        self._current = next(self._to_send)
        self._sent_s = time.perf_counter()
        self._transport.write(self._current.request)


async def one_run(of_connection: Sequence[Sequence[Write]], port: int, seconds: float) -> Figures:
    """One measurement; ends when the last write that began in time is answered."""
    loop = asyncio.get_running_loop()
    start_s = time.perf_counter()
    connections = [
        await loop.create_connection(partial(Client, itertools.cycle(to_send), start_s + seconds), "127.0.0.1", port)
        for to_send in of_connection
    ]
    clients = [client for _, client in connections]
    await asyncio.gather(*(client.done for client in clients))
    elapsed_s = time.perf_counter() - start_s
    for transport, _ in connections:
        transport.close()
    latencies_ms = 1000 * np.concatenate([client.latencies_s for client in clients])
    sent = [write for client in clients for write in client.sent]
    return Figures(
        mb_per_s=sum(write.body_bytes for write in sent) / elapsed_s / MB,
        lines_per_s=sum(write.lines for write in sent) / elapsed_s,
        writes_per_s=len(sent) / elapsed_s,
        p50_ms=float(np.percentile(latencies_ms, 50)),
        p99_ms=float(np.percentile(latencies_ms, 99)),
        seconds=elapsed_s,
    )


def measure(case: Case, port: int, seconds: float, runs: int, results: Connection) -> None:
    """The client process: warms up, then sends the Figures of every run."""
    of_connection = [writes(case, connection, port) for connection in range(case.connections)]
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        first = runner.run(one_run(of_connection, port, min(seconds, WARM_UP_S)))
        results.send([first, *(runner.run(one_run(of_connection, port, seconds)) for _ in range(runs))])


@dataclass(frozen=True, slots=True)
class Measured:
    """cpu_s_per_million_rows: of the router and its child processes, the start not counted."""

    figures: Sequence[Figures]
    cpu_s_per_million_rows: float


def measured(case: Case, folder: Path, seconds: float, runs: int, parsers: int, write_buffer: str = "") -> Measured:
    """One case against a router and a log of its own."""
    with router(folder, parsers, write_buffer) as (port, pid):
        started_s = cpu_s(pid)
        ours, theirs = _spawn.Pipe(duplex=False)
        client = _spawn.Process(target=measure, args=(case, port, seconds, runs, theirs), daemon=True)
        client.start()
        theirs.close()
        try:
            figures: list[Figures] = ours.recv()
        except EOFError:
            raise SystemExit(f"{case.name}: the client failed; its trace is above") from None
        finally:
            client.join()
        used_s = cpu_s(pid) - started_s
    rows = sum(one.lines_per_s * one.seconds for one in figures)
    return Measured(figures[1:], used_s / rows * 1e6)


def cpu_s(pid: int) -> float:
    """What a process and its children have used so far, those that ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK") + sum(cpu_s(int(child)) for child in children)


@contextmanager
def router(folder: Path, parsers: int, write_buffer: str = "") -> Iterator[tuple[int, int]]:
    """A router process on a free port; yields the port and the process's id once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    cluster = ClusterConfig(data=str(folder), sequencers=SEQUENCERS, write_buffer=write_buffer)
    process = _spawn.Process(
        target=run, args=(cluster, RouterConfig(port=port, parsers=parsers), RetentionConfig()), daemon=True
    )
    process.start()
    try:
        _await_ready(port)
        yield port, process.pid or 0
    finally:
        process.terminate()
        process.join()


def _await_ready(port: int) -> None:
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while not _is_ready(port):
        if time.monotonic() > deadline_s:
            raise SystemExit(f"the router on port {port} was not ready within {_READY_TIMEOUT_S:g} s")
        time.sleep(0.05)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def medians(figures: Sequence[Figures]) -> Mapping[str, float]:
    return {
        "mb_per_s": round(median([one.mb_per_s for one in figures]), 2),
        "lines_per_s": round(median([one.lines_per_s for one in figures])),
        "writes_per_s": round(median([one.writes_per_s for one in figures]), 1),
        "p50_ms": round(median([one.p50_ms for one in figures]), 1),
        "p99_ms": round(median([one.p99_ms for one in figures]), 1),
    }


def main() -> None:
    options = _options()
    values = {}
    lines = [f"medians of {options.runs} runs of {options.seconds:g} s each, {SEQUENCERS} sequencers, devops lines"]
    for case in CASES:
        if case.name not in options.cases.split(","):
            continue
        with tempfile.TemporaryDirectory(dir=options.folder) as base:
            folder = Path(base)
            with place(options.buffer, folder / options.buffer) as at:
                url = at.unused_url()
                result = measured(case, folder / "data", options.seconds, options.runs, options.parsers, url)
        figures, found = result.figures, medians(result.figures)
        cpu = round(result.cpu_s_per_million_rows, 1)
        values[case.name] = {**found, "cpu_s_per_million_rows": cpu}
        lines.append(
            f"{case.name}: "
            f"{found['mb_per_s']} MB/s ({spread([one.mb_per_s for one in figures])}), "
            f"{found['lines_per_s']} lines/s, {found['writes_per_s']} writes/s, "
            f"p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms, {cpu} CPU s for 1 M rows"
        )
    report(lines, {"runs": options.runs, "seconds": options.seconds, "cases": values}, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement (3)")
    parser.add_argument("--runs", type=int, default=5, help="measurements of each case (5)")
    parser.add_argument("--cases", default=_ALL, help=f"which of {_ALL} (all)")
    parser.add_argument("--parsers", type=int, default=0, help="worker processes (one for each core, at most 2)")
    parser.add_argument("--buffer", default="file", choices=("file", "redis", "kafka"), help="write buffer (file)")
    parser.add_argument("--folder", default=None, help="on the disk to measure (default: the temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
