"""The router's HTTP side, by real requests on a real port: raw ones as curl sends them, and unmodified clients."""

import gzip
import http.client
import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from threading import Event
from typing import Any

import pytest
from influxdb_client import InfluxDBClient, Point, WriteOptions
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from influxdb_client_3 import InfluxDBClient3

from common.cloudstore import CloudStore
from common.config import RouterConfig
from common.errors import Unavailable
from common.ids import SequencerId
from common.token import parse_token
from router import body
from router.batch import BatchParser, Body
from router.schema_gate import Schemas
from tests.support.router import RunningRouter
from tests.support.wait import wait_until
from writebuffer.contract import AppendedRange
from writebuffer.errors import WriterDied
from writebuffer.memory import MemoryWriter
from writebuffer.record import Record

MIB = 1024 * 1024
Start = Callable[..., RunningRouter]


@pytest.fixture(scope="module")
def running() -> Iterator[list[RunningRouter]]:
    """Every router of this file; they end together, since each takes a moment to."""
    routers: list[RunningRouter] = []
    yield routers
    for router in routers:
        router.stop()
    for router in routers:
        router.close()


@pytest.fixture
def start(running: list[RunningRouter]) -> Start:
    def begin(**options: Any) -> RunningRouter:
        config = {name: options.pop(name) for name in list(options) if name in RouterConfig.__dataclass_fields__}
        running.append(RunningRouter(RouterConfig(port=0, **config), **options))
        return running[-1]

    return begin


@pytest.fixture
def router(start: Start) -> RunningRouter:
    return start()


def code(answer: tuple[http.client.HTTPResponse, bytes]) -> tuple[int, str]:
    """Status and code of an error, after the checks that hold for every error."""
    response, content = answer
    assert response.getheader("Content-Type", "").startswith("application/json")
    values = json.loads(content)
    assert response.getheader("X-Platform-Error-Code") == values["code"]
    assert values["message"]
    return response.status, values["code"]


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def test_a_write_is_204_without_a_body_and_its_token_names_the_records(router: RunningRouter) -> None:
    """A good write is durable when answered: 204, no body, and the token's offsets are where the rows stand."""
    response, content = router.write(b"cpu,host=a usage=1.5 17\ncpu,host=b usage=2.5 18\n")
    assert (response.status, content) == (204, b"")
    assert response.getheader("Content-Encoding") is None
    token = parse_token(response.getheader("X-Penstock-Write-Token", ""))
    assert token == {sequencer: offset for sequencer, offset, _, _ in router.records()}
    assert [row["usage"] for row in router.rows("ns", "cpu")] == [1.5, 2.5]


def test_a_bad_line_is_told_and_the_good_ones_are_stored(router: RunningRouter) -> None:
    """400 with line number and reason, in both forms that clients read; the good lines are there."""
    response, content = router.write(b"m f=1 1\nm f= 2\nm f=3 3")
    assert code((response, content)) == (400, "invalid")
    values = json.loads(content)
    assert values["message"] == "partial write: 1 of 3 lines refused:\nline 2: missing field value"
    assert values["data"][0]["line_number"] == values["line"] == 2
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("precision", "time", "expected_ns"),
    [("s", 5, 5 * 10**9), ("ms", 5, 5 * 10**6), ("us", 5, 5_000), ("ns", 5, 5), ("", 5, 5)],
)
def test_precisions_scale_times(router: RunningRouter, precision: str, time: int, expected_ns: int) -> None:
    """ns, us, ms and s count what they say; none means ns."""
    assert router.write(f"m f=1 {time}".encode(), f"bucket=ns&precision={precision}")[0].status == 204
    assert router.rows("ns", "m")[0]["time"].value == expected_ns  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "org=o",
        "bucket=",
        "bucket=" + "x" * 512,
        "bucket=a%00b",
        "bucket=%ff",
        "bucket=ns&precision=m",
        "bucket=ns&precision=NS",
    ],
)
def test_wrong_parameters_are_400_and_nothing_is_stored(router: RunningRouter, query: str) -> None:
    """A missing, empty, overlong or undecodable bucket and an unknown precision are the caller's to mend."""
    assert code(router.write(b"m f=1", query)) == (400, "invalid")
    assert router.records() == []


