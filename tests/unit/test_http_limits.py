"""What a server does about clients that are slow, that send too much, or that are too many: on real connections."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import accumulate

import pytest
import structlog

from common.http import server as httpserver
from common.http.app import App, Request, Response, error_response, json_response
from common.http.connection import HEAD_BYTES_MAX, HEAD_FIELDS_MAX, PIPELINED_MAX
from common.http.intake import HttpLimits
from common.http.listening import bind
from common.http.server import HttpServer
from tests.support.raw_http import answer_on, exchange
from tests.support.wait import wait_until

SHORT_S = 0.05
TOLD_S = 0.2
"""After so long a client of /full is told to come again."""
GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
"""Without its chunks."""
MIB = 1024 * 1024


class Server:
    """Serves from the constructor to `stop`. go: what the handler of /later waits for before it reads the body."""

    def __init__(self, limits: HttpLimits) -> None:
        self.go = threading.Event()
        routes = {
            "/hello": {"GET": self._hello},
            "/big": {"GET": self._big},
            "/echo": {"POST": self._echo},
            "/later": {"POST": self._later},
            "/never": {"POST": self._refuse},
            "/full": {"POST": self._rest},
        }
        app = App(routes, structlog.get_logger())
        self.server = HttpServer(app, bind("127.0.0.1", 0, "port"), shutdown_timeout_s=1, limits=limits)
        self.port = self.server.port
        self.server.start_thread()

    def connect(self, client: str = "127.0.0.1") -> socket.socket:
        """client: the address that it comes from."""
        return socket.create_connection(("127.0.0.1", self.port), 20, (client, 0))

    @property
    def refused(self) -> int:
        """Connections that had no place."""
        return self.server.shared.refused

    @property
    def held(self) -> tuple[int, int]:
        """Connections, and bytes that no handler has asked for."""
        return self.server.shared.connections.held, self.server.shared.unread.held

    def stop(self) -> None:
        self.go.set()
        self.server.stop()

    async def _hello(self, request: Request) -> Response:
        return json_response(200, "hello")

    async def _big(self, request: Request) -> Response:
        return Response(200, b"x" * 20 * MIB, "text/plain")

    async def _echo(self, request: Request) -> Response:
        return json_response(200, sum([len(part) async for part in request.parts()]))

    async def _later(self, request: Request) -> Response:
        await asyncio.to_thread(self.go.wait, 20)
        return await self._echo(request)

    async def _refuse(self, request: Request) -> Response:
        return error_response(413, "request too large", "never")

    async def _rest(self, request: Request) -> Response:
        request.intake.rest(TOLD_S)
        return error_response(503, "unavailable", "full")


Start = Callable[..., Server]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Takes limits; looks at connections often."""
    monkeypatch.setattr(httpserver, "TICK_S", 0.01)
    servers: list[Server] = []

    def begin(**limits: float) -> Server:
        servers.append(Server(HttpLimits(**limits)))  # type: ignore[arg-type]
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


