"""The bodies of writes: how they are framed, compressed and bounded, by real requests on a real port."""

import asyncio
import gzip
import json
import socket
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import ExitStack
from unittest.mock import AsyncMock, Mock

import pytest

from common.http.intake import HttpLimits
from router.api.body import BodyReader
from router.api.inflating import SLICE_BYTES, Gzip
from router.core.admission import Admission
from tests.support.compressed import zstd
from tests.support.router import RunningRouter
from tests.support.router_fixtures import StartRouter, chunks, error_of
from tests.support.wait import wait_until

MIB = 1024 * 1024
LINES = b"m f=1 1"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_the_content_type_of_a_write_does_not_matter(router: RunningRouter, content_type: str) -> None:
    """curl's form type, text or octets: a body of lines is a body of lines."""
    response, _ = router.write(b"m f=1 1", headers={"Content-Type": content_type})
    assert response.status == 204
    assert len(router.rows("ns", "m")) == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"# only a comment\n\n"])
def test_nothing_to_store_is_204(router: RunningRouter, content: bytes) -> None:
    """An empty body or one of comments is a success, as in InfluxDB 1 and 2."""
    assert router.write(content)[0].status == 204
    assert router.write(content, headers={"Content-Encoding": "gzip"} if not content else {})[0].status == 204
    assert router.records() == []


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity", "", "gzip, identity"])
def test_encodings_that_clients_send_are_understood(router: RunningRouter, encoding: str) -> None:
    """gzip under its two names, and identity, which is nothing, also in a list."""
    content = b"m f=1 1"
    sent = gzip.compress(content) if "gzip" in encoding.lower() else content
    assert router.write(sent, headers={"Content-Encoding": encoding})[0].status == 204
    assert len(router.rows("ns", "m")) == 1


def test_gzip_of_several_members_in_small_chunks_is_one_body(router: RunningRouter) -> None:
    """Multi-member gzip, cut anywhere by chunked transfer, is inflated whole."""
    sent = gzip.compress(b"m f=1 1\nm f") + gzip.compress(b"") + gzip.compress(b"=2 2\n")
    for size in (1, 7, 1000):
        assert router.write(chunks(sent, size), headers={"Content-Encoding": "gzip"})[0].status == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0] * 3 + [2.0] * 3


