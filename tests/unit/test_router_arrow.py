"""POST /api/v3/write_arrow, by real requests: what pyarrow, pandas and polars make of their data."""

import gzip
import io
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from router.api.error_key import ERROR_HEADER
from router.core.events import Arrived, Lingered, Parse, WriteRequest
from tests.support.arrow_streams import rows_of, stream_of
from tests.support.compressed import zstd
from tests.support.router import RunningRouter
from tests.support.router_core import Steps, every, only
from tests.support.router_fixtures import StartRouter, chunks

GOOD = rows_of(h=["a", "b"], f=[1.0, 2.0])
BAD = rows_of(h=["a", "", "c"], f=[1.0, 2.0, 3.0])
REFUSED = {
    "error": "partial write of Arrow rows occurred",
    "refused_count": 1,
    "data": [{"error_message": "tag 'h' has an empty value", "row_number": 2}],
}


def write(
    router: RunningRouter, body: Any, query: str = "db=ns&table=t", headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any], str]:
    """Status, document of an error, write token."""
    sent = {"Content-Type": "application/vnd.apache.arrow.stream", **(headers or {})}
    response, content = router.request("POST", f"/api/v3/write_arrow?{query}", body, sent)
    values = json.loads(content) if content else {}
    assert response.getheader(ERROR_HEADER) == values.get("error")
    return response.status, values, response.getheader("X-Penstock-Write-Token", "")


def values(router: RunningRouter) -> list[Any]:
    return [row["f"] for row in router.rows("ns", "t")]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", stream_of(GOOD)),
        ("gzip", gzip.compress(stream_of(GOOD))),
        ("zstd", zstd(stream_of(GOOD))),
    ],
)
def test_rows_are_stored_however_the_body_comes(router: RunningRouter, encoding: str, body: bytes) -> None:
    """204 with a token; plain, compressed, in chunks."""
    for sent in (body, chunks(body, 50)):
        status, _, token = write(router, sent, headers={"Content-Encoding": encoding})
        assert (status, bool(token)) == (204, True)
    assert values(router) == [1.0, 1.0, 2.0, 2.0]


def test_the_rows_around_a_bad_one_are_stored(router: RunningRouter) -> None:
    """The others are listed with their numbers."""
    status, document, token = write(router, stream_of(BAD))
    assert (status, document, bool(token)) == (400, REFUSED, True)
    assert values(router) == [1.0, 3.0]


def test_without_accept_partial_nothing_is_stored(router: RunningRouter) -> None:
    """The same list, and no token."""
    status, document, token = write(router, stream_of(BAD), "db=ns&table=t&accept_partial=false")
    assert (status, document, token) == (400, {**REFUSED, "error": "no row was stored"}, "")
    assert router.records() == []


def test_no_sync_has_no_token(router: RunningRouter) -> None:
    """As with lines."""
    assert write(router, stream_of(GOOD), "db=ns&table=t&no_sync=true") == (204, {}, "")


def test_a_column_keeps_the_type_of_its_first_write(router: RunningRouter) -> None:
    """Lines and streams share their tables; the reason names column and types."""
    assert router.write(b"t,h=a f=0.5 1")[0].status == 204
    status, document, _ = write(router, stream_of(rows_of(h=["a", "b"], f=[1, None], g=[1.0, 2.0])))
    assert status == 400
    assert document["data"] == [
        {
            "error_message": "column 'f' of table 't' is a float field, the stream has an integer field",
            "row_number": 1,
        }
    ]
    assert [row.get("g") for row in router.rows("ns", "t")] == [None, 2.0]


