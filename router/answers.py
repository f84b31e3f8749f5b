"""What a client is told, as InfluxDB's v2 API tells it, with the keys from which influxdb3-python shows single lines.

A success is 204 without a body; every error is JSON {"code", "message", …} with the code in X-Platform-Error-Code.
Clients match error texts by substring: Telegraf and influxdb-client-go take what has one of FINAL_TEXTS for settled,
whatever the status, and drop the batch. So what a client shall send again must hold none of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from common.errors import PenstockError, Unavailable
from common.ids import Offset, SequencerId
from common.token import TOKEN_HEADER, format_token
from router.batch import RequestLines

RETRY_AFTER_S = 1
"""Whole seconds: a fraction makes the Python clients raise and lose the batch."""

FINAL_TEXTS = (
    "partial write",
    "unable to parse",
    "points beyond retention policy",
    "hinted handoff queue not empty",
    "retention policy not found",
    "database not found",
)


class Result(Enum):
    """How a request ended; the label of penstock_router_requests_total."""

    STORED = "stored"
    PARTIAL = "partial"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """body: JSON, or empty. lines_accepted counts what is durable, lines_refused what the client must mend."""

    status: int
    result: Result
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    lines_accepted: int = 0
    lines_refused: int = 0


def nothing_to_store() -> Answer:
    """An empty body, or one of comments: a success in InfluxDB 1 and 2."""
    return Answer(204, Result.STORED)


def lines_taken(lines: RequestLines, last_offsets: Mapping[SequencerId, Offset]) -> Answer:
    """The answer once every accepted line is durable. last_offsets: of the sequencers that hold them."""
    headers = {TOKEN_HEADER: format_token(last_offsets)} if last_offsets else {}
    if not lines.refused_count:
        return Answer(204, Result.STORED, headers, lines_accepted=lines.accepted)
    result = Result.PARTIAL if lines.accepted else Result.REFUSED
    return Answer(
        400,
        result,
        {**headers, **_error_headers("invalid")},
        _body(_refusal(lines)),
        lines_accepted=lines.accepted,
        lines_refused=lines.refused_count,
    )


def _refusal(lines: RequestLines) -> Mapping[str, Any]:
    start = "partial write" if lines.accepted else "unable to parse"
    counts = f"{start}: {lines.refused_count} of {lines.accepted + lines.refused_count} lines refused:"
    told = [f"line {line.number}: {line.reason}" for line in lines.refused]
    if len(told) < lines.refused_count:
        told.append(f"and {lines.refused_count - len(told)} more")
    return {
        "code": "invalid",
        "message": "\n".join((counts, *told)),
        "line": lines.refused[0].number,
        "error": "partial write of line protocol occurred",
        "refused_count": lines.refused_count,
        "data": [
            {"error_message": line.reason, "line_number": line.number, "original_line": line.start}
            for line in lines.refused
        ],
    }


def refused(message: str) -> Answer:
    """The request itself is wrong, whatever its lines say."""
    return _error(400, "invalid", Result.REFUSED, message)


def too_large(body_bytes_max: int) -> Answer:
    return _error(
        413,
        "request too large",
        Result.TOO_LARGE,
        f"the body is over {body_bytes_max} bytes after decompression: send smaller batches",
        maxLength=body_bytes_max,
    )


def too_slow() -> Answer:
    return _error(408, "request timeout", Result.REFUSED, "the body did not arrive in time")


def overloaded(message: str) -> Answer:
    """Too much is in flight; nothing of this request was looked at."""
    return _retryable(Result.OVERLOADED, message)


def failed(error: PenstockError) -> Answer:
    """The request could not be made durable: 503 when sending it again may help, else 500."""
    if isinstance(error, Unavailable):
        return _retryable(Result.UNAVAILABLE, error.message)
    return _error(500, "internal error", Result.FAILED, _without_final_texts(error.message))


def _retryable(result: Result, message: str) -> Answer:
    answer = _error(503, "unavailable", result, _without_final_texts(message))
    return Answer(503, result, {**answer.headers, "Retry-After": str(RETRY_AFTER_S)}, answer.body)


def _without_final_texts(message: str) -> str:
    """Messages carry names from clients and backends; one that would be misread is not told."""
    if any(text in message.lower() for text in FINAL_TEXTS):
        return "not stored for now; the router's log has the reason"
    return message


def _error(status: int, code: str, result: Result, message: str, **more: Any) -> Answer:
    return Answer(status, result, _error_headers(code), _body({"code": code, "message": message, **more}))


def _error_headers(code: str) -> dict[str, str]:
    return {"X-Platform-Error-Code": code}


def _body(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode()
