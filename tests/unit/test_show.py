"""A query's result as text: for people, as CSV, as JSON."""

import csv
import io
import json
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from penstock.query.formats import FORMATS
from penstock.query.show import render

TIMES = pa.array([-(2**63) + 2, 0, 1_700_000_000_123_456_789, None], pa.int64()).cast(pa.timestamp("ns", "UTC"))
ROWS = pa.table(
    {
        "time": TIMES,
        "host": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        "v": [1.5, float("nan"), None, -2.0],
        "n": pa.array([1, 2**64 - 1, 3, None], pa.uint64()),
        "s": ['quo"te', "new\nline", "", "ünïcode"],
    }
)


def test_times_are_iso_8601_to_the_nanosecond() -> None:
    """In every format, at both ends of time."""
    expected = ["1677-09-21T00:12:43.145224194Z", "1970-01-01T00:00:00.000000000Z", "2023-11-14T22:13:20.123456789Z"]
    values = [row["time"] for row in json.loads(render(ROWS, "json"))]
    assert values == [*expected, None]
    for form in FORMATS:
        assert all(text in render(ROWS, form) for text in expected)


def test_a_table_for_people() -> None:
    """Columns aligned, numbers to the right, control characters made visible, rows counted."""
    rows = pa.table({"host": ["a", "long\tname"], "v": [1.5, 10.25]})
    assert render(rows, "table").splitlines() == [
        "host            v",
        "----------  -----",
        "a             1.5",
        "long\\tname  10.25",
        "(2 rows)",
    ]


def test_no_value_reaches_the_terminal_as_a_command() -> None:
    """A tag with an escape sequence is shown, not obeyed."""
    assert "\x1b" not in render(pa.table({"host": ["\x1b[31mred"]}), "table")


def test_no_rows_and_one_row() -> None:
    """The header is still there, and the count is in words that fit."""
    none = pa.table({"v": pa.array([], pa.int64())})
    assert render(none, "table") == "v\n-\n(0 rows)\n"
    assert render(none, "json") == "[]\n"
    assert render(none, "csv") == '"v"\n'
    assert render(pa.table({"v": [1]}), "table").endswith("(1 row)\n")


def test_long_values_are_shortened_for_people_only() -> None:
    """A table stays readable; programs get everything."""
    rows = pa.table({"s": ["x" * 500]})
    assert "x" * 59 + "…" in render(rows, "table")
    assert "x" * 60 not in render(rows, "table")
    assert "x" * 500 in render(rows, "csv")
    assert "x" * 500 in render(rows, "json")


NAMES = ["a", "A", "a", 'q"uote', "line\nbreak", "\x1b[31mred", ""]


def test_any_column_name_can_be_shown() -> None:
    """Names that differ in case stay, one that occurs twice gets a number, and none is a command to the terminal."""
    rows = pa.table([pa.array([n]) for n in range(len(NAMES))], names=NAMES)
    expected = ["a", "A", "a_1", *NAMES[3:]]
    assert list(json.loads(render(rows, "json"))[0]) == expected
    header, values = csv.reader(io.StringIO(render(rows, "csv"), newline=""))
    assert (header, values) == (expected, [str(n) for n in range(len(NAMES))])
    shown = render(rows, "table")
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 4


def test_csv_is_read_back_as_it_was() -> None:
    """Quotes and line breaks survive; absent is empty without quotes."""
    text = render(ROWS, "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["s"] for row in rows] == ['quo"te', "new\nline", "", "ünïcode"]
    assert [row["n"] for row in rows] == ["1", str(2**64 - 1), "3", ""]


def test_json_is_json() -> None:
    """What JSON has no number for is null; whole numbers stay whole."""
    rows = json.loads(render(ROWS, "json"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [row["v"] for row in rows] == [1.5, None, None, -2.0]
    assert rows[1]["n"] == 2**64 - 1
    assert rows[3]["s"] == "ünïcode"


NESTED = "SELECT [1, 2] AS list, {'x': 1, 'y': [NULL]} AS struct, MAP {'k': 1.5} AS map"
TWICE = "SELECT 1 AS a, 2 AS a"
INTERVAL = "SELECT INTERVAL 3 DAY AS i, DATE '2020-01-02' AS d, TIME '01:02:03' AS t, 'x'::BLOB AS b"
NAN = "SELECT 'NaN'::DOUBLE AS nan, ['NaN'::DOUBLE] AS nested"
OTHERS = [
    "SELECT 1.50::DECIMAL(5,2) AS dec, 170141183460469231731687303715884105727 AS huge, uuid() AS u",
    "SELECT NULL AS nothing, TIMESTAMP '2020-01-02 03:04:05' AS plain, TIMESTAMP_S '2020-01-02 03:04:05' AS s",
]
CASES = [(sql, form) for sql in (TWICE, NESTED, INTERVAL, NAN, *OTHERS) for form in FORMATS]


@pytest.mark.parametrize(("sql", "form"), CASES)
def test_all_that_sql_returns_can_be_shown(sql: str, form: str) -> None:
    """No type that DuckDB returns makes the output fail, nor loses a column."""
    with duckdb.connect() as connection:
        rows = connection.sql(sql).to_arrow_table()
    text = render(rows, form)
    assert text.endswith("\n")
    if form == "json":
        found: list[dict[str, Any]] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert len(found[0]) == rows.num_columns
    else:
        assert len(text.splitlines()) >= 2
