"""A query's result as a table for people, or as CSV or JSON for programs.

Times are ISO 8601 in UTC, to the nanosecond.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

FORMATS = ("table", "csv", "json")
WIDTH_MAX = 60


def render(rows: pa.Table, form: str) -> str:
    """`rows` as text, ending in a newline. form: one of FORMATS."""
    readable = _readable(rows)
    if form == "csv":
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(readable, sink)
        text: str = sink.getvalue().to_pybytes().decode()
        return text
    if form == "json":
        return json.dumps([_json(row) for row in _rows(readable)], indent=1, ensure_ascii=False) + "\n"
    return _table(readable)


def _readable(rows: pa.Table) -> pa.Table:
    """Times as text, dictionaries as their values."""
    arrays = []
    for column in rows.columns:
        if pa.types.is_timestamp(column.type):
            column = pc.strftime(column.cast(pa.timestamp(column.type.unit)), format="%Y-%m-%dT%H:%M:%SZ")
        elif pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        arrays.append(column)
    return pa.table(arrays, names=rows.column_names)


def _rows(rows: pa.Table) -> Iterator[dict[str, Any]]:
    names = rows.column_names
    columns = [column.to_pylist() for column in rows.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _json(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _json_value(value) for name, value in row.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


def _table(rows: pa.Table) -> str:
    names = rows.column_names
    cells = [[_cell(value) for value in row.values()] for row in _rows(rows)]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    numeric = [pa.types.is_floating(c.type) or pa.types.is_integer(c.type) for c in rows.columns]
    lines = [_line(names, widths, numeric), "  ".join("-" * width for width in widths)]
    lines += [_line(row, widths, numeric) for row in cells]
    count = f"({len(cells)} row{'' if len(cells) == 1 else 's'})"
    return "\n".join([*lines, count]) + "\n"


def _line(values: list[str], widths: list[int], numeric: list[bool]) -> str:
    aligned = [v.rjust(w) if right else v.ljust(w) for v, w, right in zip(values, widths, numeric, strict=True)]
    return "  ".join(aligned).rstrip()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return text if len(text) <= WIDTH_MAX else text[: WIDTH_MAX - 1] + "…"
