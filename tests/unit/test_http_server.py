"""What router and ingester share to serve HTTP: binding, running in a thread, answering defects."""

import http.client
import json
import socket

import pytest
import structlog
import uvicorn
from structlog.testing import capture_logs

from common.http import server as httpserver
from common.http.app import App, Request, Response, json_response
from common.http.lingering import LingeringTransport
from common.http.listening import bind
from common.http.server import HttpServer
from common.values.errors import Misconfigured
from tests.support.wait import wait_until


async def hello(request: Request) -> Response:
    return json_response(200, {"query": request.query()})


async def broken(request: Request) -> Response:
    raise RuntimeError("secret detail")


async def echo(request: Request) -> Response:
    return Response(200, b"".join([part async for part in request.parts()]), "text/plain")


def app() -> App:
    routes = {"/hello": {"GET": hello}, "/broken": {"GET": broken}, "/echo": {"POST": echo}}
    return App(routes, structlog.get_logger(), lambda request: {"X-Path": request.path})


def get(port: int, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def test_a_server_in_a_thread_serves_until_it_is_stopped() -> None:
    """After start_thread requests are answered; after stop nobody listens and the thread is gone."""
    server = HttpServer(app(), bind("127.0.0.1", 0, "port"), shutdown_timeout_s=1)
    server.start_thread()
    response, content = get(server.port, "/hello?a=1&b=&a=2&c=%C3%A4")
    assert (response.status, json.loads(content)) == (200, {"query": {"a": "1", "b": "", "c": "ä"}})
    assert response.getheader("X-Path") == "/hello"
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        get(server.port, "/hello")


def test_a_request_that_never_ends_does_not_hold_the_stop_up() -> None:
    """A client in the middle of its body is answered 503 at the shutdown timeout."""
    server = HttpServer(app(), bind("127.0.0.1", 0, "port"), shutdown_timeout_s=1)
    server.start_thread()
    with socket.create_connection(("127.0.0.1", server.port)) as stalled:
        stalled.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert stalled.recv(100).startswith(b"HTTP/1.1 100")
        server.stop()
        assert stalled.recv(1000).startswith(b"HTTP/1.1 503")


def test_an_idle_server_looks_up_once_a_second_and_still_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two renewals of the Date header an idle server's loop sleeps, and `stop` wakes it."""
    ticks: list[int] = []
    real = uvicorn.Server.on_tick

    async def counted(self: uvicorn.Server, counter: int) -> bool:
        ticks.append(counter)
        return await real(self, counter)

    monkeypatch.setattr(uvicorn.Server, "on_tick", counted)
    monkeypatch.setattr(httpserver, "TICK_S", 3600.0)
    server = HttpServer(app(), bind("127.0.0.1", 0, "port"), shutdown_timeout_s=1)
    server.start_thread()
    assert get(server.port, "/hello")[0].getheader("Date")
    server.stop()
    server.stop()
    assert len(ticks) == 2


def test_the_date_of_an_answer_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs for a while says the time of day, not that of its start."""
    monkeypatch.setattr(httpserver, "TICK_S", 0.01)
    server = HttpServer(app(), bind("127.0.0.1", 0, "port"), shutdown_timeout_s=1)
    server.start_thread()
    first = get(server.port, "/hello")[0].getheader("Date")
    wait_until(lambda: get(server.port, "/hello")[0].getheader("Date"), holds=lambda date: date != first)
    server.stop()


def test_a_defect_is_500_without_detail_and_logged_with_it() -> None:
    """A handler that breaks answers JSON without any detail; the log has the trace; the server goes on."""
    with capture_logs() as logs:
        server = HttpServer(app(), bind("127.0.0.1", 0, "port"), shutdown_timeout_s=1)
        server.start_thread()
        response, content = get(server.port, "/broken")
        assert get(server.port, "/hello")[0].status == 200
        server.stop()
    assert response.status == 500
    assert response.getheader("Content-Type", "").startswith("application/json")
    assert b"secret" not in content
    assert [(entry["event"], entry["path"]) for entry in logs] == [("request failed", "/broken")]


@pytest.mark.parametrize("path", ["/hello", "/nowhere"])
def test_an_answer_is_one_write(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Head and body leave together: each write is a packet, and wakes the client."""
    written: list[bytes] = []
    send = LingeringTransport.write
    monkeypatch.setattr(LingeringTransport, "write", lambda self, data: (written.append(bytes(data)), send(self, data)))
    server = HttpServer(app(), bind("127.0.0.1", 0, "port"), shutdown_timeout_s=1)
    server.start_thread()
    _, content = get(server.port, path)
    server.stop()
    (answer,) = written
    assert answer.endswith(b"\r\n\r\n" + content)


def test_no_control_character_gets_into_a_header() -> None:
    """A value may quote what a client sent: a line feed would begin another header, a NUL is refused by clients."""
    server = HttpServer(app(), bind("127.0.0.1", 0, "port"), shutdown_timeout_s=1)
    server.start_thread()
    response, _ = get(server.port, "/hello%0D%0AX-Evil:%201%00%7F")
    assert response.status == 404
    assert response.getheader("X-Evil") is None
    assert response.getheader("X-Path") == "/hello??X-Evil: 1??"
    server.stop()


def test_a_port_in_use_is_misconfigured_with_the_way_out() -> None:
    """The message names port, address and option."""
    with bind("127.0.0.1", 0, "port") as occupied:
        port = occupied.getsockname()[1]
        with pytest.raises(Misconfigured, match=rf"port {port} on 127\.0\.0\.1 is in use .* --flight-port"):
            bind("127.0.0.1", port, "flight_port")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_misconfigured(host: str) -> None:
    """A name that does not resolve, or another machine's address, is said."""
    with pytest.raises(Misconfigured, match=host):
        bind(host, 0, "port")
