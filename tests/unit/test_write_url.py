"""`penstock write --url` of what is no router: refused at once, since no retry would make it one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow.flight as fl
import pytest
from click.testing import CliRunner, Result

from penstock.cli import cli
from tests.support.router import RunningRouter
from tests.support.stub_router import StubAnswer, stub_router


def write(url: str, lines: str = "cpu a=1 1\n") -> Result:
    """With a timeout that a test would notice."""
    return CliRunner().invoke(
        cli, ["write", "-", "--namespace", "metrics", "--url", url, "--timeout", "1000"], input=lines
    )


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """The URL of a server that reads a request's start, sends the next answer, and closes."""

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


@pytest.mark.parametrize("rows", [1, 100_000])
def test_the_flight_port_of_an_ingester_is_refused(rows: int) -> None:
    """gRPC closes the connection, perhaps before it has read all; its answer is read all the same."""
    server = fl.FlightServerBase("grpc://127.0.0.1:0")
    try:
        result = write(f"http://127.0.0.1:{server.port}", "".join(f"cpu a={row} {row}\n" for row in range(rows)))
    finally:
        server.shutdown()
    assert result.exit_code == 2
    assert "no HTTP/1 is spoken there: is it the Flight port of an ingester? give http://host:port" in result.stderr


def test_tls_to_a_router_is_refused(router: RunningRouter) -> None:
    """A router speaks plain HTTP."""
    result = write(router.url.replace("http://", "https://"))
    assert result.exit_code == 2
    assert "a router speaks plain HTTP; give http://host:port" in result.stderr


def test_a_port_that_serves_something_else_is_refused() -> None:
    """Such as the HTTP port of an ingester: 404."""
    answer = StubAnswer(404, document={"message": "path '/api/v2/write' is not served"})
    with stub_router(lambda number, body: answer) as other:
        result = write(other.url)
        below = write(f"{other.url}/influx/")
    for one in (result, below):
        assert one.exit_code == 2
        assert "404 path '/api/v2/write' is not served; correct --url: give http://host:port, of a router" in one.stderr
    assert [path.partition("?")[0] for path, _, _ in other.requests] == ["/api/v2/write", "/influx/api/v2/write"]


@pytest.mark.parametrize("cut", [b"", b"HT", b"HTTP/1.1 2"])
def test_an_answer_that_was_cut_off_is_tried_again(cut: bytes) -> None:
    """It may be a router that was killed just then."""
    with answering(cut, b"HTTP/1.1 204 No Content\r\nX-Penstock-Write-Token: 1:0=1\r\n\r\n") as url:
        result = write(url)
    assert result.exit_code == 0, result.output
