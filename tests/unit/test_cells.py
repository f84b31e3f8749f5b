"""Fields as a matrix of words come to the same as columns of Arrow: joined, cut, and back."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from common.entry.cells import Cells, cells_of, joined
from common.values.schema import ARROW_TYPES, ColumnType

VALUES: dict[str, tuple[ColumnType, st.SearchStrategy[Any]]] = {
    "b": (ColumnType.BOOLEAN, st.booleans()),
    "f": (ColumnType.FLOAT, st.floats()),
    "i": (ColumnType.INTEGER, st.integers(-(2**63), 2**63 - 1)),
    "s": (ColumnType.STRING, st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
    "t": (ColumnType.STRING, st.sampled_from(["", "x"])),
    "u": (ColumnType.UNSIGNED, st.integers(0, 2**64 - 1)),
}
Columns = dict[str, list[Any]]


@st.composite
def columns(draw: st.DrawFn) -> Columns:
    """Of one to five rows; None where absent."""
    rows = draw(st.integers(1, 5))
    names = draw(st.sets(st.sampled_from([*VALUES])))
    return {
        name: draw(st.lists(st.none() | VALUES[name][1], min_size=rows, max_size=rows)) for name in sorted(names)
    } or {"f": [1.0] * rows}


def cells(found: Columns) -> Cells:
    arrays = {name: pa.array(values, ARROW_TYPES[VALUES[name][0]]) for name, values in found.items()}
    return cells_of(arrays, len(next(iter(found.values()))))


def shown(found: Cells) -> Columns:
    """By name, as text: NaN is not equal to itself."""
    arrays = found.arrays()
    for array in arrays.values():
        array.validate(full=True)
    return {name: list(map(repr, arrays[name].to_pylist())) for name in sorted(arrays)}


def as_text(found: Columns) -> Columns:
    return {name: list(map(repr, values)) for name, values in sorted(found.items())}


@given(columns(), st.data())
def test_cells_are_what_arrow_had(found: Columns, data: st.DataObject) -> None:
    """Any types and nulls; taken, cut and narrowed too."""
    made = cells(found)
    rows = len(next(iter(found.values())))
    assert shown(made) == as_text(found)
    picked = data.draw(st.lists(st.integers(0, rows - 1)))
    taken = {name: [values[at] for at in picked] for name, values in found.items()}
    assert shown(made.take(np.array(picked, np.intp))) == as_text(taken)
    start, end = sorted([data.draw(st.integers(0, rows)), data.draw(st.integers(0, rows))])
    assert shown(made.slice(start, end)) == as_text({name: values[start:end] for name, values in found.items()})
    kept = {name: ColumnType.FLOAT for name in found if data.draw(st.booleans())}
    assert shown(made.only(kept)) == as_text({name: found[name] for name in kept})


@given(st.lists(columns(), min_size=1, max_size=5))
def test_joined_rows_follow_each_other(parts: list[Columns]) -> None:
    """A field that a part lacks is absent in its rows."""
    made = joined([cells(part) for part in parts])
    expected: Columns = {name: [] for part in parts for name in part}
    for part in parts:
        rows = len(next(iter(part.values())))
        for name, values in expected.items():
            values += part.get(name, [None] * rows)
    assert shown(made) == as_text(expected)


def test_bytes_are_those_of_the_arrays() -> None:
    """Eight for each word, one for each presence once a field is absent, about those of texts."""
    assert cells({"f": [1.0, math.pi], "i": [1, 2]}).bytes == 32
    assert cells({"f": [1.0, None], "i": [1, 2]}).bytes == 32 + 4
    assert 2 * 4 + 4 <= cells({"s": ["abc", "d"]}).bytes <= 3 * 8 + 4
    assert cells({"f": [1.0] * 10}).slice(2, 4).bytes == 16
