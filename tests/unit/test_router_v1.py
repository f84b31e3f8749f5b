"""InfluxDB 1's /write and /query, by real requests and by its unmodified client."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError

from common.http.app import Response
from common.store.cloud import CloudStore
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import Offset, SequencerId
from router.api.client_texts import FINAL_TEXTS
from router.api.error_key import ERROR_HEADER
from router.api.v1 import PRECISIONS_NS, render
from router.api.v1_query import CREATED_MAX, QUERY_BYTES_MAX, STATEMENTS_MAX, QueryV1
from router.core.outcome import (
    Failed,
    LinesRefused,
    Outcome,
    Overloaded,
    PartlyStored,
    Reason,
    RequestRefused,
    Retry,
    Stored,
    TooLarge,
)
from router.parsing.messages import RequestLines
from tests.support.router import RunningRouter
from tests.support.router_fixtures import StartRouter

OFFSETS = {SequencerId(1): Offset(7)}
AWAY = Unavailable("the disk is full: partial write")


def refused(accepted: int) -> RequestLines:
    lines = RequestLines(accepted)
    lines.refuse(2, b"m f= 2", "missing field value")
    return lines


def text_of(response: Response) -> str:
    """The error's text, after the checks that hold for every error."""
    assert response.content_type.startswith("application/json")
    (name, text), *others = json.loads(response.body).items()
    assert (name, others) == ("error", [])
    assert response.headers[ERROR_HEADER] == " ".join(text.split())[:1024]
    return str(text)


@pytest.mark.parametrize(
    ("outcome", "status", "text"),
    [
        (
            PartlyStored(refused(2), OFFSETS),
            400,
            "partial write: unable to parse 'm f= 2': line 2: missing field value dropped=1",
        ),
        (LinesRefused(refused(0)), 400, "unable to parse 'm f= 2': line 2: missing field value"),
        (RequestRefused("no such precision"), 400, "no such precision"),
        (RequestRefused("no length", Reason.NO_LENGTH), 411, "no length"),
        (RequestRefused("late", Reason.TOO_SLOW), 408, "late"),
        (TooLarge(10), 413, "Request Entity Too Large: the body is over 10 bytes"),
        (Overloaded("too much is in flight"), 503, "too much is in flight"),
        (Retry(Unavailable("the disk is full")), 503, "the disk is full"),
        (Failed(DataCorrupt("a flipped bit")), 500, "a flipped bit"),
    ],
)
def test_each_outcome_has_its_status_and_text(outcome: Outcome, status: int, text: str) -> None:
    """InfluxDB 1's form: one key, the same text in a header."""
    response = render(outcome)
    assert response.status == status
    assert text_of(response).startswith(text)
    assert ("Retry-After" in response.headers) == (status == 503)


def test_stored_is_204_with_the_token_alone() -> None:
    """Telegraf's v1 output sends a 200 again for ever."""
    assert (render(Stored(RequestLines(1), OFFSETS)).status, render(Stored(RequestLines(1), OFFSETS)).body) == (
        204,
        b"",
    )


@pytest.mark.parametrize("outcome", [Overloaded(AWAY.message), Retry(AWAY), Failed(DataCorrupt(AWAY.message))])
def test_what_was_not_stored_is_never_called_done(outcome: Outcome) -> None:
    """Clients drop a batch whose answer contains one of these texts, with any status."""
    assert not any(final in text_of(render(outcome)).lower() for final in FINAL_TEXTS)


@pytest.mark.parametrize(("precision", "unit_ns"), PRECISIONS_NS.items())
def test_precisions_scale_times(router: RunningRouter, precision: str, unit_ns: int) -> None:
    """Minutes and hours are InfluxDB 1's alone."""
    response, _ = router.request("POST", f"/write?db=p&precision={precision}", b"m f=1 3")
    assert response.status == 204
    assert 3 * unit_ns in [row["time"].value for row in router.rows("p", "m")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "database is required: give ?db=NAMESPACE"),
        ("db=", "database is required: give ?db=NAMESPACE"),
        ("db=a&precision=minute", "invalid precision 'minute': use n, ns, u, us, ms, s, m, h"),
        ("db=" + "x" * 512, "db of 512 bytes: give at most 511"),
    ],
)
def test_wrong_parameters_are_400_and_nothing_is_stored(router: RunningRouter, query: str, text: str) -> None:
    """The message says what to give."""
    response, content = router.request("POST", f"/write?{query}", b"m f=1")
    assert (response.status, json.loads(content)) == (400, {"error": text})
    assert router.records() == []


