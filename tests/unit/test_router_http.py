"""The router's HTTP side, by real requests on a real port: raw ones as curl sends them, and unmodified clients."""

import json
from datetime import datetime

import pytest
from influxdb_client import InfluxDBClient, Point, WriteOptions
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from influxdb_client_3 import InfluxDBClient3

from common.store.cloud import CloudStore
from common.values.token import parse_token
from tests.support.router import RunningRouter
from tests.support.router_fixtures import StartRouter, error_of
from tests.support.wait import wait_until


def test_a_write_is_204_without_a_body_and_its_token_names_the_records(router: RunningRouter) -> None:
    """A good write is durable when answered: 204, no body, and the token's offsets are those of the rows."""
    response, content = router.write(b"cpu,host=a usage=1.5 17\ncpu,host=b usage=2.5 18\n")
    assert (response.status, content) == (204, b"")
    assert response.getheader("Content-Encoding") is None
    token = parse_token(response.getheader("X-Penstock-Write-Token", ""))
    assert token == {sequencer: offset for sequencer, offset, _, _ in router.records()}
    assert [row["usage"] for row in router.rows("ns", "cpu")] == [1.5, 2.5]


def test_a_bad_line_is_reported_and_the_good_ones_are_stored(router: RunningRouter) -> None:
    """400 with line number and reason, in both forms that clients read; the good lines are there."""
    response, content = router.write(b"m f=1 1\nm f= 2\nm f=3 3")
    assert error_of((response, content)) == (400, "invalid")
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
        "bucket=a%0ab",
        "bucket=%1f",
        "bucket=%ff",
        "bucket=ns&precision=m",
        "bucket=ns&precision=NS",
    ],
)
def test_wrong_parameters_are_400_and_nothing_is_stored(router: RunningRouter, query: str) -> None:
    """A missing, empty, overlong or undecodable bucket and an unknown precision are the caller's to mend."""
    assert error_of(router.write(b"m f=1", query)) == (400, "invalid")
    assert router.records() == []


@pytest.mark.parametrize("namespace", ["../../etc", "a/b", ".", "größe", "x" * 511, "partial write", " "])
def test_any_name_is_just_a_namespace(start_router: StartRouter, namespace: str) -> None:
    """A bucket called ../../etc is a name like another: stored under it, and escaped in the store's paths."""
    store = CloudStore("memory:")
    router = start_router(store=store)
    quoted = "".join(f"%{byte:02x}" for byte in namespace.encode())
    assert router.write(b"m f=1 1", f"bucket={quoted}")[0].status == 204
    assert len(router.rows(namespace, "m")) == 1
    (path,) = [found.path for found in store.list("")]
    assert path.startswith("schema/")
    assert path.count("/") == 3
    assert ".." not in path.split("/")


def test_a_field_with_a_reserved_name_is_left_out_and_reported(router: RunningRouter) -> None:
    """204 with a header that names line and field; a partly refused write lists them; the metrics count them."""
    response, content = router.write(b"m f=1 1\nm f=2,time=7 2\nm utc_day=1,f=3,time=3 3")
    assert (response.status, content) == (204, b"")
    header = "3; line 2: field 'time' left out, the name is reserved"
    assert response.getheader("X-Penstock-Dropped-Fields") == header
    response, content = router.write(b"m f=4,time=7 4\nm time=1 5")
    assert error_of((response, content)) == (400, "invalid")
    values = json.loads(content)
    assert values["dropped_fields"] == [{"line_number": 1, "field": "time"}]
    assert values["data"][0]["error_message"].startswith("missing fields: the name 'time' is reserved")
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 2.0, 3.0, 4.0]
    assert {name for row in router.rows("ns", "m") for name in row} == {"time", "f"}
    assert json.loads(router.request("GET", "/status")[1])["fields_dropped"] == 4