@pytest.mark.parametrize("namespace", ["../../etc", "a/b", ".", "größe", "x" * 511, "partial write", " "])
def test_any_name_is_just_a_namespace(start: Start, namespace: str) -> None:
    """A bucket called ../../etc is a name like another: stored under it, and escaped in the store's paths."""
    store = CloudStore("memory:")
    router = start(store=store)
    quoted = "".join(f"%{byte:02x}" for byte in namespace.encode())
    assert router.write(b"m f=1 1", f"bucket={quoted}")[0].status == 204
    assert len(router.rows(namespace, "m")) == 1
    (path,) = [found.path for found in store.list("")]
    assert path.startswith("schema/")
    assert path.count("/") == 3
    assert ".." not in path.split("/")


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


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity", ""])
def test_encodings_that_clients_send_are_understood(router: RunningRouter, encoding: str) -> None:
    """gzip under its two names, and identity, which is nothing."""
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


@pytest.mark.parametrize(
    "sent",
    [
        b"m f=1 1",
        gzip.compress(b"m f=1 1")[:-1],
        gzip.compress(b"m f=1 1")[:12],
        gzip.compress(b"m f=1 1") + b"trailing",
        gzip.compress(b"m f=1 1")[:-8] + struct.pack("<II", 0, 7),
        zlib.compress(b"m f=1 1"),
    ],
    ids=["plain", "cut-end", "cut-early", "trailing", "wrong-checksum", "zlib"],
)
def test_bad_gzip_is_400_and_nothing_is_stored(router: RunningRouter, sent: bytes) -> None:
    """What cannot be inflated to its end is the sender's fault, never a 500 that it would retry for ever."""
    assert code(router.write(sent, headers={"Content-Encoding": "gzip"})) == (400, "invalid")
    assert router.records() == []
    assert router.admission.bytes_held == 0


def test_an_unknown_encoding_is_400(router: RunningRouter) -> None:
    """Encodings that were not agreed on are named in the refusal."""
    answer = router.write(b"m f=1", headers={"Content-Encoding": "br"})
    assert code(answer) == (400, "invalid")
    assert b"br" in answer[1]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(start: Start, chunked: bool) -> None:
    """With a length or chunked without one: too large a body is refused while it arrives, and says the limit."""
    router = start(body_bytes_max=1000)
    fits, over = b"m f=1 1\n".ljust(1000), b"m f=1 1\n".ljust(1001)
    assert router.write(chunks(fits, 300) if chunked else fits)[0].status == 204
    response, content = router.write(chunks(over, 300) if chunked else over)
    assert code((response, content)) == (413, "request too large")
    assert json.loads(content)["maxLength"] == 1000
    assert router.admission.bytes_held == 0
    assert len(router.rows("ns", "m")) == 1


