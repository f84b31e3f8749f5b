"""docs/api.md says what the code does: each limit is a constant's, each example of a value is parsed as it says."""

import re

import pytest

from common.catalog.table_schema import COLUMNS_MAX
from common.http.connection import HEAD_BYTES_MAX, HEAD_FIELDS_MAX, PIPELINED_MAX
from common.ipc.client_stream import MESSAGES_MAX
from common.values.config import RouterConfig
from common.values.errors import DataCorrupt, Unavailable
from common.values.namespaces import NAMESPACE_BYTES_MAX
from common.values.schema import RESERVED_COLUMNS, TIME_NS_MAX, TIME_NS_MIN, ColumnType
from router.api import v1, v2, v3
from router.api.v2 import PRECISIONS_NS, render
from router.core.outcome import (
    Failed,
    Limited,
    LinesRefused,
    Outcome,
    Overloaded,
    Reason,
    RequestRefused,
    Retry,
    Stored,
    TooLarge,
)
from router.lineprotocol.point import LineError
from router.lineprotocol.scalar import GUESSED_PRECISION, LINE_BYTES_MAX, NAME_BYTES_MAX, STRING_BYTES_MAX, parse_line
from router.parsing.draft import NEW_COLUMNS_MAX, NEW_TABLES_MAX
from router.parsing.messages import LINE_SHOWN_CHARS_MAX, REFUSED_SHOWN_MAX, RequestLines
from tests.support.api_page import PAGE, table

LIMITS = {
    "body, after decompression": f"{RouterConfig().body_bytes_max:,} bytes",
    "bodies in flight in one router": f"{RouterConfig().in_flight_bytes_max:,} bytes",
    "connections to one router": f"{RouterConfig().connections_max:,} ",
    "requests on one connection that are sent before the first is answered": f"{PIPELINED_MAX}",
    "request line and headers; trailers": f"{HEAD_BYTES_MAX:,} bytes, and {HEAD_FIELDS_MAX} fields",
    "line": f"{LINE_BYTES_MAX:,} bytes",
    "row of an Arrow stream": f"{LINE_BYTES_MAX:,} bytes",
    "batches and dictionaries of an Arrow stream": f"{MESSAGES_MAX:,}",
    "measurement, tag key, tag value, field key": f"{NAME_BYTES_MAX:,} bytes each",
    "string field": f"{STRING_BYTES_MAX:,} bytes",
    "tags and fields of a line": "no limit but",
    "columns of a table, `time` not counted": f"{COLUMNS_MAX:,}",
    "new tables in one request": f"{NEW_TABLES_MAX:,}",
    "new columns in one request": f"{NEW_COLUMNS_MAX:,}, of all its tables",
    "tables of a namespace": f"{RouterConfig().tables_max:,}",
    "namespaces, series": "no limit",
    "namespace (`bucket`)": f"{NAMESPACE_BYTES_MAX:,} bytes",
    "timestamp, as ns since 1970": f"{TIME_NS_MIN:,} to {TIME_NS_MAX:,}",
    "time of a line, before and after the arrival of its request": "no limit (",
    "precision": ", ".join(PRECISIONS_NS),
    "reserved names": ", ".join(sorted(RESERVED_COLUMNS)),
    "refused lines, and dropped fields, listed in an answer": f"{REFUSED_SHOWN_MAX:,}",
    "a refused line in an answer": f"{LINE_SHOWN_CHARS_MAX} characters",
}


def test_the_limits_are_those_of_the_code() -> None:
    """Every row of the table of limits begins with the value of its constant, and every constant has its row."""
    documented = {name: value for name, value, *_ in table("Limits")}
    assert documented.keys() == LIMITS.keys()
    for name, value in LIMITS.items():
        assert re.match(rf"{re.escape(value)}(?!,?\d)", documented[name]), name


def test_the_statuses_are_those_that_are_rendered() -> None:
    """The table of answers has every status with which a write can be answered, and no other."""
    examples: list[Outcome] = [
        Stored(),
        LinesRefused(refused := RequestLines()),
        *[RequestRefused("", reason) for reason in Reason],
        TooLarge(1),
        Overloaded(""),
        Limited("", 1),
        Retry(Unavailable("")),
        Failed(DataCorrupt("")),
    ]
    refused.refuse(1, b"bad", "bad")
    of_connections = {431}  # answered before a handler sees the request
    rendered = {render(outcome).status for outcome in examples}
    assert {int(status) for status, *_ in table("Answers")} == rendered | of_connections


KINDS = {
    "float": ColumnType.FLOAT,
    "integer, 64 bits signed": ColumnType.INTEGER,
    "integer, 64 bits unsigned": ColumnType.UNSIGNED,
    "boolean": ColumnType.BOOLEAN,
    "string": ColumnType.STRING,
}
VALUES = [(value, row[1]) for row in table("Numbers and other values") for value in re.findall(r"`([^`]*)`", row[0])]


@pytest.mark.parametrize(("value", "meaning"), VALUES, ids=[value for value, _ in VALUES])
def test_a_value_is_what_the_table_says(value: str, meaning: str) -> None:
    """Each example of the table of values has the documented type, or is refused."""
    line = f"m f={value}".encode()
    if meaning.startswith("refused"):
        with pytest.raises(LineError):
            parse_line(line, 1)
        return
    point = parse_line(line, 1)
    assert point is not None
    kind = next(column for text, column in KINDS.items() if meaning == text or meaning.startswith(f"{text}, "))
    assert point.fields["f"][0] is kind


def test_each_api_has_the_precisions_that_the_page_lists() -> None:
    """The first is the default."""
    section = PAGE.read_text().split("\n## ")[0]
    (row,) = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `precision`")]
    found = [cell.strip().split(", ") for cell in row[1:4]]
    assert found == [list(names) for names in (v1.PRECISIONS_NS, v2.PRECISIONS_NS, v3.PRECISIONS_NS)]
    assert [v1.PRECISIONS_NS["n"], v2.PRECISIONS_NS["ns"], v3.PRECISIONS_NS["auto"]] == [1, 1, GUESSED_PRECISION]