def test_a_table_too_many_is_refused_as_for_lines(start_router: StartRouter) -> None:
    """Each row with the reason, and the tables that exist are written."""
    router = start_router(tables_max=1)
    assert write(router, stream_of(GOOD))[0] == 204
    status, document, _ = write(router, stream_of(GOOD), "db=ns&table=other")
    assert (status, document["error"], document["refused_count"]) == (400, "no row was stored", 2)
    assert "tables_max" in document["data"][0]["error_message"]
    assert write(router, stream_of(GOOD))[0] == 204


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "db is missing: give ?db=NAMESPACE"),
        ("db=ns", "table is missing: give &table=TABLE"),
        ("db=ns&table=", "table is missing: give &table=TABLE"),
        ("db=ns&table=a&table=b", "table is given twice: 'a' and 'b'"),
        ("db=ns&table=t&accept_partial=no", "accept_partial='no': give true or false"),
        ("db=ns&table=%ff", "the query string is not UTF-8: it has the byte 0xff"),
        ("db=ns&table=a%0ab", "table 'a\\nb' contains the control character '\\n'"),
    ],
)
def test_wrong_parameters_are_400_and_nothing_is_stored(router: RunningRouter, query: str, text: str) -> None:
    """The message says what to give."""
    status, document, _ = write(router, stream_of(GOOD), query)
    assert (status, document["error"][: len(text)]) == (400, text)
    assert router.records() == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "incoming write was empty"),
        (stream_of(GOOD.slice(0, 0)), "incoming write was empty"),
        (b"t f=1 1", "the body begins with 74 20 66 3d and is no Arrow stream"),
        (stream_of(GOOD)[:-9], "Arrow message of 232 + 40 bytes does not fit the stream: was it cut off?"),
    ],
)
def test_a_body_that_holds_no_rows_is_400(router: RunningRouter, body: bytes, text: str) -> None:
    """Not called stored."""
    status, document, _ = write(router, body)
    assert (status, document["error"][: len(text)]) == (400, text)


def test_a_stream_over_the_limit_is_413(start_router: StartRouter) -> None:
    """As lines are."""
    router = start_router(body_bytes_max=1_000)
    status, _, _ = write(router, stream_of(rows_of(f=[1.0] * 1_000)))
    assert status == 413


def test_a_stream_is_parsed_alone_among_lines() -> None:
    """Bodies that wait while another is parsed go together, but for a stream."""
    steps = Steps()
    first = only(steps.arrive("m f=1 1"), Parse)
    steps.arrive("m f=2 2")
    steps.requests += 1
    steps.step(Arrived(steps.requests, WriteRequest("ns", stream_of(GOOD), 1, table="t")))
    steps.arrive("m f=3 3")
    batches = []
    parse = first
    for _ in range(3):
        (parse,) = every([*steps.parsed(parse), *steps.step(Lingered())], Parse)
        batches.append([bool(body.table) for body in parse.bodies])
    assert batches == [[False], [True], [False]]


def pandas_stream(frame: pd.DataFrame) -> bytes:
    return stream_of(pa.Table.from_pandas(frame, preserve_index=False))


def test_pandas_frames_are_written(router: RunningRouter) -> None:
    """Categories are tags, NaN and None absent values, times any datetime."""
    frame = pd.DataFrame(
        {
            "time": pd.to_datetime(["2026-01-01", "2026-01-02"], utc=True),
            "h": pd.Categorical(["a", None]),
            "f": [1.5, float("nan")],
            "i": pd.array([1, None], "Int32"),
            "s": ["x", None],
            "n": [None, None],
            "b": [True, False],
        }
    )
    assert write(router, pandas_stream(frame))[0] == 204
    first, second = router.rows("ns", "t")
    assert {name: first[name] for name in "hfisb"} == {"h": "a", "f": 1.5, "i": 1, "s": "x", "b": True}
    assert second.keys() == {"time", "b"}
    assert second["time"] == pd.Timestamp("2026-01-02", tz="UTC")


def test_polars_frames_are_written(router: RunningRouter) -> None:
    """With its older form of text, as the message says where it is not."""
    frame = pl.DataFrame({"time": [1, 2], "h": pl.Series(["a", "b"], dtype=pl.Categorical), "f": [1.0, None], "s": "x"})
    new, old = io.BytesIO(), io.BytesIO()
    frame.write_ipc_stream(new)
    status, document, _ = write(router, new.getvalue())
    assert (status, "string view" in document["error"]) == (400, True)
    frame.write_ipc_stream(old, compat_level=pl.CompatLevel.oldest())
    assert write(router, old.getvalue())[0] == 204
    assert [(row["h"], row.get("f"), row["s"]) for row in router.rows("ns", "t")] == [("a", 1.0, "x"), ("b", None, "x")]