def test_a_gzip_bomb_is_413_without_being_inflated(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small body that inflates to gigabytes, also by many members, costs at most the limit."""
    router = start(body_bytes_max=MIB)
    inflated: list[int] = []
    real = body._Gzip._decompress

    def watched(self: body._Gzip, data: bytes) -> bytes:
        part = real(self, data)
        inflated.append(len(part))
        return part

    monkeypatch.setattr(body._Gzip, "_decompress", watched)
    for bomb in (gzip.compress(b" " * 300 * MIB, 9), gzip.compress(b" " * MIB, 9) * 300):
        inflated.clear()
        assert code(router.write(bomb, headers={"Content-Encoding": "gzip"})) == (413, "request too large")
        assert sum(inflated) == MIB + 1
    assert router.admission.bytes_held == 0


def test_a_body_of_exactly_the_limit_after_inflating_is_taken(start: Start) -> None:
    """The limit itself is allowed, plain and compressed."""
    router = start(body_bytes_max=10_000)
    assert (
        router.write(gzip.compress(b"m f=1 1\n".ljust(10_000)), headers={"Content-Encoding": "gzip"})[0].status == 204
    )


def test_invalid_utf8_on_one_line_refuses_that_line(router: RunningRouter) -> None:
    """Bytes that are no UTF-8 cost their own line, not the batch."""
    response, content = router.write(b"m,t=a f=1 1\nm,t=\xff f=2 2\nm,t=b f=3 3")
    assert code((response, content)) == (400, "invalid")
    assert json.loads(content)["line"] == 2
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 3.0]


def test_bodies_being_uploaded_count_against_the_limit_of_bytes_in_flight(start: Start) -> None:
    """An upload that stalls holds its share; another that does not fit is told to come back, and later fits."""
    router = start(body_bytes_max=1000, in_flight_bytes_max=1000)
    with socket.create_connection(("127.0.0.1", router.port)) as stalled:
        stalled.sendall(b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + b"#" * 800)
        wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 800)
        response, content = router.write(b"#" * 300)
        assert code((response, content)) == (503, "unavailable")
        assert response.getheader("Retry-After", "").isdigit()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 0, what="a gone client's share")
    assert router.write(b"#" * 300)[0].status == 204


def test_a_stalled_upload_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends nothing more is answered 408 and its memory is free again."""
    monkeypatch.setattr(body, "ARRIVAL_TIMEOUT_S", 0.05)
    router = start()
    with socket.create_connection(("127.0.0.1", router.port), timeout=20) as stalled:
        stalled.sendall(b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + b"#" * 800)
        assert stalled.recv(100).startswith(b"HTTP/1.1 408 ")
    assert router.admission.bytes_held == 0


def test_a_write_that_is_not_durable_in_time_is_503(start: Start) -> None:
    """While the buffer holds its acknowledgement back the client waits, then gets 503; the next write is fine."""
    router = start(append_timeout_s=0.1)
    router.backend.hold()
    response, content = router.write(b"m f=1 1")
    assert code((response, content)) == (503, "unavailable")
    assert router.admission.bytes_held == len(b"m f=1 1")
    router.backend.release()
    assert router.write(b"m f=2 2")[0].status == 204


def test_a_write_behind_others_is_answered_in_its_own_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a parse takes for ever its request and those that collect behind it are 503 at the timeout, counted from
    their arrival; then the parse is given up, and the next write is fine."""
    go, real = Event(), BatchParser.parse

    def parse(self: BatchParser, namespace: str, bodies: Sequence[Body], schemas: Schemas, cancelled: Event) -> object:
        if namespace == "slow":
            assert go.wait(20)
        return real(self, namespace, bodies, schemas, cancelled)

    monkeypatch.setattr(BatchParser, "parse", parse)
    router = start(append_timeout_s=0.3)
    results: list[int] = []
    slow = threading.Thread(target=lambda: results.append(router.write(b"m f=1", "bucket=slow")[0].status))
    slow.start()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == len(b"m f=1"))
    assert code(router.write(b"m f=2 2")) == (503, "unavailable")
    slow.join()
    assert results == [503]
    go.set()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 0)
    assert router.write(b"m f=3 3")[0].status == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [3.0]


class SlowStore(CloudStore):
    """A store that holds puts back until `go`."""

    def __init__(self) -> None:
        super().__init__("memory:")
        self.go = Event()

    def put_if_absent(self, path: str, data: bytes) -> None:
        assert self.go.wait(20)
        super().put_if_absent(path, data)


def test_settling_ends_when_nobody_waits_for_it_any_longer(start: Start) -> None:
    """Of many new tables those settled in time are kept; the store is not asked for the others behind an answer."""
    store = SlowStore()
    router = start(store=store, append_timeout_s=0.1)
    assert code(router.write(b"a f=1\nb f=1\nc f=1")) == (503, "unavailable")
    store.go.set()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 0)
    assert len(list(store.list("schema/"))) == 1
    assert router.records() == []


class DeadWriter(MemoryWriter):
    """A backend whose thread is gone."""

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        raise WriterDied("the log's thread died")


def test_a_router_that_has_to_end_is_not_ready(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once an append has failed for good, /ready says why until the process has ended."""
    monkeypatch.setattr("writebuffer.memory.MemoryWriter", DeadWriter)
    router = start()
    assert code(router.write(b"m f=1 1")) == (503, "unavailable")
    answer = router.request("GET", "/ready")
    assert code(answer) == (503, "unavailable")
    assert "the log's thread died" in json.loads(answer[1])["message"]


class BrokenWriter(MemoryWriter):
    """A backend with a defect: its appends raise at the call."""

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        raise ZeroDivisionError("secret detail")


def test_a_defect_in_a_backend_is_500_and_answers_every_request(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append that breaks in a way no contract knows still answers its requests, without detail."""
    monkeypatch.setattr("writebuffer.memory.MemoryWriter", BrokenWriter)
    router = start()
    response, content = router.write(b"m,h=a f=1 1\nm,h=b f=1 1\nm,h=c f=1 1")
    assert code((response, content)) == (500, "internal error")
    assert b"secret" not in content
    assert router.admission.bytes_held == 0


def test_writes_that_come_while_one_waits_are_answered_when_they_are_durable(start: Start) -> None:
    """No answer comes before durability, whatever the number of clients; then each gets its own."""
    router = start()
    router.backend.hold()
    results: list[int] = []
    clients = [
        threading.Thread(target=lambda n=n: results.append(router.write(f"m f={n} {n}".encode())[0].status))
        for n in range(10)
    ]
    for client in clients:
        client.start()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 10 * len(b"m f=0 0"))
    assert results == []
    router.backend.release()
    for client in clients:
        client.join()
    assert results == [204] * 10
    assert len(router.rows("ns", "m")) == 10


class AwayStore(CloudStore):
    """A store that can be taken away."""

    away = False

    def get(self, path: str) -> bytes:
        if self.away:
            raise Unavailable("object store: connection refused")
        return super().get(path)


def test_without_the_store_known_columns_are_written_and_unknown_ones_are_503(start: Start) -> None:
    """Steady state needs no store; a new column does, is 503 while it is away, and is taken when it is back."""
    store = AwayStore("memory:")
    router = start(store=store)
    assert router.write(b"m f=1 1")[0].status == 204
    store.away = True
    assert router.write(b"m f=2 2")[0].status == 204
    response, content = router.write(b"m f=3,g=3 3")
    assert code((response, content)) == (503, "unavailable")
    assert response.getheader("Retry-After", "").isdigit()
    store.away = False
    assert router.write(b"m f=3,g=3 3")[0].status == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 2.0, 3.0]


def test_until_the_buffer_is_open_writes_are_503_and_the_process_says_why(start: Start) -> None:
    """/ready fails with the reason, /health does not, and writes are to be sent again."""
    router = start(is_open=False)
    for path in ("/ready", "/readyz"):
        assert code(router.request("GET", path)) == (503, "unavailable")
    assert router.request("GET", "/health")[0].status == 200
    response, content = router.write(b"m f=1 1")
    assert code((response, content)) == (503, "unavailable")
    assert response.getheader("Retry-After", "").isdigit()


def test_ping_and_health_are_what_influxdb_clients_look_for(router: RunningRouter) -> None:
    """/ping is 204 with a version header, JSON on request; /health has a name and status pass; HEAD has no body."""
    for method in ("GET", "HEAD"):
        response, content = router.request(method, "/ping", headers={"X-Request-Id": "mine"})
        assert (response.status, content) == (204, b"")
        assert response.getheader("X-Influxdb-Version") == "9.9.9"
        assert response.getheader("X-Influxdb-Build") == "penstock"
        assert response.getheader("Request-Id") == response.getheader("X-Request-Id") == "mine"
    for path, headers in (("/ping?verbose=1", {}), ("/ping", {"Accept": "application/json"})):
        response, content = router.request("GET", path, headers=headers)
        assert (response.status, json.loads(content)["version"]) == (200, "9.9.9")
    for path in ("/health", "/healthz", "/livez"):
        values = json.loads(router.request("GET", path)[1])
        assert values["name"]
        assert values["status"] == "pass"
    ready = json.loads(router.request("GET", "/ready")[1])
    assert ready["status"] == "ready"
    assert datetime.fromisoformat(ready["started"])
    assert router.request("HEAD", "/health")[1] == b""


def test_unknown_paths_and_methods_are_json_errors(router: RunningRouter) -> None:
    """404 for a path that is not there, 405 with the methods that are."""
    assert code(router.request("GET", "/nowhere")) == (404, "not found")
    response, content = router.request("GET", "/api/v2/write")
    assert code((response, content)) == (405, "method not allowed")
    assert response.getheader("Allow") == "POST"
    assert router.request("DELETE", "/ping")[0].getheader("Allow") == "GET, HEAD"


def test_metrics_and_status_count_what_happened(router: RunningRouter) -> None:
    """After one good and one partly bad write the figures say so, to Prometheus, to scripts and to people."""
    router.write(b"m f=1 1\nm f=2 2")
    router.write(b"m f=3 3\nbad")
    response, content = router.request("GET", "/metrics")
    assert response.getheader("Content-Type", "").startswith("text/plain; version=0.0.4")
    lines = content.decode().splitlines()
    for expected in (
        'penstock_router_requests_total{result="stored"} 1.0',
        'penstock_router_requests_total{result="partial"} 1.0',
        "penstock_router_lines_accepted_total 3.0",
        "penstock_router_lines_refused_total 1.0",
        "penstock_router_in_flight_bytes 0.0",
        "penstock_router_append_seconds_count 2.0",
    ):
        assert expected in lines
    status = json.loads(router.request("GET", "/status")[1])
    assert (status["lines_accepted"], status["lines_refused"], status["ready"]) == (3, 1, True)
    page = router.request("GET", "/")
    assert page[0].getheader("Content-Type", "").startswith("text/html")
    assert b"lines accepted" in page[1]


def test_a_valid_trace_parent_travels_with_the_record(router: RunningRouter) -> None:
    """The W3C trace context of a request is in its record's headers; anything else is left out."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    router.write(b"m f=1 1", headers={"traceparent": trace})
    router.write(b"m f=2 2", headers={"traceparent": "x" * 300})
    assert sorted(headers.trace_parent for _, _, headers, _ in router.records()) == ["", trace]


def test_influxdb_client_writes_synchronously(router: RunningRouter) -> None:
    """The unmodified influxdb-client, SYNCHRONOUS: health, ping, a point stored, a bad line told by its text."""
    with InfluxDBClient(router.url, token="t", org="o", enable_gzip=True) as client:
        assert client.ping()
        assert client.health().status == "pass"
        assert client.ready().status == "ready"
        assert client.version() == "9.9.9"
        write = client.write_api(write_options=SYNCHRONOUS)
        write.write("ns", record=Point("m").tag("h", "a b,c").field("f", 1.5).field("s", 'q"\\').time(5))
        with pytest.raises(ApiException) as refused:
            write.write("ns", record=["m f=2 6", "m f=oops 7"])
    assert refused.value.status == 400
    assert "line 2: field value 'oops'" in refused.value.message
    first, second = router.rows("ns", "m")
    assert (first["h"], first["f"], first["s"]) == ("a b,c", 1.5, 'q"\\')
    assert second["f"] == 2.0


def test_influxdb_client_writes_in_batches(router: RunningRouter) -> None:
    """The unmodified influxdb-client in batching mode: every point is stored once."""
    with InfluxDBClient(router.url, token="t", org="o") as client:
        with client.write_api(write_options=WriteOptions(batch_size=100, flush_interval=100)) as write:
            for number in range(1000):
                write.write("ns", record=Point("m").tag("h", str(number % 7)).field("f", number).time(number))
    assert [row["f"] for row in sorted(router.rows("ns", "m"), key=lambda row: int(str(row["f"])))] == list(range(1000))


def test_influxdb3_python_writes_by_its_default_path(router: RunningRouter) -> None:
    """The unmodified influxdb3-python: a point is stored, and an error shows the single lines."""
    with InfluxDBClient3(host=router.url, token="t", database="ns", write_client_options=None) as client:
        client.write("m,h=a f=1 5")
        with pytest.raises(Exception, match="line 2") as refused:
            client.write(["m,h=a f=2 6", "m,h=a f=x 7"])
    assert "is no number" in str(refused.value)
    wait_until(lambda: len(router.rows("ns", "m")), holds=lambda count: count == 2)
