"""POST /api/v3/write_lp as InfluxDB 3 answers it; docs/api.md describes it.

A success is 204 without a body; an error is JSON {"error"}, with `data` for refused lines. With no_sync the answer
comes before the rows are durable, and has no write token; refused lines are reported all the same.
"""

from collections.abc import Mapping

from common.http.app import Request, Response
from router.api.error_key import error, of_request
from router.api.refused import WriteRefused
from router.api.writing import (
    PARTIAL_WRITE,
    Target,
    check_namespace,
    checked_precision,
    listed_lines,
    report_headers,
)
from router.core.outcome import LinesRefused, Outcome, PartlyStored, RequestRefused, Stored
from router.lineprotocol.scalar import GUESSED_PRECISION

PRECISIONS_NS = {
    "auto": GUESSED_PRECISION,
    "ns": 1,
    "n": 1,
    "nanosecond": 1,
    "us": 1_000,
    "u": 1_000,
    "microsecond": 1_000,
    "ms": 1_000_000,
    "millisecond": 1_000_000,
    "s": 1_000_000_000,
    "second": 1_000_000_000,
}
_PARAMETERS = frozenset(("db", "precision", "accept_partial", "no_sync"))
_BOOLEANS = {"true": True, "false": False}


def target(request: Request) -> Target:
    """Other parameters (org, …) are ignored. Raises WriteRefused, InvalidQuery."""
    query = given_once(request, _PARAMETERS)
    return Target(
        check_namespace(query.get("db", ""), "db"),
        checked_precision(query, PRECISIONS_NS, default="auto"),
        all_or_nothing=not boolean(query, "accept_partial", default=True),
        no_sync=boolean(query, "no_sync", default=False),
    )


def given_once(request: Request, names: frozenset[str]) -> Mapping[str, str]:
    """The parameters, of which none of `names` may occur twice. Raises WriteRefused, InvalidQuery.

    InfluxDB 1 and 2 go by the first of a name, InfluxDB 3 refuses a second.
    """
    query: dict[str, str] = {}
    for name, value in request.query_pairs():
        if name in query and name in names:
            raise WriteRefused(RequestRefused(f"{name} is given twice: {query[name][:40]!r} and {value[:40]!r}"))
        query.setdefault(name, value)
    return query


def boolean(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Raises WriteRefused for what is neither true nor false."""
    given = query.get(name, str(default).lower())
    if given not in _BOOLEANS:
        raise WriteRefused(RequestRefused(f"{name}={given[:40]!r}: give true or false"))
    return _BOOLEANS[given]


def render(outcome: Outcome) -> Response:
    """The answer to a write."""
    match outcome:
        case Stored():
            return stored(outcome)
        case PartlyStored(lines, last_offsets):
            return error(400, PARTIAL_WRITE, report_headers(lines, last_offsets), data=listed_lines(lines))
        case LinesRefused(lines):
            if lines.withdrawn is not None:
                return error(400, "line protocol parsing error", data=listed_lines(lines)[0])
            return error(400, PARTIAL_WRITE, data=listed_lines(lines))
        case _:
            return of_request(outcome)


def stored(outcome: Stored) -> Response:
    """204; a write without a line, or a row, is an error in InfluxDB 3."""
    if not outcome.lines.count:
        return error(400, "incoming write was empty")
    return Response(204, headers=report_headers(outcome.lines, outcome.last_offsets))
