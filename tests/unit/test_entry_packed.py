"""Version 2 of an entry, packed rows: the same rows as version 1, the format stays the format, what it cannot hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import entry
from common.entry import (
    Entry,
    EntryTooLarge,
    PackedRows,
    encode_packed,
    packed_rows,
    shape,
    tag_values,
    with_absent_tags,
)
from common.entry.shape import encode_shape
from common.values import schema
from common.values.errors import InvalidRequest
from common.values.schema import ColumnType
from tests.support.packed import packed_payload
from tests.support.packed import packed_rows as packed
from tests.support.packed_sample import DISK, GOLDEN, SAMPLE, decoded, sample
from tests.support.records import Row, Unsigned, batch

# Written and read

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3).filter(lambda name: name != "time")
VALUES: Mapping[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    int: st.integers(-(2**63), 2**63 - 1),
    Unsigned: st.integers(0, 2**64 - 1).map(Unsigned),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
}
TAG_VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Row]]:
    """Up to three tables; each has a row with every column, so that every column has a type."""
    found = {}
    for table in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        names = draw(st.lists(NAMES, min_size=1, max_size=12, unique=True))
        kinds = {name: draw(st.sampled_from([None, *VALUES])) for name in names}
        strategies = {name: VALUES[kind] if kind else TAG_VALUES for name, kind in kinds.items()}
        rows = []
        for at in range(draw(st.integers(1, 5))):
            here = {name: draw(each) for name, each in strategies.items() if at == 0 or draw(st.booleans())}
            tags = {name: value for name, value in here.items() if kinds[name] is None}
            fields = {name: value for name, value in here.items() if name not in tags}
            rows.append(Row(draw(st.integers(schema.TIME_NS_MIN, schema.TIME_NS_MAX)), tags, fields))
        found[table] = rows
    return found


@given(tables(), NAMES, st.booleans())
@example(SAMPLE, "metrics/ä", False)
def test_both_versions_decode_to_the_same(
    rows: Mapping[str, Sequence[Row]], namespace: str, one_series_each: bool
) -> None:
    """The same rows through `encode` and `encode_packed` are equal entries: values, schema, order of rows."""
    streams = entry.decode(entry.encode(Entry(namespace, {table: batch(each) for table, each in rows.items()})))
    found = entry.decode(packed_payload(namespace, rows, one_series_each=one_series_each))
    assert found == streams
    for table, each in found.tables.items():
        each.validate(full=True)
        assert each.schema.equals(streams.tables[table].schema, check_metadata=True)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 3000])
def test_many_rows_are_compressed_and_read(rows: int) -> None:
    """Any number of rows: least and greatest time, presence and series of all of them."""
    many = [
        Row(n * 7 % 31, {"host": f"h{n % 10}"}, {"a": n, **({"b": "x" * (n % 5)} if n % 3 else {})})
        for n in range(rows)
    ]
    payload = packed_payload("n", {"t": [Row(0, {"host": "h"}, {"a": 1, "b": "b"}), *many]})
    header = entry.decode_header(payload)
    assert header.codec == (header.raw_length >= packed_rows.COMPRESS_BYTES_MIN)
    assert decoded(payload)["t"][1:] == many


def test_shapes_of_many_columns_are_not_remembered() -> None:
    """Each set of columns of a wide table costs a hundred kilobytes; those of usual tables come again and again."""
    narrow, wide = (tuple((f"f{n:04}", ColumnType.FLOAT) for n in range(columns)) for columns in (30, 900))
    for fields in (narrow, wide):
        encode_shape("remembered", (), fields)
    assert ("remembered", (), narrow) in shape._encoded
    assert ("remembered", (), wide) not in shape._encoded


def test_the_header_gives_rows_times_and_columns_without_the_body() -> None:
    """A reader that skips learns the same from both versions."""
    header = entry.decode_header(packed_payload("metrics/ä", SAMPLE))
    streams = entry.decode_header(
        entry.encode(Entry("metrics/ä", {name: batch(rows) for name, rows in SAMPLE.items()}))
    )
    assert (header.version, streams.version, header.namespace, header.rows) == (2, 1, "metrics/ä", 4)
    assert [table[:5] for table in header.tables] == [table[:5] for table in streams.tables]
    cpu, disk = header.tables
    assert (cpu.start, cpu.length, disk.start) == (0, disk.start, header.raw_length - disk.length)


def test_golden_bytes_still_decode() -> None:
    """Version 2 as the first release wrote it is read for ever, and written byte for byte."""
    assert decoded(GOLDEN.read_bytes()) == SAMPLE
    assert packed_payload("metrics/ä", SAMPLE) == GOLDEN.read_bytes()


def test_golden_bytes_are_laid_out_as_documented() -> None:
    """Made by hand from docs/formats/entry.md."""
    assert sample().to_bytes() == GOLDEN.read_bytes()


# What the writer refuses


@pytest.mark.parametrize(
    "changes",
    [
        {"table": "t" * 65_536},
        {"tag_keys": ("zone", "host")},
        {"tag_keys": ("host", "host")},
        {"tag_keys": ("free", "host")},
        {"tag_keys": ("host", "time")},
        {"fields": (("time", ColumnType.INTEGER),)},
        {"fields": (("f" * 65_536, ColumnType.INTEGER),)},
        {"times_ns": np.array([], np.int64)},
    ],
    ids=["table name", "unsorted", "twice", "tag and field", "tag time", "field time", "field name", "no rows"],
)
def test_what_the_format_cannot_hold_is_refused(changes: Mapping[str, Any]) -> None:
    """encode_packed raises InvalidRequest, and never writes what decode would refuse."""
    rows = PackedRows(
        "t",
        ("host", "zone"),
        (("free", ColumnType.INTEGER),),
        np.array([1], np.int64),
        np.array([[1]], np.uint64),
        None,
        b"",
        [tag_values(["a", None])],
        None,
    )
    assert entry.decode(encode_packed("n", [rows])).tables["t"].num_rows == 1
    with pytest.raises(InvalidRequest):
        encode_packed("n", [replace(rows, **changes)])


def test_a_tag_value_or_namespace_that_is_too_long_is_refused() -> None:
    """Lengths are u16."""
    assert len(tag_values(["a" * 65_535])) == 65_537
    with pytest.raises(InvalidRequest, match="tag value of 65536 bytes"):
        tag_values(["a" * 65_536])
    with pytest.raises(InvalidRequest, match="namespace of 65536 bytes"):
        encode_packed("n" * 65_536, [packed("t", DISK)])


def test_more_than_decode_would_believe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cap counts a code for each tag of each row, though the body has one for each series."""
    rows = [Row(n, {f"tag{k:03}": "v" for k in range(100)}, {"a": n}) for n in range(10)]
    payload = packed_payload("n", {"t": rows})
    found = entry.decode(payload)
    assert found.raw_bytes > 10 * 100 * 4
    monkeypatch.setattr(packed_rows, "DECODED_BYTES_MAX", found.raw_bytes)
    assert packed_payload("n", {"t": rows}) == payload
    monkeypatch.setattr(packed_rows, "DECODED_BYTES_MAX", found.raw_bytes - 1)
    with pytest.raises(EntryTooLarge, match="raw bytes is over"):
        packed_payload("n", {"t": rows})


@given(st.lists(st.none() | TAG_VALUES))
def test_values_are_widened_to_more_tag_keys(values: list[str | None]) -> None:
    """With absent ones in between they are what the values of all the keys are."""
    there = [place for place, value in enumerate(values) if value is not None]
    absent = [after - before - 1 for before, after in zip([-1, *there], [*there, len(values)], strict=True)]
    packed_there = tag_values([values[place] for place in there])
    assert with_absent_tags(packed_there, absent) == tag_values(values)
