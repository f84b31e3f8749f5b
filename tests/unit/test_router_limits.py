"""What a router allows one client, by real requests from two addresses."""

import json
import socket
import threading
from http.client import HTTPConnection

import pytest

from common.http.intake import HttpLimits
from router.core.rates import BURST_S
from tests.support.router import RunningRouter
from tests.support.router_fixtures import StartRouter
from tests.support.wait import wait_until

OTHER = "127.0.0.2"


def write_from(
    router: RunningRouter, client: str, body: bytes, path: str = "/api/v2/write?bucket=ns"
) -> tuple[int, str, bytes]:
    """Status, Retry-After and content of the answer to one write from the address `client`."""
    connection = HTTPConnection("127.0.0.1", router.port, timeout=20, source_address=(client, 0))
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, response.getheader("Retry-After", ""), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/write?db=ns", "/api/v2/write?bucket=ns", "/api/v3/write_lp?db=ns"])
def test_a_client_over_its_limit_is_429_and_another_is_not(start_router: StartRouter, path: str) -> None:
    """With the reason and whole seconds to wait; nothing of it is stored."""
    router = start_router(client_requests_per_s=0.1)
    for n in range(int(0.1 * BURST_S) + 1):
        assert write_from(router, "127.0.0.1", f"m f={n} {n}".encode(), path)[0] == 204
    status, retry_after, content = write_from(router, "127.0.0.1", b"m f=9 9", path)
    assert status == 429
    assert 1 <= int(retry_after) <= 10
    values = json.loads(content)
    assert "0.1 requests per second (client_requests_per_s)" in values.get("message", values.get("error"))
    assert write_from(router, OTHER, b"m f=5 5", path)[0] == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [0.0, 1.0, 5.0]


def test_connections_that_are_refused_are_counted(start_router: StartRouter) -> None:
    """So that an operator sees why clients are answered 503: no write of theirs reaches the router."""
    router = start_router(limits=HttpLimits(connections_max=4))
    held = [HTTPConnection("127.0.0.1", router.port, timeout=20) for _ in range(2)]
    for connection in held:
        connection.connect()
    status, _, content = write_from(router, "127.0.0.1", b"m f=1 1")
    assert (status, b"connections_max" in content) == (503, True)
    other = HTTPConnection("127.0.0.1", router.port, timeout=20, source_address=(OTHER, 0))
    other.request("GET", "/metrics")
    lines = other.getresponse().read().decode().splitlines()
    assert "penstock_router_connections_refused_total 1.0" in lines
    assert "penstock_router_connections 3.0" in lines
    other.request("GET", "/status")
    assert json.loads(other.getresponse().read())["connections_refused"] == 1
    for connection in (*held, other):
        connection.close()


def test_bytes_are_counted_after_decompression(start_router: StartRouter) -> None:
    """The body that goes beyond is stored, and the next one has to wait."""
    router = start_router(client_bytes_per_s=10)
    assert write_from(router, OTHER, b"m f=1 1".ljust(1_000))[0] == 204
    status, retry_after, _ = write_from(router, OTHER, b"m f=2 2")
    assert (status, retry_after.isdigit()) == (429, True)
    assert write_from(router, "127.0.0.1", b"m f=2 2")[0] == 204


def test_a_client_with_one_connection_is_served_beside_one_that_floods(start_router: StartRouter) -> None:
    """Twenty connections of one address send large writes as fast as they can, whatever they are answered: each write
    of the other is stored at its first try."""
    router = start_router(body_bytes_max=100_000, in_flight_bytes_max=400_000, batch_bytes_max=100_000)
    body = b"\n".join(b"m,host=a f=%d %d" % (n, n) for n in range(4_000))
    done = threading.Event()
    statuses: list[int] = []

    def flood() -> None:
        while not done.is_set():
            statuses.append(write_from(router, "127.0.0.1", body)[0])

    threads = [threading.Thread(target=flood) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: set(statuses), holds=lambda seen: seen == {204, 503})
    small = [write_from(router, OTHER, f"other f={n} {n}".encode())[0] for n in range(20)]
    done.set()
    for thread in threads:
        thread.join()
    assert small == [204] * 20
    assert set(statuses) == {204, 503}
    assert len(router.rows("ns", "other")) == 20
    assert router.admission.bytes_held == 0


def test_a_client_that_goes_after_its_write_changes_nothing_about_it(start_router: StartRouter) -> None:
    """Some only send, and never read the answer: their rows are stored as any others."""
    router = start_router()
    router.backend.hold()
    with socket.create_connection(("127.0.0.1", router.port), 20) as sender:
        sender.sendall(b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nm f=1 1")
        wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 7)
    router.backend.release()
    wait_until(lambda: router.rows("ns", "m"), holds=lambda rows: [row["f"] for row in rows] == [1.0])
