"""Whatever arrives, a router and its two workers stay under 768 MB: what costs most memory for each byte sent."""

import gzip
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.campaign import campaign, is_whole
from tests.support.process_cluster import ProcessCluster
from tests.support.wait import wait_until
from tests.support.watching import Memory, repeated

RSS_MAX = 768 * 1024 * 1024
BODY_BYTES = 10 * 1024 * 1024 - 200
CLIENTS = [f"127.0.0.{n}" for n in range(1, 5)]
POST = b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\n"


def body_of(lines: Iterator[bytes]) -> bytes:
    """As many lines as a body may have."""
    parts, size = [], 0
    while size < BODY_BYTES:
        parts.append(next(lines))
        size += len(parts[-1])
    return b"".join(parts)


def shortest() -> Iterator[bytes]:
    while True:
        yield b"m f=1\n"


def new_series() -> Iterator[bytes]:
    rng = random.Random(7)
    while True:
        yield b"s,h=%x f=1\n" % rng.getrandbits(64)


def one_column_each() -> Iterator[bytes]:
    """Of a table of a thousand columns."""
    n = 0
    while True:
        n += 1
        yield b"w f%d=1\n" % (n % 1000)


def many_tables() -> Iterator[bytes]:
    n = 0
    while True:
        n += 1
        yield b"t%d,h=a f%d=1\n" % (n % 900, n % 50)


def long_strings() -> Iterator[bytes]:
    while True:
        yield b'q s="%s"\n' % (b"x" * 60_000)


def refused() -> Iterator[bytes]:
    while True:
        yield b"x\n"


BODIES = {one.__name__: one for one in (shortest, new_series, one_column_each, many_tables, long_strings, refused)}

HEADS = {
    "nothing": b"",
    "headers without an end": b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: %s\r\n" % (n, b"x" * 150) for n in range(95)),
    "bodies without an end": POST + b"Transfer-Encoding: chunked\r\n\r\nA00000\r\n" + b"x" * 1_000_000,
    "bodies that never come": POST + b"Content-Length: 10000000\r\n\r\n",
    "answers that nobody reads": b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000,
}


def check(folder: Path, load: Callable[[int], None]) -> None:
    """The router, with workers that have begun, under a load at its port; then it serves as before."""
    cluster = ProcessCluster(folder)
    with cluster.held():
        cluster.start("router")
        write(cluster.port, b"m f=1", CLIENTS[0])
        memory = Memory(cluster.pid("router"))
        with repeated(memory):
            load(cluster.port)
        print(f"\nat most {memory.rss_max / 1e6:.0f} MB")
        assert memory.rss_max < RSS_MAX
        wait_until(lambda: write(cluster.port, b"m f=1", "127.0.0.9"), holds=lambda status: status == 204, timeout_s=90)


def write(port: int, body: bytes, client: str, coding: str = "identity") -> int:
    connection = HTTPConnection("127.0.0.1", port, 120, source_address=(client, 0))
    try:
        connection.request("POST", "/api/v2/write?bucket=ns", body, {"Content-Encoding": coding})
        return connection.getresponse().status
    finally:
        connection.close()


@campaign
@pytest.mark.parametrize("coding", ["identity", "gzip"] if is_whole() else ["identity"])
@pytest.mark.parametrize("lines", BODIES)
def test_the_largest_bodies_of_several_clients_fit(tmp_path: Path, lines: str, coding: str) -> None:
    """Four clients at once, each several times: lines that make the most rows, series, columns, tables, refusals."""
    body = body_of(BODIES[lines]())
    sent = gzip.compress(body, 1) if coding == "gzip" else body

    def load(port: int) -> None:
        threads = [
            threading.Thread(target=lambda client=client: [write(port, sent, client, coding) for _ in range(2)])
            for client in CLIENTS
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    check(tmp_path, load)


@campaign
@pytest.mark.parametrize("sent", HEADS)
def test_connections_that_do_not_go_on_fit(tmp_path: Path, sent: str) -> None:
    """As many as are let in, and more."""

    def load(port: int) -> None:
        with ExitStack() as open_connections:
            for n in range(3_000):
                connection = socket.create_connection(("127.0.0.1", port), 60, (CLIENTS[n % len(CLIENTS)], 0))
                open_connections.callback(connection.close)
                connection.setblocking(False)
                try:
                    connection.send(HEADS[sent])
                except OSError:
                    continue

    check(tmp_path, load)