def post(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


@contextmanager
def dripping(connection: socket.socket, data: Iterator[bytes]) -> Iterator[None]:
    """Sends one part after another, until the block ends or nobody takes them."""
    stopped = threading.Event()

    def drip() -> None:
        while not stopped.wait(0.005):
            try:
                connection.sendall(next(data))
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def endless(part: bytes) -> Iterator[bytes]:
    while True:
        yield part


@pytest.mark.parametrize("first", [b"", GET], ids=["at once", "after a request"])
def test_a_connection_that_asks_nothing_is_closed(start: Start, first: bytes) -> None:
    """From its beginning, or since its last answer."""
    server = start(idle_s=SHORT_S)
    with server.connect() as idle:
        if first:
            idle.sendall(first)
            assert answer_on(idle)[0] == 200
        assert idle.recv(1) == b""
        assert server.held == (0, 0)


@pytest.mark.parametrize("first", [b"", GET], ids=["at once", "after a request"])
def test_headers_that_come_slowly_are_408(start: Start, first: bytes) -> None:
    """Each byte in time, all of them not: the time counts from the first."""
    server = start(head_s=SHORT_S)
    with server.connect() as slow:
        if first:
            slow.sendall(first)
            assert answer_on(slow)[0] == 200
        slow.sendall(b"GET /hello HTTP/1.1\r\n")
        with dripping(slow, endless(b"a: b\r\n")):
            status, headers, content = answer_on(slow)
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(content)["code"] == headers["x-platform-error-code"] == "request timeout"
    wait_until(lambda: server.held, holds=lambda held: held == (0, 0))


@pytest.mark.parametrize(
    ("stall_s", "drips"), [(SHORT_S, False), (2 * SHORT_S, True)], ids=["nothing more", "too slowly"]
)
def test_a_body_that_comes_slowly_is_408(start: Start, stall_s: float, drips: bool) -> None:
    """One that stops, and one that goes on below the least rate."""
    server = start(stall_s=stall_s, body_bytes_per_s=10**9)
    with server.connect() as slow:
        slow.sendall(post("/echo", 10_000) + b"x")
        with dripping(slow, endless(b"x")) if drips else nullcontext():
            status, headers, _ = answer_on(slow)
        assert (status, headers["connection"]) == (408, "close")
    wait_until(lambda: server.held, holds=lambda held: held == (0, 0))


def test_a_body_at_the_least_rate_may_take_its_time(start: Start) -> None:
    """Longer than a stall may be, as long as it goes on."""
    server = start(stall_s=10 * SHORT_S, body_bytes_per_s=1)
    with server.connect() as slow:
        slow.sendall(post("/echo", 300))
        with dripping(slow, iter([b"x"] * 300)):
            status, _, content = answer_on(slow)
    assert (status, json.loads(content)) == (200, 300)


def test_a_body_that_waits_for_the_request_before_it_is_not_slow(start: Start) -> None:
    """Its time begins when its handler asks for it: until then this side does not read the connection."""
    server = start(stall_s=0.5)
    body = b"x" * 4 * MIB
    with server.connect() as client:
        client.sendall(post("/later", 0) + post("/echo", len(body)) + body[:100])
        wait_until(lambda: server.held, holds=lambda held: held[1] > 0)
        time.sleep(0.6)  # longer than a body may stall
        server.go.set()
        assert answer_on(client)[0] == 200
        client.sendall(body[100:])
        assert answer_on(client)[0] == 200


def test_who_does_not_read_the_answer_is_cut_off(start: Start) -> None:
    """The answer is not kept for ever."""
    server = start(answer_s=SHORT_S)
    with server.connect() as deaf:
        deaf.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.held, holds=lambda held: held[0] == 1)
        wait_until(lambda: server.held, holds=lambda held: held == (0, 0))


def test_the_rest_of_a_refused_body_is_awaited_for_a_while(start: Start) -> None:
    """A client that stops in the middle of what nobody wants does not keep its connection."""
    server = start(drain_s=SHORT_S, linger_s=SHORT_S)
    with server.connect() as stopped:
        stopped.sendall(post("/never", 10_000) + b"x")
        assert answer_on(stopped)[0] == 413
        assert stopped.recv(1) == b""
        wait_until(lambda: server.held, holds=lambda held: held == (0, 0))


