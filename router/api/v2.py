"""InfluxDB's v2 write API: POST /api/v2/write?bucket=NAMESPACE[&precision=ns|us|ms|s]. docs/api.md describes it.

A success is 204 without a body; every error is JSON {"code", "message", …} with the code in X-Platform-Error-Code, and
the keys from which influxdb3-python shows single lines. One bad line does not refuse the others.
"""

import json
from collections.abc import Mapping
from typing import Any

from common.http.app import Request, Response
from common.values.shown import counted
from router.api.client_texts import RETRY_AFTER_S, without_final_texts
from router.api.writing import (
    PARTIAL_WRITE,
    STATUS_OF,
    Target,
    check_namespace,
    checked_precision,
    listed_lines,
    refusal_headers,
    refused_lines,
    report_headers,
)
from router.core.outcome import (
    Failed,
    Limited,
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

PRECISIONS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

_CODES = {Reason.INVALID: "invalid", Reason.NO_LENGTH: "length required", Reason.TOO_SLOW: "request timeout"}


def target(request: Request) -> Target:
    """Other parameters (org, orgID, …) are ignored. Raises WriteRefused, InvalidQuery."""
    query = request.query()
    namespace = check_namespace(query.get("bucket", ""), "bucket")
    return Target(namespace, checked_precision(query, PRECISIONS_NS, default="ns"))


def render(outcome: Outcome) -> Response:
    """The answer to a write."""
    match outcome:
        case Stored(lines, last_offsets):
            return Response(204, headers=report_headers(lines, last_offsets))
        case PartlyStored(lines, last_offsets):
            return _error(
                400, "invalid", headers=report_headers(lines, last_offsets), **_refusal(lines, "partial write")
            )
        case LinesRefused(lines):
            return _error(400, "invalid", **_refusal(lines, "unable to parse"))
        case RequestRefused(message, reason):
            return _error(STATUS_OF[reason], _CODES[reason], message=message, headers=refusal_headers(reason))
        case TooLarge(body_bytes_max):
            return _error(413, "request too large", message=outcome.message, maxLength=body_bytes_max)
        case Overloaded(message):
            return _unavailable(message)
        case Limited(message, retry_after_s):
            headers = {"Retry-After": str(retry_after_s)}
            return _error(429, "too many requests", message=without_final_texts(message), headers=headers)
        case Retry(error):
            return _unavailable(error.message)
        case Failed(error):
            return _error(500, "internal error", message=without_final_texts(error.message))


def _refusal(lines: RequestLines, start: str) -> Mapping[str, Any]:
    counts = f"{start}: {lines.refused_count} of {counted(lines.count, 'line')} refused:"
    listed = refused_lines(lines, lambda line: f"line {line.number}: {line.reason}")
    return {
        "message": "\n".join((counts, *listed)),
        "line": lines.refused[0].number,
        "error": PARTIAL_WRITE,
        "refused_count": lines.refused_count,
        "data": listed_lines(lines),
        "dropped_fields": [{"line_number": one.number, "field": one.name} for one in lines.dropped],
    }


def _unavailable(message: str) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return _error(503, "unavailable", message=without_final_texts(message), headers=headers)


def _error(status: int, code: str, *, headers: Mapping[str, str] | None = None, **values: Any) -> Response:
    body = json.dumps({"code": code, **values}, ensure_ascii=False).encode()
    return Response(status, body, "application/json; charset=utf-8", {**(headers or {}), "X-Platform-Error-Code": code})