def test_the_good_lines_around_a_bad_one_are_stored(router: RunningRouter) -> None:
    """400 says partial write, and both others are there."""
    response, content = router.request("POST", "/write?db=ns&u=a&p=b&consistency=all", b"m f=1 1\nm f= 2\nm f=3 3")
    assert response.status == 400
    assert json.loads(content)["error"].startswith("partial write: unable to parse 'm f= 2'")
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("policy", "namespace"), [("", "d"), ("autogen", "d"), ("default", "d"), ("''", "d"), ("week", "d/week")]
)
def test_a_retention_policy_is_part_of_the_name(router: RunningRouter, policy: str, namespace: str) -> None:
    """But for the default one."""
    assert router.request("POST", f"/write?db=d&rp={quote(policy)}", b"m f=1 1")[0].status == 204
    assert len(router.rows(namespace, "m")) == 1


# /query


def asked(router: RunningRouter, statement: str) -> list[dict[str, Any]]:
    response, content = router.request("POST", f"/query?q={quote(statement)}")
    assert response.status == 200
    results: list[dict[str, Any]] = json.loads(content)["results"]
    assert [one["statement_id"] for one in results] == list(range(len(results)))
    return results


def databases(router: RunningRouter) -> list[str]:
    (result,) = asked(router, "SHOW DATABASES")
    (series,) = result["series"]
    assert (series["name"], series["columns"]) == ("databases", ["name"])
    return [name for (name,) in series["values"]]


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE DATABASE telegraf", "telegraf"),
        ('create database "a b"', "a b"),
        ('CREATE DATABASE "semi;colon"', "semi;colon"),
        (r'CREATE DATABASE "say \"x\""', 'say "x"'),
        ('CREATE DATABASE "x" WITH DURATION 1d NAME "week"', "x"),
    ],
)
def test_a_created_database_is_shown(router: RunningRouter, statement: str, name: str) -> None:
    """By the router that was asked; nothing durable is made of it."""
    assert asked(router, statement) == [{"statement_id": 0}]
    assert databases(router) == [name]
    assert router.records() == []


def test_every_namespace_that_was_written_to_is_shown(start_router: StartRouter) -> None:
    """By a router of any name: those of a store."""
    store = CloudStore("memory:")
    names = ["b", "a", "../x", "größe", "x" * 511]
    for name in names:
        assert start_router(store=store).request("POST", f"/write?db={quote(name)}", b"m f=1 1")[0].status == 204
    assert databases(start_router(store=store)) == sorted(names)


def test_each_statement_has_its_result(router: RunningRouter) -> None:
    """One that is not served has an error that says where to query; the others are answered."""
    created, policies, select = asked(router, 'CREATE DATABASE a; SHOW RETENTION POLICIES ON "a"; SELECT * FROM m;')
    assert created == {"statement_id": 0}
    assert policies["series"][0]["values"] == [["autogen", "0s", "24h0m0s", 1, True]]
    assert select["error"].startswith("'SELECT * FROM m': a router answers CREATE DATABASE")


def test_the_form_body_is_read(router: RunningRouter) -> None:
    """Telegraf sends q so, and may ask with GET."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    _, content = router.request("POST", "/query", b"q=CREATE+DATABASE+%22t%22", form)
    assert json.loads(content) == {"results": [{"statement_id": 0}]}
    _, content = router.request("GET", "/query?q=SHOW+DATABASES&db=t&epoch=ms")
    assert b'["t"]' in content


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/query", b"", 400),
        ("/query?q=", b"", 400),
        ("/query?q=;;", b"", 400),
        ("/query", b"\xff\xfe", 400),
        ("/query", b"q=" + b"x" * QUERY_BYTES_MAX, 413),
    ],
)
def test_a_request_without_a_statement_is_refused(router: RunningRouter, path: str, body: bytes, status: int) -> None:
    """In InfluxDB 1's form."""
    response, content = router.request("POST", path, body)
    assert response.status == status
    assert json.loads(content)["error"] == response.getheader(ERROR_HEADER)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ['\\"', "\\'", "'\\\"", "\"'\\"])
