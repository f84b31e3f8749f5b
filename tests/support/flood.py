"""Clients that give a router no rest, as a process of its own: `python -m tests.support.flood '{"port": …}'`.

Each connection sends its next write as soon as the last one was answered, whatever the answer, and connects again when
it is closed. A write is one line of its own, `flood,c=CONNECTION n=NUMBERi NUMBER`, and lines that make it as long as
asked. Prints one JSON object: what was sent and answered, and which writes were acknowledged.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from typing import cast

from common.http.server import new_event_loop
from penstock.writing.devops import DevopsLines

ANSWER_TIMEOUT_S = 60.0
"""After the end: how long the last answers may take."""


@dataclass(frozen=True, slots=True)
class FloodPlan:
    """body_bytes: sizes of bodies, by turns among the connections. addresses: from which they connect, by turns."""

    port: int
    connections: int
    seconds: float
    body_bytes: Sequence[int] = (2_000, 20_000, 100_000)
    addresses: Sequence[str] = ("127.0.0.1",)


@dataclass(slots=True)
class FloodReport:
    """acknowledged: connection and number of each write that was answered 204. seconds: until the last answer."""

    offered: int = 0
    offered_bytes: int = 0
    accepted_bytes: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    without_retry_after: int = 0
    closed: int = 0
    seconds: float = 0.0
    accepted_ms: list[float] = field(default_factory=list)
    acknowledged: list[tuple[int, int]] = field(default_factory=list)

    @property
    def accepted_mb_per_s(self) -> float:
        return self.accepted_bytes / self.seconds / 1e6

    def __str__(self) -> str:
        return (
            f"offered {self.offered / self.seconds:.0f} writes/s, {self.offered_bytes / self.seconds / 1e6:.1f} MB/s; "
            f"accepted {len(self.acknowledged) / self.seconds:.0f} writes/s, {self.accepted_mb_per_s:.1f} MB/s; "
            f"answers {self.statuses}, {self.closed} connections closed"
        )


def start_flood(plan: FloodPlan) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.flood", json.dumps(asdict(plan))], stdout=subprocess.PIPE, text=True
    )


def end_flood(process: "subprocess.Popen[str]") -> FloodReport:
    """Wait for its end and read its report."""
    printed, _ = process.communicate()
    assert process.returncode == 0, f"the flood ended with {process.returncode}"
    report = FloodReport(**json.loads(printed))
    report.acknowledged = [(number, write) for number, write in report.acknowledged]
    return report


class _Client(asyncio.Protocol):
    """One connection; `done` once it is closed, or the last answer has come."""

    def __init__(self, number: int, start: int, filling: bytes, report: FloodReport, end_s: float) -> None:
        self.next = start
        self.done = asyncio.get_running_loop().create_future()
        self._number = number
        self._filling = filling
        self._report = report
        self._end_s = end_s
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, rest = self._answer.partition(b"\r\n\r\n")
        if not found or len(rest) < _length(head):
            return
        self._answer = b""
        self._count(head)
        if time.perf_counter() < self._end_s and b"connection: close" not in head.lower():
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self.next += 1
        line = f"flood,c={self._number} n={self.next}i {self.next}\n".encode()
        size = len(line) + len(self._filling)
        head = f"POST /api/v2/write?bucket=flood HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
        self._report.offered += 1
        self._report.offered_bytes += size
        self._size = size
        self._sent_s = time.perf_counter()
        self._transport.write(head + line + self._filling)

    def _count(self, head: bytes) -> None:
        status = head[9:12].decode()
        self._report.statuses[status] = self._report.statuses.get(status, 0) + 1
        if status == "204":
            self._report.acknowledged.append((self._number, self.next))
            self._report.accepted_bytes += self._size
            self._report.accepted_ms.append(1000 * (time.perf_counter() - self._sent_s))
        elif status == "503":
            self._report.without_retry_after += not _retry_after(head).isdigit()


def _length(head: bytes) -> int:
    return int(_header(head, b"content-length") or 0)


def _retry_after(head: bytes) -> bytes:
    return _header(head, b"retry-after")


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip()
    return b""


def _filling(size: int) -> bytes:
    """Lines of about `size` bytes."""
    source = DevopsLines(seed=7, hosts=20, start_ns=1_750_000_000_000_000_000, worker=0, workers=1).lines()
    lines = b""
    while len(lines) < size:
        lines += next(source) + b"\n"
    return lines


async def _connect(client: _Client, address: str, port: int) -> None:
    """From `address`."""
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: client, "127.0.0.1", port, local_addr=(address, 0))


async def _connection(plan: FloodPlan, number: int, filling: bytes, report: FloodReport, end_s: float) -> None:
    address = plan.addresses[number % len(plan.addresses)]
    sent = 0
    while time.perf_counter() < end_s:
        client = _Client(number, sent, filling, report, end_s)
        try:
            await _connect(client, address, plan.port)
        except OSError:
            report.closed += 1
            await asyncio.sleep(0.01)
            continue
        await client.done
        sent = client.next
        report.closed += time.perf_counter() < end_s


async def flood(plan: FloodPlan) -> FloodReport:
    report = FloodReport()
    start_s = time.perf_counter()
    fillings = cycle([_filling(size) for size in plan.body_bytes])
    connections = [
        _connection(plan, number, filling, report, start_s + plan.seconds)
        for number, filling in enumerate(islice(fillings, plan.connections))
    ]
    async with asyncio.timeout(plan.seconds + ANSWER_TIMEOUT_S):
        await asyncio.gather(*connections)
    report.seconds = time.perf_counter() - start_s
    return report


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(flood(FloodPlan(**json.loads(sys.argv[1])))))))
