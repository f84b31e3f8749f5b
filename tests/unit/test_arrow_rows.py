"""Rows of an Arrow stream: each value as it was sent, on its series' sequencer; a bad row is refused alone."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from common.catalog.table_schema import TableSchema
from common.entry import decode
from common.values.errors import Unavailable
from common.values.schema import TIME_NS_MAX, TIME_NS_MIN, ColumnType
from router.parsing.arrow import reading
from router.parsing.batch import BatchParser
from router.parsing.messages import PAYLOAD_BYTES_MAX, REFUSED_SHOWN_MAX, Body, ParsedBatch, RequestLines
from router.parsing.time_bounds import ANY_TIME, TimeBounds
from tests.support.arrow_streams import TAG, TIME, rows_of, stream_of

Row = dict[str, Any]


def parsed(data: bytes, *, table: str = "t", all_or_nothing: bool = False, times: TimeBounds = ANY_TIME) -> ParsedBatch:
    return BatchParser(4).parse("ns", [Body(data, 1, 0, all_or_nothing, times, table)], {})


def rows(result: ParsedBatch, table: str = "t") -> dict[int, list[Row]]:
    """By sequencer, absent values left out, `time` as ns."""
    return {
        int(sequencer): [
            {name: value for name, value in row.items() if value is not None}
            for payload in payloads
            for row in ns_rows(decode(payload).tables[table])
        ]
        for sequencer, payloads in result.payloads.items()
    }


def ns_rows(batch: pa.RecordBatch) -> list[Row]:
    times = batch.column("time").view(pa.int64())
    return batch.set_column(0, "time", times).to_pylist()


def stored(result: ParsedBatch) -> list[Row]:
    return sorted((row for part in rows(result).values() for row in part), key=lambda row: row["time"])


def reasons(result: ParsedBatch) -> list[tuple[int, str]]:
    (lines,) = result.requests
    return [(one.number, one.reason) for one in lines.refused]


def test_every_type_comes_out_as_it_went_in() -> None:
    """Values of each column type, absent ones too, with the columns that no write has settled."""
    batch = rows_of(
        h=["a", None],
        f=[1.5, None],
        i=pa.array([-(2**63), 2**63 - 1], pa.int64()),
        u=pa.array([0, 2**64 - 1], pa.uint64()),
        s=['q"\\\n', "größe"],
        b=[True, False],
    )
    result = parsed(stream_of(batch))
    assert stored(result) == [
        {"time": 1, "h": "a", "f": 1.5, "i": -(2**63), "u": 0, "s": 'q"\\\n', "b": True},
        {"time": 2, "i": 2**63 - 1, "u": 2**64 - 1, "s": "größe", "b": False},
    ]
    assert result.additions == {
        "t": {
            "h": ColumnType.TAG,
            "f": ColumnType.FLOAT,
            "i": ColumnType.INTEGER,
            "u": ColumnType.UNSIGNED,
            "s": ColumnType.STRING,
            "b": ColumnType.BOOLEAN,
        }
    }
    assert result.lacking == {"t": 0}
    assert result.requests == [RequestLines(2, sequencers=set(result.payloads), needs_additions=True)]


@pytest.mark.parametrize(
    ("narrow", "values", "column"),
    [
        (pa.float16(), [0.5, -2.0], ColumnType.FLOAT),
        (pa.float32(), [1e-45, 3.4e38], ColumnType.FLOAT),
        (pa.int8(), [-128, 127], ColumnType.INTEGER),
        (pa.int16(), [-(2**15), 2**15 - 1], ColumnType.INTEGER),
        (pa.int32(), [-(2**31), 2**31 - 1], ColumnType.INTEGER),
        (pa.uint8(), [0, 255], ColumnType.UNSIGNED),
        (pa.uint16(), [0, 2**16 - 1], ColumnType.UNSIGNED),
        (pa.uint32(), [0, 2**32 - 1], ColumnType.UNSIGNED),
        (pa.large_utf8(), ["x", ""], ColumnType.STRING),
        (pa.float64(), [float("inf"), float("-inf")], ColumnType.FLOAT),
    ],
)
def test_a_narrower_type_widens_without_loss(narrow: pa.DataType, values: list[Any], column: ColumnType) -> None:
    """To the column type that holds each of its values exactly."""
    array = pa.array(np.array(values, np.float16) if narrow == pa.float16() else values, narrow)
    result = parsed(stream_of(rows_of(v=array)))
    assert [row["v"] for row in stored(result)] == array.to_pylist()
    assert result.additions == {"t": {"v": column}}


def test_nan_is_a_value() -> None:
    """A line cannot say it, an array can."""
    (row,) = stored(parsed(stream_of(rows_of(v=[float("nan")]))))
    assert np.isnan(row["v"])


@pytest.mark.parametrize("index", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()])
@pytest.mark.parametrize("text", [pa.utf8(), pa.large_utf8()])
def test_a_dictionary_of_any_index_is_a_tag(index: pa.DataType, text: pa.DataType) -> None:
    """Also with values that no row uses, that occur twice, or are null, which is an absent tag."""
    values = pa.array(["unused", "a", None, "b", "a"], text)
    tag = pa.DictionaryArray.from_arrays(pa.array([1, 4, 2, None, 3], index), values)
    result = parsed(stream_of(rows_of(h=tag, f=[1.0] * 5)))
    assert [row.get("h") for row in stored(result)] == ["a", "a", None, None, "b"]
    for payload in (one for payloads in result.payloads.values() for one in payloads):
        batch = decode(payload).tables["t"]
        if "h" in batch.schema.names:
            found = batch.column("h").dictionary.to_pylist()
            assert sorted(found) == sorted({*found} & {"a", "b"})


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (pa.array([1, -2], pa.int64()), [1, -2]),
        (pa.array([1, -2], pa.timestamp("ns")), [1, -2]),
        (pa.array([1, -2], pa.timestamp("us", "UTC")), [1000, -2000]),
        (pa.array([1, -2], pa.timestamp("ms", "Europe/Zurich")), [10**6, -2 * 10**6]),
        (pa.array([1, -2], pa.timestamp("s", "+05:00")), [10**9, -2 * 10**9]),
        (pa.array([TIME_NS_MIN, TIME_NS_MAX], pa.int64()), [TIME_NS_MIN, TIME_NS_MAX]),
        (pa.array([-9223372036, 9223372036], pa.timestamp("s")), [-9223372036 * 10**9, 9223372036 * 10**9]),
    ],
)
def test_times_of_any_unit_and_zone_are_instants(times: pa.Array, expected: list[int]) -> None:
    """Whatever zone they are shown in; up to the ends of what can be stored."""
    assert [row["time"] for row in stored(parsed(stream_of(rows_of(time=times, f=[1.0, 2.0]))))] == sorted(expected)


BAD_ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("no-time", {"time": pa.array([1, None, 3], TIME)}, "the row has no time: column time is null"),
    (
        "time-too-late",
        {"time": pa.array([1, 9223372037, 3], pa.timestamp("s"))},
        "time 9223372037 is outside the years 1677 to 2262",
    ),
    (
        "time-too-early",
        {"time": pa.array([1, -(2**63), 3], pa.timestamp("ms"))},
        "time -9223372036854775808 is outside the years 1677 to 2262",
    ),
    ("last-ns", {"time": pa.array([1, 2**63 - 1, 3])}, "time 9223372036854775807 is outside the years 1677 to 2262"),
    ("no-field", {"f": [1.0, None, 3.0]}, "missing fields: every field of the row is null"),
    ("empty-tag", {"h": ["a", "", "c"]}, "tag 'h' has an empty value"),
    ("newline-in-tag", {"h": ["a", "x\ny", "c"]}, "tag value 'x\\ny' contains a control character"),
    ("nul-in-tag", {"h": ["a", "\0", "c"]}, "tag value '\\x00' contains a control character"),
    ("long-tag", {"h": ["a", "x" * 65_536, "c"]}, "tag value of 65536 bytes is over 65535"),
    ("long-string", {"s": ["a", "ä" * 32_768 + "x", None]}, "field 's': string of 65537 bytes is over 65536"),
    (
        "long-row",
        {f"s{n}": [None, "x" * 65_536, None] for n in range(8)},
        "row of 524315 bytes is over 524288, its names included",
    ),
]


@pytest.mark.parametrize(("columns", "reason"), [one[1:] for one in BAD_ROWS], ids=[one[0] for one in BAD_ROWS])
def test_a_bad_row_is_refused_and_those_around_it_are_stored(columns: dict[str, Any], reason: str) -> None:
    """With its number and reason; with all or nothing, none is stored and no column is asked for."""
    data = stream_of(rows_of(**{"h": ["a", "b", "c"], "f": [1.0, 2.0, 3.0], **columns}))
    result = parsed(data)
    assert reasons(result) == [(2, reason)]
    assert [row["f"] for row in stored(result)] == [1.0, 3.0]
    assert "s0" not in result.additions["t"]
    withdrawn = parsed(data, all_or_nothing=True)
    assert (withdrawn.payloads, withdrawn.additions) == ({}, {})
    assert (withdrawn.requests[0].accepted, withdrawn.requests[0].withdrawn) == (0, 2)


def test_times_out_of_the_routers_bounds_are_refused_as_in_lines() -> None:
    """In the same words."""
    result = parsed(stream_of(rows_of(f=[1.0, 2.0, 3.0])), times=TimeBounds(2, 2))
    assert [number for number, _ in reasons(result)] == [1, 3]
    assert "the oldest that this router stores" in reasons(result)[0][1]
    assert [row["time"] for row in stored(result)] == [2]


def test_a_column_of_another_type_refuses_the_rows_that_have_a_value_in_it() -> None:
    """By name, with both types; where it is null the row is stored without it."""
    parser = BatchParser(4)
    known = {"t": TableSchema(1, {"f": ColumnType.FLOAT, "h": ColumnType.TAG})}
    data = stream_of(rows_of(h=pa.array(["a", None, None]), f=[1, None, None], g=[1.0, 2.0, None]))
    result = parser.parse("ns", [Body(data, 1, 0, table="t")], known)
    assert reasons(result) == [
        (1, "column 'h' of table 't' is a tag, the stream has a string field: give a tag as a dictionary of strings"),
        (3, "missing fields: every field of the row is null"),
    ]
    assert stored(result) == [{"time": 2, "g": 2.0}]
    assert (result.additions, result.lacking) == ({"t": {"g": ColumnType.FLOAT}}, {"t": 1})


def test_a_table_too_many_refuses_every_row() -> None:
    """With the reason that the namespace gives; a table that exists by now is written."""
    data, refused = stream_of(rows_of(f=[1.0, 2.0])), {"t": "one table too many"}
    body = Body(data, 1, 0, table="t")
    result = BatchParser(4).parse("ns", [body], {}, refused_tables=refused)
    assert reasons(result) == [(1, "one table too many"), (2, "one table too many")]
    assert (result.payloads, result.additions) == ({}, {})
    known = {"t": TableSchema(1, {"f": ColumnType.FLOAT})}
    assert BatchParser(4).parse("ns", [body], known, refused_tables=refused).requests[0].accepted == 2


def test_known_columns_need_nothing_settled() -> None:
    """Then the store is not asked."""
    known = {"t": TableSchema(1, {"f": ColumnType.FLOAT})}
    result = BatchParser(4).parse("ns", [Body(stream_of(rows_of(f=[1.0])), 1, 0, table="t")], known)
    assert (result.additions, result.lacking) == ({}, {})
    assert not result.requests[0].needs_additions


def test_columns_over_the_tables_limit_refuse_the_rows_that_use_them() -> None:
    """The others are stored."""
    known = {"t": TableSchema(1, {f"c{n}": ColumnType.FLOAT for n in range(999)})}
    data = stream_of(rows_of(c0=[1.0, 2.0, 3.0], x=[None, 1.0, None], y=[None, None, 1.0]))
    result = BatchParser(4).parse("ns", [Body(data, 1, 0, table="t")], known)
    reason = "table 't' has 999 columns; 2 more would be over 1000"
    assert reasons(result) == [(2, reason), (3, reason)]
    assert stored(result) == [{"time": 1, "c0": 1.0}]


def test_refused_rows_are_numbered_over_the_whole_stream_and_a_hundred_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over batches, and over the slices in which they are read; the others are counted."""
    monkeypatch.setattr(reading, "CELLS_MAX", 30)
    batches = [rows_of(h=["a", "", "c"], f=[1.0, 2.0, None]) for _ in range(100)]
    result = parsed(stream_of(*batches))
    (lines,) = result.requests
    numbers = [number for at in range(100) for number in (3 * at + 2, 3 * at + 3)]
    assert [one.number for one in lines.refused] == numbers[:REFUSED_SHOWN_MAX]
    assert (lines.accepted, lines.refused_count) == (100, 200)