@pytest.mark.parametrize("length", ["Content-Length: 5242880", "Content-Length: 5242880\r\nConnection: close"])
def test_a_client_that_sends_all_before_it_reads_sees_why_it_was_refused(start: Start, length: str) -> None:
    """Also where the connection ends with the answer: no reset takes it away."""
    server = start()
    with server.connect() as client:
        client.sendall(f"POST /never HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode() + b"x" * 5 * MIB)
        assert answer_on(client)[0] == 413
        if "close" not in length:
            client.sendall(GET)
            assert answer_on(client)[0] == 200


def test_who_asked_whether_to_send_and_may_not_is_not_read_on(start: Start) -> None:
    """After the answer the client may send the body, or the next request: the connection ends."""
    server = start()
    head = post("/never", 10)[:-2] + b"Expect: 100-continue\r\n\r\n"
    status, headers, _ = exchange(server.port, head)
    assert (status, headers["connection"]) == (413, "close")


def test_http_1_0_has_no_interim_answer(start: Start) -> None:
    """Such a client would take `100 Continue` for the answer (RFC 9110, 10.1.1)."""
    server = start()
    head = post("/echo", 3).replace(b"1.1", b"1.0")[:-2] + b"Expect: 100-continue\r\n\r\n"
    assert exchange(server.port, head + b"abc")[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /hello HTTP/1.1\r\nX: " + b"x" * 3 * HEAD_BYTES_MAX,
        b"GET /hello HTTP/1.1\r\n" + b"X: x\r\n" * (HEAD_FIELDS_MAX + 2),
        b"GET /" + b"x" * 3 * HEAD_BYTES_MAX,
    ],
    ids=["a long header", "many headers", "a long path"],
)
@pytest.mark.parametrize("size", [100_000, 1_000])
def test_headers_without_end_are_431(start: Start, head: bytes, size: int) -> None:
    """In one piece or many, and before their end has come."""
    server = start()
    parts = [head[at : at + size] for at in range(0, len(head), size)]
    status, headers, content = exchange(server.port, *parts)
    assert (status, headers["connection"]) == (431, "close")
    assert str(HEAD_FIELDS_MAX if head.count(b"\r\n") > 2 else HEAD_BYTES_MAX) in json.loads(content)["message"]


@pytest.mark.parametrize(
    "extra", [b"0\r\nX: ", b"0\r\nX: y\r\n", b"5;", b"0;"], ids=["long", "many", "of a chunk", "end"]
)
@pytest.mark.parametrize("path", [b"/echo", b"/never"])
def test_trailers_without_end_are_refused(start: Start, path: bytes, extra: bytes) -> None:
    """Whatever a chunked body brings beside its data is bounded as headers are, also where nobody reads the body."""
    server = start(linger_s=SHORT_S)
    with server.connect() as client:
        client.sendall(CHUNKED % path + b"1\r\nx\r\n" + extra)
        with dripping(client, endless(b"X: y\r\n" * 500 if b"y" in extra else b"x" * 3_000)):
            assert answer_on(client)[0] == (431 if path == b"/echo" else 413)
            assert client.recv(1) == b""
    wait_until(lambda: server.held, holds=lambda held: held == (0, 0))


def test_trailers_are_no_headers(start: Start) -> None:
    """They come after the request was understood, however the network cuts it (RFC 9110, 6.5.1)."""
    server = start()
    body = b"1\r\nx\r\n0\r\nExpect: 100-continue\r\n\r\n"
    status, headers, _ = exchange(server.port, CHUNKED % b"/never" + body)
    assert (status, headers.get("connection")) == (413, None)


def test_an_answered_request_has_no_second_answer(start: Start) -> None:
    """Where the rest of its body makes no sense, the connection ends: a 400 would pass for the next one's answer."""
    server = start()
    with server.connect() as client:
        client.sendall(CHUNKED % b"/never" + b"1\r\nx\r\n")
        assert answer_on(client)[0] == 413
        client.sendall(b"no chunk\r\n")
        assert client.recv(1) == b""


def test_long_headers_and_many_are_served(start: Start) -> None:
    """Up to the limits, also where many requests come in one piece."""
    server = start()
    head = b"GET /hello HTTP/1.1\r\n" + b"X: x\r\n" * (HEAD_FIELDS_MAX - 1) + b"Y: " + b"y" * 15_000 + b"\r\n\r\n"
    with server.connect() as client:
        client.sendall(head * 10)
        with client.makefile("rb") as answers:
            for _ in range(10):
                assert answers.readline().startswith(b"HTTP/1.1 200")
                while answers.readline().strip():
                    pass
                assert answers.readline() == b'"hello"\n'


