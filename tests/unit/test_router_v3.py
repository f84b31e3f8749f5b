"""InfluxDB 3's /api/v3/write_lp, by real requests and by its unmodified client."""

import json
from typing import Any

import pytest
from influxdb_client_3 import InfluxDBClient3, WriteOptions, write_client_options
from influxdb_client_3.write_client.client.write_api import WriteType

from common.values.errors import DataCorrupt, Unavailable
from router.api.v3 import PRECISIONS_NS, render
from router.core.events import Append, Lingered, Parse, Settle
from router.core.outcome import Failed, Outcome, Overloaded, RequestRefused, Retry, Stored, TooLarge
from router.parsing.messages import RequestLines
from tests.support.router import RunningRouter
from tests.support.router_core import AWAY, Steps, every, only, outcomes
from tests.support.wait import wait_until

NOW_S = 1_700_000_000


def write(router: RunningRouter, body: bytes, query: str = "db=ns") -> tuple[int, dict[str, Any], str]:
    """Status, document of an error, write token."""
    response, content = router.request("POST", f"/api/v3/write_lp?{query}", body)
    assert bool(content) == (response.status != 204)
    token = response.getheader("X-Penstock-Write-Token", "")
    return response.status, json.loads(content) if content else {}, token


def times(router: RunningRouter) -> list[int]:
    return [row["time"].value for row in router.rows("ns", "m")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("precision", "time", "time_ns"),
    [(name, 3, 3 * unit_ns) for name, unit_ns in PRECISIONS_NS.items() if unit_ns]
    + [
        ("auto", NOW_S, NOW_S * 10**9),
        ("auto", NOW_S * 10**3 + 1, NOW_S * 10**9 + 10**6),
        ("auto", NOW_S * 10**6 + 1, NOW_S * 10**9 + 10**3),
        ("auto", NOW_S * 10**9 + 1, NOW_S * 10**9 + 1),
        ("auto", -NOW_S, -NOW_S * 10**9),
        ("", 4_999_999_999, 4_999_999_999 * 10**9),
        ("", 5_000_000_000, 5_000_000_000 * 10**6),
        ("", 5_000_000_000_000, 5_000_000_000_000 * 10**3),
        ("", 5_000_000_000_000_000, 5_000_000_000_000_000),
        ("", 0, 0),
    ],
)
def test_precisions_scale_times(router: RunningRouter, precision: str, time: int, time_ns: int) -> None:
    """By name, or guessed from the size of each timestamp."""
    status, _, token = write(router, f"m f=1 {time}".encode(), f"db=ns&precision={precision}")
    assert (status, bool(token)) == (204, True)
    assert times(router) == [time_ns]


def test_each_line_is_guessed_for_itself(router: RunningRouter) -> None:
    """Also one without a timestamp, which gets the router's time."""
    assert write(router, b"m f=1 1700000000\nm f=2 1700000001000\nm f=3")[0] == 204
    first, second, now = times(router)
    assert (first, second) == (NOW_S * 10**9, (NOW_S + 1) * 10**9)
    assert now > second


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "db is missing: give ?db=NAMESPACE"),
        ("db=a&precision=minute", "invalid precision 'minute': use auto, ns,"),
        ("db=a&accept_partial=yes", "accept_partial='yes': give true or false"),
        ("db=a&no_sync=1", "no_sync='1': give true or false"),
    ],
)
def test_wrong_parameters_are_400_and_nothing_is_stored(router: RunningRouter, query: str, text: str) -> None:
    """The message says what to give."""
    status, values, _ = write(router, b"m f=1", query)
    assert (status, values["error"].startswith(text)) == (400, True)
    assert router.records() == []


@pytest.mark.parametrize("body", [b"", b"\n\n", b"# a comment\n"])
def test_a_write_without_a_line_is_refused(router: RunningRouter, body: bytes) -> None:
    """As InfluxDB 3 does."""
    assert write(router, body) == (400, {"error": "incoming write was empty"}, "")


BAD = b"m f=1 1700000000\nm f= 2\nm f=3 1700000001\nm f=x 3"
LINE_2 = {"error_message": "missing field value", "line_number": 2, "original_line": "m f= 2"}