def line(row: Row) -> str:
    """The same row as line protocol."""
    tags = "".join(f",{name}={row[name]}" for name in ("h", "region") if row[name] is not None)
    values = {"f": "{}", "i": "{}i", "s": '"{}"', "b": "{}"}
    fields = ",".join(f"{name}={form.format(row[name])}" for name, form in values.items() if row[name] is not None)
    return f"t{tags} {fields} {row['time']}"


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_where_the_same_lines_are(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same values, same sequencers, same order on each: one series is one series however it is written."""
    rng = random.Random(seed)
    monkeypatch.setattr(reading, "CELLS_MAX", rng.choice([1, 100, 500_000]))
    count = rng.randrange(1, 200)

    def some(value: Any, often: float = 0.8) -> Any:
        return value if rng.random() < often else None

    table = [
        {
            "time": rng.randrange(50),
            "h": some(f"h{rng.randrange(10)}"),
            "region": some(rng.choice(["eu", "us"])),
            "f": some(rng.random()),
            "i": some(rng.randrange(-9, 9)),
            "s": some("x" * rng.randrange(5)),
            "b": rng.random() < 0.5,
        }
        for _ in range(count)
    ]
    types = {"time": pa.int64(), "h": TAG, "region": TAG, "f": pa.float64(), "i": pa.int64(), "s": pa.utf8()}
    schema = pa.schema([*types.items(), ("b", pa.bool_())])
    parts = pa.Table.from_pylist(table, schema=schema).to_batches(max_chunksize=rng.randrange(1, 60))
    by_arrow = parsed(stream_of(*parts))
    lines = "\n".join(map(line, table)).encode()
    by_lines = BatchParser(4).parse("ns", [Body(lines, 1, 0)], {})
    assert rows(by_arrow) == rows(by_lines)
    assert by_arrow.additions == by_lines.additions


def test_dictionaries_may_be_replaced_between_batches() -> None:
    """As pyarrow writes the chunks of a table whose dictionaries differ."""
    batches = [rows_of(h=names, f=[1.0, 2.0]) for names in (["a", "b"], ["b", "c"], ["c", "a"])]
    result = parsed(stream_of(*batches))
    assert sorted(row["h"] for row in stored(result)) == ["a", "a", "b", "b", "c", "c"]


def payload_sizes(result: ParsedBatch) -> Sequence[int]:
    return [len(payload) for payloads in result.payloads.values() for payload in payloads]


def test_rows_that_do_not_compress_are_split_to_fit_records() -> None:
    """Ten megabytes of noise, strings of the largest size among them."""
    noise = np.random.default_rng(1)
    strings = [noise.bytes(49_152).hex()[:65_536] if n % 10_000 == 0 else None for n in range(200_000)]
    batch = rows_of(h=[f"h{n % 100}" for n in range(200_000)], f=noise.random(200_000), s=pa.array(strings, pa.utf8()))
    result = parsed(stream_of(batch))
    assert result.requests[0].accepted == 200_000
    assert max(payload_sizes(result)) <= PAYLOAD_BYTES_MAX
    assert sum(len(part) for part in rows(result).values()) == 200_000


def test_a_value_that_many_rows_use_is_not_repeated() -> None:
    """A megabyte of rows that all name one long tag value would be gigabytes of text."""
    values = pa.array(["x" * 65_000, "y" * 65_000])
    tag = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 50_000, pa.int8()), values)
    before = pa.default_memory_pool().bytes_allocated()
    result = parsed(stream_of(rows_of(h=tag, b=[True] * 100_000)))
    assert result.requests[0].accepted == 100_000
    assert sum(payload_sizes(result)) < 2_000_000
    assert pa.default_memory_pool().bytes_allocated() - before < 10_000_000


def test_reading_ends_when_nobody_waits_for_it() -> None:
    """Between two slices."""
    with pytest.raises(Unavailable, match="given up"):
        BatchParser(4).parse("ns", [Body(stream_of(rows_of(f=[1.0])), 1, 0, table="t")], {}, lambda: True)


def test_hashing_very_many_series_ends_when_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of half a million series takes seconds: a parser that takes so long to give up passes for one that
    hangs."""
    monkeypatch.setattr(reading, "_SERIES_BETWEEN_CHECKS", 10)
    data = stream_of(rows_of(h=[f"h{n}" for n in range(100)], f=[1.0] * 100))
    asked = iter([False] * 5 + [True])
    with pytest.raises(Unavailable, match="given up"):
        BatchParser(1).parse("ns", [Body(data, 1, 0, table="t")], {}, lambda: next(asked))