WHOLE = gzip.compress(LINES)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (LINES, "the body begins with 6d 20 and is not gzip"),
        (b"\x1f", "the body begins with 1f and is not gzip"),
        (WHOLE[:-1], "cut off"),
        (WHOLE[:12], "cut off"),
        (WHOLE[:2], "cut off"),
        (WHOLE + WHOLE[:15], "cut off"),
        (WHOLE + b"trailing", "more bytes follow its end, 74 72 …"),
        (WHOLE + b"\n", "more bytes follow its end, 0a …"),
        (WHOLE + b"\0" * 100, "more bytes follow its end, 00 00 …"),
        (WHOLE + b"\x1f", "more bytes follow its end, 1f …"),
        (WHOLE[:-8] + struct.pack("<II", 0, 7), "error decoding gzip stream"),
        (zlib.compress(LINES), "the body begins with 78 9c and"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_bad_gzip_is_400_with_what_is_wrong_and_nothing_is_stored(
    router: RunningRouter, sent: bytes, reason: str, size: int
) -> None:
    """What cannot be inflated to its end is the sender's fault, never a 500 that it would retry for ever; the message
    says whether it is no gzip, was cut off, or goes on after its end, however it arrives."""
    response, content = router.write(chunks(sent, size), headers={"Content-Encoding": "gzip"})
    assert error_of((response, content)) == (400, "invalid")
    assert reason in json.loads(content)["message"]
    assert router.records() == []
    assert router.admission.bytes_held == 0


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd, gzip", "gzip,deflate", "x" * 500])
def test_an_unknown_encoding_is_400(router: RunningRouter, encoding: str) -> None:
    """Encodings that are not read, and several together, are named in the refusal, with what is read."""
    answer = router.write(b"m f=1", headers={"Content-Encoding": encoding})
    assert error_of(answer) == (400, "invalid")
    message = json.loads(answer[1])["message"]
    assert encoding[:40] in message
    assert message.endswith("use gzip, zstd or none")
    assert router.records() == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(start_router: StartRouter, chunked: bool) -> None:
    """With a length or chunked without one: too large a body is refused while it arrives, and says the limit."""
    router = start_router(body_bytes_max=1000)
    fits, over = b"m f=1 1\n".ljust(1000), b"m f=1 1\n".ljust(1001)
    assert router.write(chunks(fits, 300) if chunked else fits)[0].status == 204
    response, content = router.write(chunks(over, 300) if chunked else over)
    assert error_of((response, content)) == (413, "request too large")
    assert json.loads(content)["maxLength"] == 1000
    assert router.admission.bytes_held == 0
    assert len(router.rows("ns", "m")) == 1


def test_a_gzip_bomb_is_413_without_being_inflated(start_router: StartRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small body that inflates to gigabytes, also by many members, costs at most the limit and a slice."""
    router = start_router(body_bytes_max=MIB)
    inflated: list[int] = []
    real = Gzip._decompress

    def watched(self: Gzip, data: bytes) -> bytes:
        part = real(self, data)
        inflated.append(len(part))
        return part

    monkeypatch.setattr(Gzip, "_decompress", watched)
    for bomb in (gzip.compress(b" " * 300 * MIB, 9), gzip.compress(b" " * MIB, 9) * 300):
        inflated.clear()
        assert error_of(router.write(bomb, headers={"Content-Encoding": "gzip"})) == (413, "request too large")
        assert max(inflated) <= SLICE_BYTES
        assert sum(inflated) <= MIB + SLICE_BYTES
    assert router.admission.bytes_held == 0


def test_a_body_of_exactly_the_limit_after_inflating_is_stored(start_router: StartRouter) -> None:
    """The limit itself is allowed, plain and compressed."""
    router = start_router(body_bytes_max=10_000)
    assert (
        router.write(gzip.compress(b"m f=1 1\n".ljust(10_000)), headers={"Content-Encoding": "gzip"})[0].status == 204
    )


def test_invalid_utf8_on_one_line_refuses_that_line(router: RunningRouter) -> None:
    """Bytes that are no UTF-8 cost their own line, not the batch."""
    response, content = router.write(b"m,t=a f=1 1\nm,t=\xff f=2 2\nm,t=b f=3 3")
    assert error_of((response, content)) == (400, "invalid")
    assert json.loads(content)["line"] == 2
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 3.0]


@pytest.mark.parametrize("path", ["/write?db=ns", "/api/v2/write?bucket=ns", "/api/v3/write_lp?db=ns"])
@pytest.mark.parametrize(
    ("content", "coding"), [(gzip.compress(LINES), b"gzip"), (zstd(LINES), b"zstd")], ids=["gzip", "zstd"]
)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_compressed_body_without_its_header_is_named(
    router: RunningRouter, path: str, content: bytes, coding: bytes, size: int
) -> None:
    """Whatever its chunks: else its bytes were refused as lines, for reasons that do not help."""
    response, answer = router.request("POST", path, chunks(content, size))
    assert response.status == 400
    assert b"the body is %s: send it with Content-Encoding: %s" % (coding, coding) in answer
    assert router.admission.bytes_held == 0


def test_a_byte_order_mark_is_skipped(router: RunningRouter) -> None:
    """A body that an editor saved with a mark is read as without, plain and compressed."""
    marked = b"\xef\xbb\xbfm f=1 1\nm f=2 2"
    assert router.write(marked)[0].status == 204
    assert router.write(gzip.compress(marked), headers={"Content-Encoding": "gzip"})[0].status == 204
    assert router.write(b"\xef\xbb\xbf")[0].status == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 1.0, 2.0, 2.0]


def test_bodies_being_uploaded_count_against_the_limit_of_bytes_in_flight(start_router: StartRouter) -> None:
    """An upload that stalls holds its share; another that does not fit is answered to come again, and later fits."""
    router = start_router(body_bytes_max=1000, in_flight_bytes_max=1000)
    with socket.create_connection(("127.0.0.1", router.port)) as stalled:
        stalled.sendall(b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + b"#" * 800)
        wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 900)
        response, content = router.write(b"#" * 300)
        assert error_of((response, content)) == (503, "unavailable")
        assert response.getheader("Retry-After", "").isdigit()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 0, what="a gone client's share")
    assert router.write(b"#" * 300)[0].status == 204


def test_a_body_of_tiny_parts_takes_no_more_memory_than_its_bytes() -> None:
    """A client that sends two bytes at a time must not make each of them an object of fifty."""
    parts = 200_000

    async def two_by_two() -> AsyncIterator[bytes]:
        for number in range(parts):
            yield b"%02d" % (number % 100)

    request = Mock(
        headers={"transfer-encoding": "chunked"}, client="a", parts=two_by_two, whole=AsyncMock(return_value=None)
    )
    tracemalloc.start()
    body = asyncio.run(BodyReader(Admission(10 * MIB), 10 * MIB).read(request))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert body == b"".join(b"%02d" % (number % 100) for number in range(parts))
    assert peak < 5 * len(body)


def test_a_stalled_upload_is_given_up(start_router: StartRouter) -> None:
    """A client that sends nothing more is answered 408 and its memory is free again."""
    router = start_router(limits=HttpLimits(stall_s=0.05))
    with socket.create_connection(("127.0.0.1", router.port), timeout=20) as stalled:
        stalled.sendall(b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + b"#" * 800)
        assert stalled.recv(100).startswith(b"HTTP/1.1 408 ")
    assert router.admission.bytes_held == 0


def test_slow_uploads_of_large_bodies_leave_room_for_others(start_router: StartRouter) -> None:
    """What has not arrived takes no memory: eight clients that announce 10 MB each may take hours to send them."""
    router = start_router()
    head = b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
    with ExitStack() as slow:
        for client in range(2, 10):
            one = slow.enter_context(socket.create_connection(("127.0.0.1", router.port), 20, (f"127.0.0.{client}", 0)))
            one.sendall(head)
        wait_until(lambda: router.admission.clients, holds=lambda clients: clients == 8)
        assert router.write(b"#" * 9_000_000 + b"\nm f=1 1")[0].status == 204


def test_a_client_that_floods_leaves_room_for_another(start_router: StartRouter) -> None:
    """While one client's uploads hold all they can, another's write is stored, and the first's next one is not."""
    router = start_router(body_bytes_max=1000, in_flight_bytes_max=2000)
    head = b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n#"
    with socket.create_connection(("127.0.0.1", router.port)) as first:
        first.sendall(head)
        wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 900)
        response, content = router.write(b"#" * 900)
        assert (response.status, json.loads(content)["code"]) == (503, "unavailable")
        with socket.create_connection(("127.0.0.1", router.port), 20, ("127.0.0.2", 0)) as other:
            other.sendall(head + b"#" * 891 + b"\nm f=1 1")
            assert other.recv(100).startswith(b"HTTP/1.1 204 ")
    assert len(router.rows("ns", "m")) == 1
