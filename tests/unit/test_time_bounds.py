"""Lines that are too old or too far in the future: which are refused, with what reason, and by which clock."""

import json

import pytest

from common.values.clock import SystemClock
from common.values.config import RouterConfig
from common.values.errors import Misconfigured
from common.values.schema import TIME_NS_MAX, TIME_NS_MIN
from router.core.events import Append, Parse, Settle
from router.core.outcome import PartlyStored
from router.lineprotocol.point import LineError
from router.parsing.batch import BatchParser
from router.parsing.messages import Body, RequestLines
from router.parsing.time_bounds import ANY_TIME, NO_TIME_LIMITS, TimeBounds, TimeLimits, check_time
from tests.support.router_core import NOW_NS, Steps, only, outcomes
from tests.support.router_fixtures import StartRouter

SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS


def read(text: str, times: TimeBounds, precision_ns: int = 1) -> RequestLines:
    body = Body(text.encode(), precision_ns, NOW_NS, times=times)
    return BatchParser(4).parse("ns", [body], {}).requests[0]


def test_without_limits_every_time_of_the_format_is_stored() -> None:
    """Both limits are off by default, and nothing but the range of times itself refuses a line then."""
    config = RouterConfig()
    limits = TimeLimits.of_seconds(config.row_age_max_s, config.row_ahead_max_s)
    assert limits == NO_TIME_LIMITS
    assert limits.around(NOW_NS) == ANY_TIME
    for time_ns in (TIME_NS_MIN, 0, TIME_NS_MAX):
        check_time(time_ns, ANY_TIME)


def test_the_bounds_are_counted_from_the_arrival_and_included() -> None:
    """A time exactly at a bound is stored, one nanosecond beyond it is not."""
    bounds = TimeLimits.of_seconds(2.5, 0.000_001).around(NOW_NS)
    assert bounds == TimeBounds(NOW_NS - 2_500_000_000, NOW_NS + 1_000)
    for time_ns in (bounds.min_ns, bounds.max_ns):
        check_time(time_ns, bounds)
    for time_ns in (bounds.min_ns - 1, bounds.max_ns + 1, TIME_NS_MIN, TIME_NS_MAX):
        with pytest.raises(LineError):
            check_time(time_ns, bounds)


@pytest.mark.parametrize("seconds", [1e11, 1e300])
def test_a_limit_of_any_size_gives_bounds_of_64_bits(seconds: float) -> None:
    """Limits that reach beyond the range of times are the same as none."""
    assert TimeLimits.of_seconds(seconds, seconds).around(NOW_NS) == ANY_TIME


def test_the_reason_says_time_bound_and_what_to_do() -> None:
    """The time as it was understood shows a wrong precision; the setting is named."""
    bounds = TimeBounds(NOW_NS - DAY_NS, NOW_NS + DAY_NS)
    before, after, earlier = read("t f=1 1700000000\nt f=1 4102444800000000000\nt f=1 -1500000000", bounds).refused
    assert before.reason == (
        "time 1970-01-01T00:00:01.7Z is before 2023-11-13T22:13:20.123456789Z, the oldest that this router stores: "
        "check the precision, or raise the router's row_age_max_s"
    )
    assert after.reason == (
        "time 2100-01-01T00:00:00Z is after 2023-11-15T22:13:20.123456789Z, the latest that this router stores: "
        "check the precision and the sender's clock, or raise the router's row_ahead_max_s"
    )
    assert earlier.reason.startswith("time 1969-12-31T23:59:58.5Z is before ")


def test_only_the_lines_out_of_bounds_are_refused() -> None:
    """Their neighbours are stored; what is compared is the time, after the precision; it registers no column."""
    bounds = TimeBounds(NOW_NS - DAY_NS, NOW_NS)
    now_s = NOW_NS // SECOND_NS
    body = Body(f"t f=1 {now_s}\nt old=1 {now_s - 90_000}\nt f=2 {now_s - 1}".encode(), SECOND_NS, NOW_NS, times=bounds)
    parsed = BatchParser(4).parse("ns", [body], {})
    assert [one.number for one in parsed.requests[0].refused] == [2]
    assert parsed.requests[0].accepted == 2
    assert set(parsed.additions["t"]) == {"f"}