def test_metrics_have_no_series_that_says_when_another_began(router: RunningRouter) -> None:
    """Those would double the number of series; `_created` is all that is left out."""
    assert router.write(b"m f=1 1")[0].status == 204
    names = {line.split("{")[0].split()[0] for line in router.request("GET", "/metrics")[1].decode().splitlines()}
    assert "penstock_router_lines_accepted_total" in names
    assert "penstock_router_request_seconds_bucket" in names
    assert {name for name in names if name.endswith("_created")} == set()


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
    assert error_of(router.request("GET", "/nowhere")) == (404, "not found")
    message = json.loads(router.request("POST", "/api/v9/write?db=x")[1])["message"]
    assert message.startswith("path '/api/v9/write' is not served; served here are: ")
    assert "/api/v2/write" in message
    response, content = router.request("GET", "/api/v2/write")
    assert error_of((response, content)) == (405, "method not allowed")
    assert response.getheader("Allow") == "POST"
    assert router.request("DELETE", "/ping")[0].getheader("Allow") == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/api/v2/query?org=o", "/api/v3/query_sql", "/api/v3/query_influxql", "/api/v1/query_range"]
)
def test_a_query_is_told_where_rows_are_queried(router: RunningRouter, path: str) -> None:
    """404, as no query is served, with the command that answers it."""
    response, content = router.request("POST", path, b"{}")
    assert error_of((response, content)) == (404, "not found")
    assert "penstock query" in json.loads(content)["message"]


@pytest.mark.parametrize("path", ["/api/v1/write", "/api/v1/prom/write?db=d"])
def test_a_prometheus_is_told_what_can_receive_its_writes(router: RunningRouter, path: str) -> None:
    """At Prometheus' own path and at InfluxDB 1's for it."""
    response, content = router.request("POST", path, b"x")
    assert error_of((response, content)) == (404, "not found")
    assert "Telegraf can receive it" in json.loads(content)["message"]


def test_a_client_with_user_and_password_writes(router: RunningRouter) -> None:
    """influxdb-client signs in first, keeps the cookie, and signs out at its end."""
    with InfluxDBClient(router.url, username="u", password="p", org="o") as client:
        client.write_api(write_options=SYNCHRONOUS).write(bucket="ns", record=Point("m").field("f", 1.0).time(1))
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0]


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
    """The unmodified influxdb-client, SYNCHRONOUS: health, ping, a point stored, a bad line reported by its text."""
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


def test_a_tag_that_ends_in_a_backslash_keeps_its_neighbours(router: RunningRouter) -> None:
    """What the unmodified clients make of a Windows path, and what others send: never another tag's name in a value."""
    with InfluxDBClient(router.url, token="t", org="o") as client:
        point = Point("m").tag("path", "C:\\").tag("unit", "G").field("v", 1.0).time(1)
        client.write_api(write_options=SYNCHRONOUS).write("ns", record=point)
    (row,) = router.rows("ns", "m")
    assert (row["path"], row["unit"]) == ("C: ", "G")
    response, content = router.write(rb"m,path=C:\,unit=G v=1 1")
    assert error_of((response, content)) == (400, "invalid")
    assert "cannot end in a backslash" in json.loads(content)["message"]


def test_influxdb3_python_writes_by_its_default_path(router: RunningRouter) -> None:
    """The unmodified influxdb3-python: a point is stored, and an error shows the single lines."""
    with InfluxDBClient3(host=router.url, token="t", database="ns", write_client_options=None) as client:
        client.write("m,h=a f=1 5")
        with pytest.raises(Exception, match="line 2") as refused:
            client.write(["m,h=a f=2 6", "m,h=a f=x 7"])
    assert "is not a number" in str(refused.value)
    wait_until(lambda: len(router.rows("ns", "m")), holds=lambda count: count == 2)


def test_a_page_of_another_origin_may_write(router: RunningRouter) -> None:
    """Its browser asks first, and reads the token afterwards; without an Origin nothing is said of any."""
    asks = {"Origin": "http://page", "Access-Control-Request-Headers": "authorization,x-own"}
    response, content = router.request("OPTIONS", "/api/v2/write?bucket=ns", headers=asks)
    assert (response.status, content, response.getheader("Allow")) == (204, b"", "OPTIONS, POST")
    assert response.getheader("Access-Control-Allow-Headers") == "authorization,x-own"
    assert "POST" in response.getheader("Access-Control-Allow-Methods", "")
    response, _ = router.write(b"m f=1 1", headers={"Origin": "http://page"})
    assert (response.status, response.getheader("Access-Control-Allow-Origin")) == (204, "http://page")
    assert "X-Penstock-Write-Token" in response.getheader("Access-Control-Expose-Headers", "")
    response, _ = router.write(b"m f=1 1")
    assert response.getheader("Access-Control-Allow-Origin") is None
    assert router.request("OPTIONS", "/nowhere")[0].status == 404
