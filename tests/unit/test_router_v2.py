"""How InfluxDB's v2 API says what became of a write."""

import json
from typing import Any

import pytest

from common.http.app import Response
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import Offset, SequencerId
from common.values.token import TOKEN_HEADER
from router.api.client_texts import FINAL_TEXTS
from router.api.v2 import render
from router.api.writing import DROPPED_HEADER
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
    of_error,
)
from router.metrics import RESULTS
from router.parsing.messages import REFUSED_SHOWN_MAX, RequestLines

OFFSETS = {SequencerId(3): Offset(77), SequencerId(0): Offset(5)}
AWAY = Unavailable("the disk is full")


def lines(accepted: int, *refused: tuple[int, str, bytes]) -> RequestLines:
    found = RequestLines(accepted)
    for number, reason, line in refused:
        found.refuse(number, line, reason)
    return found


def document(response: Response) -> dict[str, Any]:
    """The body of an error, after the checks that hold for every error."""
    values: dict[str, Any] = json.loads(response.body)
    assert response.content_type.startswith("application/json")
    assert response.headers["X-Platform-Error-Code"] == values["code"]
    return values


def test_stored_is_204_without_a_body_and_with_the_token() -> None:
    """Exactly 204, nothing but the token; without any line there is no token either."""
    response = render(Stored(lines(2), OFFSETS))
    assert (response.status, response.body, response.headers) == (204, b"", {TOKEN_HEADER: "1:0=5,3=77"})
    assert render(Stored()) == Response(204)


def test_a_dropped_field_is_named_in_a_header() -> None:
    """A 204 says how many fields were left out, and the first."""
    found = lines(2)
    found.drop(4, ["time", "utc_day"])
    header = render(Stored(found, OFFSETS)).headers[DROPPED_HEADER]
    assert header == "2; line 4: field 'time' left out, the name is reserved"


def test_partly_stored_is_400_with_lines_and_a_token() -> None:
    """The message starts as clients match it, each refused line is listed in both forms, the token is there."""
    found = lines(2, (2, "missing field value", b"t f="), (3, "missing tag key", b"t,=x f=1"))
    found.drop(1, ["time"])
    response = render(PartlyStored(found, OFFSETS))
    assert response.status == 400
    assert response.headers[TOKEN_HEADER] == "1:0=5,3=77"
    assert response.headers[DROPPED_HEADER].startswith("1; line 1")
    assert document(response) == {
        "code": "invalid",
        "message": "partial write: 2 of 4 lines refused:\nline 2: missing field value\nline 3: missing tag key",
        "line": 2,
        "error": "partial write of line protocol occurred",
        "refused_count": 2,
        "data": [
            {"error_message": "missing field value", "line_number": 2, "original_line": "t f="},
            {"error_message": "missing tag key", "line_number": 3, "original_line": "t,=x f=1"},
        ],
        "dropped_fields": [{"line_number": 1, "field": "time"}],
    }


def test_all_lines_refused_is_400_unable_to_parse() -> None:
    """Nothing stored: the message starts as InfluxDB's does, lists a bounded number, and there is no token."""
    found = lines(0, *[(number, "missing fields", b"bad") for number in range(1, 151)])
    response = render(LinesRefused(found))
    values = document(response)
    assert response.status == 400
    assert values["message"].startswith("unable to parse: 150 of 150 lines refused:\nline 1: missing fields\n")
    assert values["message"].endswith("\nand 50 more")
    assert len(values["data"]) == REFUSED_SHOWN_MAX
    assert values["refused_count"] == 150
    assert TOKEN_HEADER not in response.headers


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (RequestRefused("x"), 400, "invalid"),
        (RequestRefused("x", Reason.TOO_SLOW), 408, "request timeout"),
        (RequestRefused("x", Reason.NO_LENGTH), 411, "length required"),
        (TooLarge(7), 413, "request too large"),
        (Overloaded("x"), 503, "unavailable"),
        (Retry(AWAY), 503, "unavailable"),
        (Failed(DataCorrupt("x")), 500, "internal error"),
    ],
)
def test_each_refusal_has_its_status_and_code(outcome: Outcome, status: int, code: str) -> None:
    """InfluxDB's codes; only what may be sent again has a Retry-After, in whole seconds."""
    response = render(outcome)
    assert (response.status, document(response)["code"]) == (status, code)
    assert document(response)["message"]
    assert response.headers.get("Retry-After", "").isdigit() == (status == 503)
    assert response.headers.get("Connection") == ("close" if status in (408, 411) else None)


def test_too_large_says_the_limit() -> None:
    """The limit is in the document, as InfluxDB has it."""
    assert document(render(TooLarge(7)))["maxLength"] == 7


def test_an_outage_says_what_is_wrong() -> None:
    """The 503 of a failed append carries the reason."""
    assert document(render(Retry(AWAY))) == {"code": "unavailable", "message": "the disk is full"}


@pytest.mark.parametrize("text", FINAL_TEXTS)
def test_no_retryable_text_can_be_mistaken_for_final(text: str) -> None:
    """In any error, what is to be sent again holds none of the texts on which clients drop a batch."""
    for error in (Unavailable(f"log of {text.upper()} is away"), DataCorrupt(f"{text} is torn")):
        response = render(of_error(error))
        assert response.status in (500, 503)
        assert text not in response.body.decode().lower()
    assert text not in render(Overloaded(f"{text}: later")).body.decode()


def test_every_outcome_is_counted_under_a_label() -> None:
    """No outcome is missing from the metrics."""
    assert RESULTS.keys() == set(Outcome.__args__)