def test_quotes_that_are_never_closed_cost_little(router: RunningRouter, text: str) -> None:
    """The largest text of them is answered at once: while statements are cut, the router answers nobody else."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"q=" + (text * QUERY_BYTES_MAX)[: QUERY_BYTES_MAX - 2].encode()
    _, content = router.request("POST", "/query", body, form)
    (result,) = json.loads(content)["results"]
    assert "a router answers CREATE DATABASE" in result["error"]


class AwayStore(CloudStore):
    def list(self, prefix: str) -> Iterator[Any]:
        raise Unavailable("the store does not answer")


def test_a_store_that_is_away_is_503(start_router: StartRouter) -> None:
    """An empty list would make a client create what exists."""
    response, content = start_router(store=AwayStore("memory:")).request("GET", "/query?q=SHOW%20DATABASES")
    assert (response.status, response.getheader("Retry-After")) == (503, "1")
    assert json.loads(content) == {"error": "the store does not answer"}


def test_namespaces_are_listed_once_for_all_who_ask_meanwhile() -> None:
    """Statements of one request and of others: a listing takes a thread, and may take long."""
    listings: list[threading.Thread] = []
    asked_by_all = threading.Event()

    def namespaces() -> list[str]:
        listings.append(threading.current_thread())
        assert asked_by_all.wait(20)
        return ["a"]

    async def all_ask() -> list[Response]:
        query = QueryV1(namespaces)
        request = Mock(query=lambda: {"q": "SHOW DATABASES;SHOW DATABASES"})
        asking = [asyncio.create_task(query.answer(request)) for _ in range(4)]
        await asyncio.sleep(0)  # each has asked
        asked_by_all.set()
        return await asyncio.gather(*asking)

    assert [response.body.count(b'[["a"]]') for response in asyncio.run(all_ask())] == [2] * 4
    assert len(listings) == 1


def test_more_statements_than_anybody_needs_are_refused(router: RunningRouter) -> None:
    """Their answers would be thousands of times as long as they are."""
    response, content = router.request("POST", "/query", b"q=" + b"SHOW+DATABASES;" * (STATEMENTS_MAX + 1))
    assert response.status == 400
    assert json.loads(content)["error"] == "101 statements: send at most 100 at a time"


@pytest.mark.parametrize("name", ["x" * 512, "a\tb"])
def test_a_database_that_no_write_could_have_is_not_created(router: RunningRouter, name: str) -> None:
    """As InfluxDB says of a wrong name, within the statement's result."""
    (result,) = asked(router, f'CREATE DATABASE "{name}"')
    assert result["error"].startswith("invalid name ")
    assert databases(router) == []


def test_created_names_are_bounded(router: RunningRouter) -> None:
    """A client that creates without end does not fill the memory."""
    for first in range(0, CREATED_MAX + 200, 100):
        asked(router, ";".join(f"CREATE DATABASE n{first + n}" for n in range(100)))
    assert len(databases(router)) == CREATED_MAX


# Unmodified


def test_influxdb_python_creates_pings_and_writes(router: RunningRouter) -> None:
    """influxdb 5.3.2: version check, CREATE DATABASE, SHOW DATABASES, points, gzip and lines; errors raise."""
    for gzip in (False, True):
        client = InfluxDBClient("127.0.0.1", router.port, "user", "secret", "old", gzip=gzip)
        assert client.ping()
        client.create_database("old")
        assert client.get_list_database() == [{"name": "old"}]
        point = {"measurement": "m", "tags": {"host": f"a{gzip}"}, "time": 5, "fields": {"f": 1.5, "s": "x", "i": 3}}
        assert client.write_points([point], time_precision="s")
        assert client.write([f"m,host=b{gzip} f=2.5 6000000000"], {"db": "old"}, protocol="line")
        with pytest.raises(InfluxDBClientError, match="unable to parse 'm f='"):
            client.write(["m f="], {"db": "old"}, protocol="line")
        client.close()
    rows = [(row["host"], row["time"].value, row["f"]) for row in router.rows("old", "m")]  # type: ignore[attr-defined]
    assert sorted(rows) == [
        ("aFalse", 5_000_000_000, 1.5),
        ("aTrue", 5_000_000_000, 1.5),
        ("bFalse", 6_000_000_000, 2.5),
        ("bTrue", 6_000_000_000, 2.5),
    ]
