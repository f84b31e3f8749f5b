"""Errors as InfluxDB 1 and 3 write them: JSON {"error"}, here with the same text in X-InfluxDB-Error."""

import json
from collections.abc import Mapping
from typing import Any

from common.http.app import Response
from router.api.client_texts import RETRY_AFTER_S, without_final_texts
from router.api.writing import STATUS_OF, refusal_headers
from router.core.outcome import Failed, Limited, Overloaded, RequestRefused, Retry, TooLarge

ERROR_HEADER = "X-InfluxDB-Error"
_HEADER_CHARS_MAX = 1024


def error(status: int, text: str, headers: Mapping[str, str] | None = None, **values: Any) -> Response:
    """values: what the body has beside the text."""
    in_header = " ".join(text.split())[:_HEADER_CHARS_MAX]
    body = json.dumps({"error": text, **values}, ensure_ascii=False).encode() + b"\n"
    return Response(status, body, "application/json; charset=utf-8", {**(headers or {}), ERROR_HEADER: in_header})


def unavailable(message: str) -> Response:
    """To be sent again after Retry-After seconds."""
    return error(503, without_final_texts(message), {"Retry-After": str(RETRY_AFTER_S)})


def of_request(outcome: RequestRefused | TooLarge | Overloaded | Limited | Retry | Failed) -> Response:
    """The answer where no line is to blame."""
    match outcome:
        case RequestRefused(message, reason):
            return error(STATUS_OF[reason], message, refusal_headers(reason))
        case TooLarge():
            return error(413, f"Request Entity Too Large: {outcome.message}")
        case Overloaded(message):
            return unavailable(message)
        case Limited(message, retry_after_s):
            return error(429, without_final_texts(message), {"Retry-After": str(retry_after_s)})
        case Retry(reason):
            return unavailable(reason.message)
        case Failed(reason):
            return error(500, without_final_texts(reason.message))
