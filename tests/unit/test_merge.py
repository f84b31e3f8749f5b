"""Merging: sorted by series and time, the newest of equal keys field by field, against a model of dicts."""

import itertools
import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalog import merge as merge_module
from common.catalog.merge import concatenated, merge
from common.values.schema import ColumnType, union
from tests.support.records import Row, Unsigned, batch, columns, row, rows_of

TIMES = [-(2**63), -(2**63) + 1, -1, 0, 1, 2**63 - 1]
TAGS = st.dictionaries(st.sampled_from(["host", "az", "ż"]), st.sampled_from(["", "a", "b", "B", "é", "日本"]))
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "f": st.sampled_from([1.0, -0.5, float("inf")]),
        "i": st.sampled_from([-(2**63), 0, 2**63 - 1]),
        "u": st.sampled_from([Unsigned(0), Unsigned(2**64 - 1)]),
        "s": st.sampled_from(["", "x", "y"]),
        "b": st.booleans(),
    },
)
ROWS = st.builds(Row, st.sampled_from(TIMES), TAGS, FIELDS)
PARTS = st.lists(st.lists(ROWS, min_size=1, max_size=8), min_size=1, max_size=5)


def merged(parts: list[list[Row]], sort_key: list[str] | None = None) -> tuple[list[Row], int]:
    """The merge's rows and how many were overwritten. Tables and batches are accepted alike: here in turn."""
    found = union(columns(part) for part in parts)
    tags = sort_key or sorted(name for name, column in found.items() if column is ColumnType.TAG)
    given_parts: list[Any] = [
        pa.Table.from_batches([batch(part)]) if n % 2 else batch(part) for n, part in enumerate(parts)
    ]
    result = merge(given_parts, found, tags)
    result.rows.validate(full=True)
    return rows_of(result.rows), result.overwritten


def modelled(parts: list[list[Row]], tags: list[str]) -> list[Row]:
    """What must come out: a dict by key, absent tags first, tags by their bytes."""
    newest: dict[tuple[tuple[bytes, ...], int], Row] = {}
    for part in parts:
        for each in part:
            key = tuple(b"" if tag not in each.tags else b"\1" + each.tags[tag].encode() for tag in tags)
            older = newest.get((key, each.time_ns))
            fields = {**(older.fields if older else {}), **each.fields}
            newest[key, each.time_ns] = Row(each.time_ns, each.tags, fields)
    return [newest[key] for key in sorted(newest)]


@settings(max_examples=300)
@given(PARTS, st.randoms(use_true_random=False))
def test_merging_is_what_a_dict_does(parts: list[list[Row]], rng: random.Random) -> None:
    """Rows, order and values equal the model's for any parts, columns, dictionaries, absent tags and times."""
    tags = sorted({tag for part in parts for each in part for tag in each.tags})
    rng.shuffle(tags)
    rows, overwritten = merged(parts, tags)
    assert rows == modelled(parts, tags)
    assert overwritten == sum(map(len, parts)) - len(rows)


@given(PARTS, st.randoms(use_true_random=False))
def test_any_interleaving_that_keeps_each_key_s_order_gives_the_same_bytes(
    parts: list[list[Row]], rng: random.Random
) -> None:
    """A file's content depends on its rows alone, not on how they came: a replay writes the same bytes."""
    found = union(columns(part) for part in parts)
    tags = sorted(name for name, column in found.items() if column is ColumnType.TAG)
    one = merge([batch(part) for part in parts], found, tags).rows
    rows = interleaved([each for part in parts for each in part], rng)
    cuts = sorted({0, len(rows), *(rng.randrange(len(rows)) for _ in range(3))})
    pieces = [rows[start:end] for start, end in itertools.pairwise(cuts)]
    other = merge([batch(piece) for piece in pieces], found, tags).rows
    assert ipc(one) == ipc(other)


def interleaved(rows: list[Row], rng: random.Random) -> list[Row]:
    """Another order in which rows of one key keep theirs."""
    queues: dict[tuple[Any, ...], list[Row]] = {}
    for each in rows:
        queues.setdefault((tuple(sorted(each.tags.items())), each.time_ns), []).append(each)
    mixed = []
    while queues:
        key = rng.choice(list(queues))
        mixed.append(queues[key].pop(0))
        if not queues[key]:
            del queues[key]
    return mixed


def ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("text_bytes_max", [1, 7, 1000])
def test_much_text_comes_in_several_chunks(text_bytes_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow's strings end at 2 GiB an array: rows whose text is above a bound are the same rows, in several chunks."""
    parts = [
        [row(n, "ab"[n % 2], s="x" * (n % 9)) if n % 5 else row(n, "a", f=1.0) for n in range(m)] for m in (90, 99)
    ]
    expected = merged(parts)
    monkeypatch.setattr(merge_module, "TEXT_BYTES_MAX", text_bytes_max)
    assert merged(parts) == expected
    found = union(columns(part) for part in parts)
    chunks = merge([batch(part) for part in parts], found, ["host"]).rows.column("s").chunks
    assert (len(chunks) > 1) == (text_bytes_max < 1000)
    assert all(chunk.nbytes < text_bytes_max + 8 + 5 * (len(chunk) + 8) for chunk in chunks)


def test_a_null_in_the_newer_row_keeps_the_older_value() -> None:
    """As InfluxDB merges rows of one key: field by field."""
    rows, overwritten = merged([[row(1, "a", f=1.0, i=1)], [row(1, "a", f=2.0)], [row(1, "a", s="x")]])
    assert rows == [row(1, "a", f=2.0, i=1, s="x")]
    assert overwritten == 2


def test_an_absent_tag_is_another_series_than_an_empty_one() -> None:
    """No tag, an empty value and a value are three series."""
    rows, _ = merged([[row(1, "x", f=1.0)], [row(1, "", f=2.0)], [row(1, None, f=3.0)]])
    assert rows == [row(1, None, f=3.0), row(1, "", f=2.0), row(1, "x", f=1.0)]


@pytest.mark.parametrize(
    ("series", "times"),
    [
        (1, [-(2**63), 0, 2**63 - 1]),  # 64 bits of time: no room for a series
        (2, [-(2**63), 2**63 - 1]),  # lexsort
        (5000, [-(2**63), 2**63 - 1]),  # lexsort, many series
        (5000, [0, 1]),  # packed
        (3, [2**62, 2**62 + 1]),
        (1, [7]),
    ],
)
def test_sorting_is_the_same_on_either_path(series: int, times: list[int]) -> None:
    """Whether series and time fit one 64-bit key or not."""
    rows = [row(time_ns, f"h{n:05}", f=float(n)) for n in range(series) for time_ns in times]
    shuffled = random.Random(series).sample(rows, len(rows))
    found, overwritten = merged([shuffled, shuffled])
    assert found == sorted(rows, key=lambda each: (each.tags["host"], each.time_ns))
    assert overwritten == len(rows)


def test_many_tags_of_high_cardinality() -> None:
    """Where the product of the tags' values outgrows 63 bits, series are renumbered and sort as before."""
    rng = random.Random(5)
    names = [f"t{n:02}" for n in range(12)]
    rows = [
        Row(rng.randrange(3), {name: f"{rng.randrange(500):03}" for name in names if rng.random() < 0.9}, {"f": 1.0})
        for _ in range(800)
    ]
    parts = [rows[:300], rows[300:], rows[:100]]
    assert merged(parts)[0] == modelled(parts, names)


def test_a_table_without_tags_is_one_series() -> None:
    """Rows of equal time are one."""
    rows, overwritten = merged([[row(2, f=1.0), row(1, f=2.0)], [row(2, f=3.0)]])
    assert (rows, overwritten) == ([row(1, f=2.0), row(2, f=3.0)], 1)


def test_dictionaries_hold_just_the_values_used() -> None:
    """A file does not carry the values of rows that are not in it."""
    one = batch([row(n, f"h{n}", f=1.0) for n in range(100)]).slice(7, 2)
    found = merge([one], columns([row(0, "a", f=1.0)]), ["host"]).rows
    assert found.column("host").combine_chunks().dictionary.to_pylist() == ["h7", "h8"]


def test_joining_without_merging_keeps_every_row_in_order() -> None:
    """What a query streams: all rows, columns that a part lacks null, one dictionary for each tag."""
    parts = [[row(1, "a", f=1.0)], [row(1, "b", i=2)], [row(1, "a", f=3.0)]]
    table = concatenated([batch(part) for part in parts], union(map(columns, parts)))
    assert rows_of(table) == [each for part in parts for each in part]
    assert len({tuple(chunk.dictionary.to_pylist()) for chunk in table.column("host").chunks}) == 1
    assert concatenated([], {"host": ColumnType.TAG}).num_rows == 0
