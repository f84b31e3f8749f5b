"""Where a write's body begins and ends, byte by byte on a real connection: nothing is lost under a 204."""

import gzip
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from common.values.config import RouterConfig
from tests.support import raw_http
from tests.support.raw_http import answer_on
from tests.support.router import RunningRouter
from tests.support.wait import wait_until

LINES = b"m f=1 1"
POST = b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\n"
POST_1_0 = b"POST /api/v2/write?bucket=ns HTTP/1.0\r\n"
CHUNKED = b"7\r\n" + LINES + b"\r\n0\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.fixture
def router() -> Iterator[RunningRouter]:
    running = RunningRouter(RouterConfig(port=0, body_bytes_max=1000))
    yield running
    running.close()


def exchange(router: RunningRouter, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    return raw_http.exchange(router.port, *parts)


@pytest.mark.parametrize("body", [b"", LINES], ids=["nothing-follows", "lines-follow"])
@pytest.mark.parametrize(
    "head",
    [POST_1_0, POST_1_0 + b"Content-Encoding: gzip\r\n", POST + b"Connection: close\r\n", POST + H2C],
    ids=["1.0", "1.0-gzip", "1.1-close", "1.1-h2c"],
)
def test_a_write_without_a_length_is_411_and_the_connection_ends(
    router: RunningRouter, head: bytes, body: bytes
) -> None:
    """Neither Content-Length nor chunks: what follows is not known to be a body, so nothing is called stored."""
    status, headers, content = exchange(router, head + b"\r\n" + (body if head != POST + H2C else b""))
    assert (status, headers["connection"]) == (411, "close")
    assert json.loads(content)["code"] == headers["x-platform-error-code"] == "length required"
    assert "Content-Length" in json.loads(content)["message"]
    assert router.records() == []


def test_lines_after_a_write_that_says_no_length_are_no_request(router: RunningRouter) -> None:
    """On a connection that is kept alive, what follows such a write is not HTTP: the write is answered, and that is
    the end; never a 204."""
    for head in (POST, POST_1_0 + b"Connection: keep-alive\r\n"):
        status, headers, content = exchange(router, head + b"\r\n" + LINES)
        assert (status, headers["connection"]) == (411, "close")
        assert json.loads(content)["code"] == "length required"
    assert router.records() == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 7\r\n\r\n" + LINES,
        POST_1_0 + b"Content-Length: 7\r\n\r\n" + LINES,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        POST + b"Transfer-Encoding: Chunked\r\n\r\n3;ext=1\r\nm f\r\n4\r\n=1 1\r\n0\r\nTrailer: x\r\n\r\n",
        POST_1_0 + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        POST + H2C + b"Content-Length: 7\r\n\r\n" + LINES,
        POST + H2C + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 7\r\n\r\n" + LINES,
    ],
    ids=["length", "length-1.0", "chunked", "chunks", "chunked-1.0", "h2c", "h2c-chunked", "websocket"],
)
@pytest.mark.parametrize("cut", [0, 60, -9])
def test_a_body_that_is_framed_is_stored(router: RunningRouter, request_bytes: bytes, cut: int) -> None:
    """With a length, in chunks, and with an offer to upgrade the connection, in one piece or two."""
    parts = [request_bytes[:cut], request_bytes[cut:]] if cut else [request_bytes]
    assert exchange(router, *parts)[0] == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0]


def test_a_connection_goes_on_after_an_offered_upgrade(router: RunningRouter) -> None:
    """Two writes that offer an upgrade, pipelined on one connection, are both answered and both stored."""
    one = POST + H2C + b"Content-Length: 7\r\n\r\n"
    with socket.create_connection(("127.0.0.1", router.port), timeout=20) as connection:
        connection.sendall(one + LINES)
        assert answer_on(connection)[0] == 204
        connection.sendall(one + b"m f=2 2")
        assert answer_on(connection)[0] == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 2.0]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("option", ["--http1.0", "--http1.1", "--http2"])
def test_curl_writes_by_every_version_it_offers(router: RunningRouter, option: str) -> None:
    """curl's own framing, also its offer of HTTP/2, stores the line."""
    url = f"{router.url}/api/v2/write?bucket=ns"
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", option, url, "--data-binary", LINES.decode()]
    assert subprocess.run(command, capture_output=True, timeout=20, check=True).stdout == b"204"
    assert len(router.rows("ns", "m")) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 7\r\nContent-Length: 7\r\n",
        b"Content-Length: -7\r\n",
        b"Content-Length: x\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\nContent-Encoding: gzip\r\n",
    ],
)
def test_ambiguous_framing_is_400_and_nothing_is_stored(router: RunningRouter, head: bytes) -> None:
    """Two lengths, a length with chunks, invalid lengths, and several codings are refused, as JSON."""
    status, headers, content = exchange(router, POST + head + b"\r\n" + CHUNKED)
    assert (status, headers["x-platform-error-code"]) == (400, "invalid")
    assert json.loads(content)["message"]
    assert router.records() == []


def test_connect_is_refused(router: RunningRouter) -> None:
    """A method that would turn the connection into a tunnel is refused."""
    status, _, content = exchange(router, b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n")
    assert (status, json.loads(content)["code"]) == (400, "invalid")


@pytest.mark.parametrize(
    ("head", "sent"),
    [
        (b"Content-Length: 500\r\n", LINES),
        (b"Content-Length: 500\r\nContent-Encoding: gzip\r\n", gzip.compress(LINES)[:-3]),
        (b"Transfer-Encoding: chunked\r\n", b"7\r\n" + LINES + b"\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"fff\r\n" + LINES),
    ],
)
def test_a_client_that_goes_before_its_body_has_come_stores_nothing(
    router: RunningRouter, head: bytes, sent: bytes
) -> None:
    """Fewer bytes than the length says, or no last chunk, and then the end: the part that came is no body."""
    with socket.create_connection(("127.0.0.1", router.port), timeout=20) as connection:
        connection.sendall(POST + head + b"\r\n" + sent)
        wait_until(lambda: router.admission.bytes_held, holds=lambda held: held > 0)
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 0)
    assert router.records() == []


def test_a_client_that_asks_first_is_answered_with_continue(router: RunningRouter) -> None:
    """Expect: 100-continue is answered before the body comes, and the body is stored."""
    with socket.create_connection(("127.0.0.1", router.port), timeout=20) as connection:
        connection.sendall(POST + b"Content-Length: 7\r\nExpect: 100-continue\r\n\r\n")
        assert answer_on(connection)[0] == 100
        connection.sendall(LINES)
        assert answer_on(connection)[0] == 204
    assert len(router.rows("ns", "m")) == 1


@pytest.mark.parametrize("refused", [b"Content-Length: 1001\r\n", b"Content-Length: 7\r\nContent-Encoding: br\r\n"])
def test_a_client_that_asks_first_need_not_send_what_is_refused(router: RunningRouter, refused: bytes) -> None:
    """A body that is too large by its own length, or in a coding nobody reads, is refused before it is sent."""
    status, _, _ = exchange(router, POST + refused + b"Expect: 100-continue\r\n\r\n")
    assert status in (413, 400)
