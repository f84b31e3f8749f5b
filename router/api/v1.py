"""POST /write as InfluxDB 1.x answers it; docs/api.md describes it.

A success is 204 without a body; every error is JSON {"error"}, the same text in X-InfluxDB-Error. A database is a
namespace, and a retention policy beside the default one is part of its name, `db/rp`, as in InfluxDB 2 and 3.
"""

from common.http.app import Request, Response
from router.api.error_key import error, of_request
from router.api.refused import WriteRefused
from router.api.writing import Target, check_namespace, checked_precision, refused_lines, report_headers
from router.core.outcome import LinesRefused, Outcome, PartlyStored, RequestRefused, Stored
from router.parsing.messages import RequestLines

_MINUTE_NS = 60 * 10**9
PRECISIONS_NS = {
    "n": 1,
    "ns": 1,
    "u": 1_000,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": _MINUTE_NS,
    "h": 60 * _MINUTE_NS,
}
DEFAULT_POLICIES = ("", "autogen", "default")


def target(request: Request) -> Target:
    """`u`, `p`, `consistency` and other parameters are ignored. Raises WriteRefused, InvalidQuery."""
    query = request.query()
    database, policy = query.get("db", ""), query.get("rp", "").strip("'\"")
    if not database:
        raise WriteRefused(RequestRefused("database is required: give ?db=NAMESPACE"))
    name = database if policy in DEFAULT_POLICIES else f"{database}/{policy}"
    return Target(check_namespace(name, "db"), checked_precision(query, PRECISIONS_NS, default="n"))


def render(outcome: Outcome) -> Response:
    """The answer to a write."""
    match outcome:
        case Stored(lines, last_offsets):
            return Response(204, headers=report_headers(lines, last_offsets))
        case PartlyStored(lines, last_offsets):
            text = f"partial write: {_unparsed(lines)} dropped={lines.refused_count}"
            return error(400, text, report_headers(lines, last_offsets))
        case LinesRefused(lines):
            return error(400, _unparsed(lines))
        case _:
            return of_request(outcome)


def _unparsed(lines: RequestLines) -> str:
    return "\n".join(
        refused_lines(lines, lambda one: f"unable to parse '{one.start}': line {one.number}: {one.reason}")
    )