def test_too_many_connections_are_503_and_another_client_is_served(start: Start) -> None:
    """One client has half; those above are answered, and beyond a quarter of all closed at once."""
    server = start(connections_max=8)
    first = [server.connect() for _ in range(7)]
    for connection in first[:6]:
        connection.sendall(GET)
    assert [answer_on(connection)[0] for connection in first[:4]] == [200] * 4
    status, headers, content = answer_on(first[4])
    assert (status, headers["connection"]) == (503, "close")
    assert headers["retry-after"].isdigit()
    assert "8 for all clients (connections_max)" in json.loads(content)["message"]
    assert first[6].recv(1) == b""
    assert server.refused == 3
    with server.connect("127.0.0.2") as other:
        other.sendall(GET)
        assert answer_on(other)[0] == 200
    for connection in first:
        connection.close()
    wait_until(lambda: server.held, holds=lambda held: held == (0, 0))
    assert exchange(server.port, GET)[0] == 200


def test_bodies_that_no_handler_reads_are_bounded(start: Start) -> None:
    """What one client's requests leave unread is half of the limit; above it they are 503, another's is not, and what
    was read is whole."""
    server = start(unread_bytes_max=1000)
    with server.connect() as first, server.connect() as second, server.connect("127.0.0.2") as other:
        first.sendall(post("/later", 900) + b"x" * 500)
        wait_until(lambda: server.held, holds=lambda held: held == (3, 500))
        second.sendall(post("/later", 500) + b"x" * 500)
        other.sendall(post("/later", 500) + b"x" * 500)
        wait_until(lambda: server.held, holds=lambda held: held == (3, 1000))
        server.go.set()
        status, headers, content = answer_on(second)
        assert (status, json.loads(content)["code"]) == (503, "unavailable")
        assert headers["retry-after"].isdigit()
        assert json.loads(answer_on(other)[2]) == 500
        first.sendall(b"x" * 400)
        assert json.loads(answer_on(first)[2]) == 900
    wait_until(lambda: server.held, holds=lambda held: held == (0, 0))


def test_who_does_not_wait_as_told_is_not_read_meanwhile(start: Start) -> None:
    """Of a connection that sends at once after each refusal the requests wait, each twice as long, up to a bound; all
    are answered in the end."""
    server = start(rest_s_max=3 * TOLD_S)
    answered_s = []
    began_s = time.monotonic()
    with server.connect() as client:
        for _ in range(4):
            client.sendall(post("/full", 3) + b"abc")
            assert answer_on(client)[0] == 503
            answered_s.append(time.monotonic() - began_s)
        client.sendall(GET)
        assert answer_on(client)[0] == 200
    # Since the beginning: an answer that was read late would make the wait for the next look shorter than it was.
    for waited_s, least in zip(answered_s[1:], accumulate((0.7, 1.4, 2.8)), strict=True):
        assert waited_s > least * TOLD_S


def test_a_connection_that_is_closed_while_it_rests_is_forgotten(start: Start) -> None:
    """It is not read meanwhile; its place is free once it is."""
    server = start()
    with server.connect() as client:
        client.sendall(post("/full", 3) + b"abc")
        assert answer_on(client)[0] == 503
    wait_until(lambda: server.held, holds=lambda held: held == (0, 0))


def test_requests_that_are_sent_before_their_answers_are_bounded(start: Start) -> None:
    """Of a thousand in one piece some are answered, in order, and then the connection ends."""
    server = start()
    with server.connect() as client:
        client.sendall(post("/later", 0) + GET * 1_000)
        client.settimeout(20)
        wait_until(lambda: server.held, holds=lambda held: held[0] == 1)
        server.go.set()
        with client.makefile("rb") as answers:
            found = answers.read().count(b"HTTP/1.1 200")
    assert found == PIPELINED_MAX + 1
    wait_until(lambda: server.held, holds=lambda held: held == (0, 0))
