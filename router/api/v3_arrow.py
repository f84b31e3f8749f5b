"""POST /api/v3/write_arrow?db=NAMESPACE&table=TABLE: rows of one table as an Arrow IPC stream, penstock's own.

It is answered as /api/v3/write_lp is, with row numbers in place of lines. docs/api.md says what a stream may hold.
"""

from collections.abc import Mapping

from common.http.app import Request, Response
from router.api.error_key import error, of_request
from router.api.refused import WriteRefused
from router.api.v3 import boolean, given_once, stored
from router.api.writing import Target, check_namespace, report_headers
from router.core.outcome import LinesRefused, Outcome, PartlyStored, RequestRefused, Stored
from router.parsing.messages import RequestLines

PARTIAL_WRITE = "partial write of Arrow rows occurred"
_PARAMETERS = frozenset(("db", "table", "accept_partial", "no_sync"))


def target(request: Request) -> Target:
    """Other parameters are ignored. Raises WriteRefused, InvalidQuery."""
    query = given_once(request, _PARAMETERS)
    namespace = check_namespace(query.get("db", ""), "db")
    if not query.get("table"):
        raise WriteRefused(RequestRefused("table is missing: give &table=TABLE"))
    return Target(
        namespace,
        precision_ns=1,
        all_or_nothing=not boolean(query, "accept_partial", default=True),
        no_sync=boolean(query, "no_sync", default=False),
        table=query["table"],
    )


def render(outcome: Outcome) -> Response:
    """The answer to a write."""
    match outcome:
        case Stored():
            return stored(outcome)
        case PartlyStored(lines, last_offsets):
            return _refused(PARTIAL_WRITE, lines, report_headers(lines, last_offsets))
        case LinesRefused(lines):
            return _refused("no row was stored", lines)
        case _:
            return of_request(outcome)


def _refused(text: str, lines: RequestLines, headers: Mapping[str, str] | None = None) -> Response:
    listed = [{"error_message": row.reason, "row_number": row.number} for row in lines.refused]
    return error(400, text, headers, refused_count=lines.refused_count, data=listed)