def test_a_line_that_names_no_time_is_never_out_of_bounds() -> None:
    """It gets the arrival's, rounded down to the precision, which may lie further back than the bound."""
    hour_ns = 3600 * SECOND_NS
    body = Body(b"t f=1", hour_ns, NOW_NS // hour_ns * hour_ns, times=TimeBounds(NOW_NS, NOW_NS))
    assert BatchParser(4).parse("ns", [body], {}).requests[0].accepted == 1


def test_a_syntax_error_is_said_before_the_time() -> None:
    """The reason of a line that is wrong in itself does not depend on when it arrives."""
    (refused,) = read("t,f=a f=1 5", TimeBounds(NOW_NS, NOW_NS)).refused
    assert refused.reason == "'f' is a tag and a field"


def test_the_bounds_of_a_request_stay_those_of_its_arrival() -> None:
    """A batch that is parsed again later refuses the same lines: time passing while it waits costs no row."""
    steps = Steps(time_limits=TimeLimits.of_seconds(10, 10))
    oldest, latest = NOW_NS - 10 * SECOND_NS, NOW_NS + 10 * SECOND_NS
    parse = only(steps.arrive(f"t f=1 {oldest}\nt f=1 {oldest - 1}\nt f=1 {latest}\nt f=1 {latest + 1}"), Parse)
    steps.now_ns += DAY_NS
    settle = only(steps.parsed(parse), Settle)
    steps.settle_elsewhere("t", settle.additions["t"] | {"g": settle.additions["t"]["f"]})
    append = only(steps.settled(settle), Append)
    outcome = outcomes(steps.appended(append))[1]
    assert isinstance(outcome, PartlyStored)
    assert [one.number for one in outcome.lines.refused] == [2, 4]


def test_bounds_are_those_of_each_request_in_a_batch() -> None:
    """Two requests that are parsed together have arrived at different times."""
    steps = Steps(time_limits=TimeLimits.of_seconds(10, 0))
    first = only(steps.arrive("#"), Parse)
    for _ in range(2):
        steps.arrive("t f=1")
        steps.now_ns += SECOND_NS
    (parse,) = [action for action in steps.parsed(first) if isinstance(action, Parse)]
    assert [body.times.min_ns for body in parse.bodies] == [NOW_NS - 10 * SECOND_NS, NOW_NS - 9 * SECOND_NS]
    assert [body.times.max_ns for body in parse.bodies] == [TIME_NS_MAX, TIME_NS_MAX]


@pytest.mark.parametrize("path", ["/write?db=ns", "/api/v2/write?bucket=ns", "/api/v3/write_lp?db=ns"])
def test_each_api_answers_400_with_the_reason_and_stores_the_rest(start_router: StartRouter, path: str) -> None:
    """A partial write: the answer has the line's number and the reason, and the good row is durable."""
    router = start_router(row_age_max_s=3600, row_ahead_max_s=600)
    now_ns = SystemClock().now_ns()
    precision = "&precision=ns" if "v3" in path else ""
    body = f"t f=1 {now_ns}\nt f=2 {now_ns - 2 * 3600 * SECOND_NS}\nt f=3 {now_ns + 3600 * SECOND_NS}\nt f=4"
    response, content = router.request("POST", path + precision, body.encode())
    assert response.status == 400
    text = json.dumps(json.loads(content))
    assert "row_age_max_s" in text
    assert "row_ahead_max_s" in text
    assert [row["f"] for row in router.rows("ns", "t")] == [1.0, 4.0]


@pytest.mark.parametrize("name", ["row_age_max_s", "row_ahead_max_s"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_limit_below_0_is_refused_at_the_start(name: str, value: float) -> None:
    """The message names the setting and what may be given."""
    with pytest.raises(Misconfigured, match=f"{name} is .*: give 0 or more"):
        RouterConfig(**{name: value})  # type: ignore[arg-type]