def test_the_good_lines_around_bad_ones_are_stored(router: RunningRouter) -> None:
    """The answer lists the others."""
    status, values, token = write(router, BAD)
    assert (status, values["error"], bool(token)) == (400, "partial write of line protocol occurred", True)
    assert values["data"][0] == LINE_2
    assert [line["line_number"] for line in values["data"]] == [2, 4]
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 3.0]


def test_without_accept_partial_nothing_is_stored(router: RunningRouter) -> None:
    """The first refused line is the reason."""
    status, values, token = write(router, BAD, "db=ns&accept_partial=false")
    assert (status, values, token) == (400, {"error": "line protocol parsing error", "data": LINE_2}, "")
    assert router.records() == []
    assert write(router, b"m f=1 1", "db=ns&accept_partial=false")[0] == 204


def test_where_every_line_is_bad_the_answer_has_the_same_form(router: RunningRouter) -> None:
    """All are listed, or with accept_partial=false the first: a client reads the form that it asked for."""
    status, values, _ = write(router, b"m f= 2\nm")
    assert (status, [line["line_number"] for line in values["data"]]) == (400, [1, 2])
    status, values, _ = write(router, b"\nm f= 2\nm", "db=ns&accept_partial=false")
    assert (status, values) == (400, {"error": "line protocol parsing error", "data": LINE_2})


def test_no_sync_has_no_token_and_its_rows_come(router: RunningRouter) -> None:
    """204, or 400 with the refused lines."""
    assert write(router, b"m f=1 1", "db=ns&no_sync=true") == (204, {}, "")
    status, values, token = write(router, b"m f= 2\nm f=2 2", "db=ns&no_sync=true")
    assert (status, values["data"][0]["line_number"], token) == (400, 1, "")
    wait_until(lambda: len(router.rows("ns", "m")), holds=lambda count: count == 2)


def test_no_sync_is_answered_when_its_append_was_asked_for() -> None:
    """Not before its columns are settled; a request that waits for durability waits on, also if the append fails."""
    steps = Steps()
    blocking = only(steps.arrive("other f=1"), Parse)
    no_sync = steps.requests + 1
    assert steps.arrive("m f=1 1", no_sync=True) == []
    assert steps.arrive("m f=2 2") == []
    (parse,) = every([*steps.parsed(blocking), *steps.step(Lingered())], Parse)
    settle = only(steps.parsed(parse), Settle)
    actions = steps.settled(settle)
    (append,) = [action for action in actions if isinstance(action, Append)]
    assert outcomes(actions) == {no_sync: Stored(RequestLines(1, sequencers={append.sequencer}, needs_additions=True))}
    assert actions.index(append) == 0
    assert outcomes(steps.append_failed(append, AWAY)) == {no_sync + 1: Retry(AWAY)}


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (RequestRefused("wrong"), 400),
        (TooLarge(10), 413),
        (Overloaded("full"), 503),
        (Retry(Unavailable("the disk is full")), 503),
        (Failed(DataCorrupt("a flipped bit")), 500),
    ],
)
def test_other_outcomes_have_their_status(outcome: Outcome, status: int) -> None:
    """In the same form."""
    response = render(outcome)
    assert response.status == status
    assert list(json.loads(response.body)) == ["error"]


def test_influxdb3_python_writes_without_the_v2_api(router: RunningRouter) -> None:
    """With its own long names of precisions, with no_sync, and with single lines in its error."""
    for no_sync in (False, True):
        options = write_client_options(
            write_options=WriteOptions(write_type=WriteType.synchronous, no_sync=no_sync, use_v2_api=False)
        )
        with InfluxDBClient3(host=router.url, token="t", database="ns", write_client_options=options) as client:
            client.write(f"m,no_sync={no_sync} f=1 5", write_precision="s")
            with pytest.raises(Exception, match="line 2") as refused:
                client.write([f"m,no_sync={no_sync} f=2 6", "m f=x 7"], write_precision="s")
            assert "is not a number" in str(refused.value)
    wait_until(lambda: len(router.rows("ns", "m")), holds=lambda count: count == 4)
    assert times(router) == [5 * 10**9, 5 * 10**9, 6 * 10**9, 6 * 10**9]
