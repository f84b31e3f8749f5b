"""A query's result as a table for people, or as CSV or JSON for programs.

Times are ISO 8601 in UTC, to the nanosecond.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

WIDTH_MAX = 60


def render(rows: pa.Table, form: str) -> str:
    """`rows` as text, ending in a newline. form: one of FORMATS (formats.py).

    A column name that occurs twice gets a number at its end. Lists, structs and other nested values are JSON; what JSON
    cannot express (NaN, infinities) is null in JSON.
    """
    names = _unique(rows.column_names)
    columns = [_readable(column) for column in rows.columns]
    if form == "csv":
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(pa.table([_flat(column) for column in columns], names=names), sink)
        text: str = sink.getvalue().to_pybytes().decode()
        return text
    if form == "json":
        values = ([_json_value(value) for value in column.to_pylist()] for column in columns)
        found = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    return _table(names, columns)


def _unique(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        number = 1
        unique = name
        while unique in found:
            unique = f"{name}_{number}"
            number += 1
        found.append(unique)
    return found


def _readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as text, dictionaries as their values."""
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column.cast(pa.timestamp(column.type.unit)), format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """What CSV has no form for, as text."""
    if not (pa.types.is_nested(column.type) or pa.types.is_interval(column.type)):
        return column
    texts = [None if value is None else _text(value) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.utf8())])


def _text(value: Any) -> str:
    return json.dumps(_json_value(value), ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _json_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_value(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _json_value(one) for name, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _table(names: list[str], columns: list[pa.ChunkedArray]) -> str:
    cells = [[_cell(value) for value in column.to_pylist()] for column in columns]
    heads = [_cell(name) for name in names]
    widths = [max(map(len, [head, *column])) for head, column in zip(heads, cells, strict=True)]
    numeric = [pa.types.is_floating(c.type) or pa.types.is_integer(c.type) for c in columns]
    lines = [_line(heads, widths, numeric), "  ".join("-" * width for width in widths)]
    rows = list(zip(*cells, strict=True))
    lines += [_line(row, widths, numeric) for row in rows]
    count = f"({len(rows)} row{'' if len(rows) == 1 else 's'})"
    return "\n".join([*lines, count]) + "\n"


def _line(values: Sequence[str], widths: list[int], numeric: list[bool]) -> str:
    aligned = [v.rjust(w) if right else v.ljust(w) for v, w, right in zip(values, widths, numeric, strict=True)]
    return "  ".join(aligned).rstrip()


def _cell(value: Any) -> str:
    """One line of printable characters: the terminal must not read what a client wrote as a command."""
    text = "" if value is None else _text(value)
    if not text.isprintable():
        text = "".join(one if one.isprintable() else _escaped(one) for one in text)
    return text if len(text) <= WIDTH_MAX else text[: WIDTH_MAX - 1] + "…"


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode()
