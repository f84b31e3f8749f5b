"""The buffer tree: rows of a table and a day together, small chunks merged, one dictionary for each tag."""

import math
import random
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.catalog.manifest.frontier import TIME_END, Frontier
from common.catalog.partition_key import PartitionKey
from common.entry import tag_values
from common.entry.series import Series, SeriesTable
from common.entry.series_rows import SeriesRows, series_rows
from common.values.ids import Offset
from common.values.schema import DAY_NS, TIME_TYPE, ColumnType, arrow_schema
from ingester.buffer import waiting
from ingester.buffer.chunk import Chunk, merged
from ingester.buffer.origins import Origins
from ingester.buffer.partition import Partition
from ingester.buffer.piece import PartitionView
from ingester.buffer.series import PieceSeries
from ingester.buffer.tree import BufferTree
from ingester.buffer.waiting import MERGE_COUNT, MERGE_RATIO, MERGE_ROWS_MAX
from ingester.persist.job import view_batches
from tests.support.records import DAY0_NS, NAMESPACE, Row, add_rows, batch, columns, row, rows_of

KEY = PartitionKey(NAMESPACE, "cpu", DAY0_NS // DAY_NS)


def put(partition: Partition, rows: list[Row], offset: int, arrival_ns: int = 0) -> None:
    partition.add(series_rows(batch(rows)), columns(rows), Origins.of_one(Offset(offset), arrival_ns))


def rows_in(view: PartitionView) -> list[Row]:
    return [each for one in view_batches(view) for each in rows_of(one)]


def add(tree: BufferTree, offset: int, tables: dict[str, list[Row]], **frontiers: Frontier) -> int:
    """Add a record; returns how many rows were durable. frontiers: by table, for DAY0."""
    known = {PartitionKey(NAMESPACE, table, KEY.day): frontier for table, frontier in frontiers.items()}
    return sum(add_rows(tree, table, rows, offset, 0, known) for table, rows in tables.items())


# Chunks


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=9), min_size=1, max_size=60))
def test_merging_chunks_changes_no_row(records: list[list[str | None]]) -> None:
    """Rows come out as they came in, in order; each chunk knows its records, arrivals and times."""
    partition = Partition(KEY)
    expected = []
    for offset, hosts in enumerate(records):
        rows = [row(DAY0_NS + offset, host, **{f"f{offset % 3}": float(n)}) for n, host in enumerate(hosts)]
        put(partition, rows, offset, arrival_ns=offset)
        expected += rows
    view = partition.view()
    assert rows_in(view) == expected
    assert [offset for chunk in view.chunks for offset in chunk.record_offsets] == list(range(len(records)))
    for chunk in view.chunks:
        sizes = [len(records[offset]) for offset in chunk.record_offsets]
        assert chunk.record_rows.tolist() == [sum(sizes[:n]) for n in range(len(sizes))]
        assert (chunk.first_arrival_ns, chunk.last_arrival_ns) == (chunk.first_offset, chunk.last_offset)
        assert (chunk.time_ns_min, chunk.time_ns_max) == (DAY0_NS + chunk.first_offset, DAY0_NS + chunk.last_offset)


def test_small_chunks_become_few() -> None:
    """A thousand one-row records become a few chunks."""
    partition = Partition(KEY)
    for offset in range(1000):
        put(partition, [row(DAY0_NS + offset, "a", v=1.0)], offset)
    assert len(partition.chunks) < 3 * MERGE_COUNT
    assert partition.rows == 1000


def sizes(*cycle: int) -> Callable[[int], int]:
    return lambda n: cycle[n % len(cycle)]


@pytest.mark.parametrize(
    "size",
    [
        sizes(1, 20),
        sizes(20, 1),
        sizes(1, 1000),
        sizes(*[1] * 15, 300),
        sizes(*[1] * 15, 17),
        sizes(*[2**n for n in range(10)]),
        sizes(*[2**n for n in range(10, 0, -1)]),
        lambda n: 1 + zlib.crc32(b"%d" % n) % 40,
        lambda n: 1 << (zlib.crc32(b"%d" % n) % 12),
    ],
    ids=["1 20", "20 1", "1 1000", "15 small", "15 tiny", "rising", "falling", "random", "random powers"],
)
def test_chunks_stay_few_in_any_order_of_sizes(size: Callable[[int], int], monkeypatch: Any) -> None:
    """A logarithm of the rows is left, each chunk of at most MERGE_ROWS_MAX rows, and each row is copied that often."""
    copied = 0

    def counting(chunks: list[Chunk]) -> Chunk:
        nonlocal copied
        copied += sum(chunk.rows for chunk in chunks)
        return merged(chunks)

    monkeypatch.setattr(waiting, "merged", counting)
    partition = Partition(KEY)
    most = 0
    for offset in range(1000):
        put(partition, [row(DAY0_NS + offset, "a", v=1.0)] * size(offset), offset)
        most = max(most, len(partition.chunks))
    assert partition.rows == sum(map(size, range(1000)))
    groups = 1 + 2 * partition.rows // MERGE_ROWS_MAX
    assert most < 2 * MERGE_COUNT + groups + math.log(MERGE_ROWS_MAX, 1 + 1 / MERGE_RATIO)
    assert copied < partition.rows * (2 + math.log(MERGE_ROWS_MAX, 1 + MERGE_RATIO))
    assert max(chunk.rows for chunk in partition.chunks) <= MERGE_ROWS_MAX


def test_chunks_of_other_columns_merge_all_the_same() -> None:
    """Records whose column sets alternate become few chunks too, null where a record had no such column."""
    partition = Partition(KEY)
    rows = [row(DAY0_NS + n, "a", v=1.0) if n % 2 else Row(DAY0_NS + n, {"az": "x"}, {"w": n}) for n in range(2000)]
    for offset, each in enumerate(rows):
        put(partition, [each], offset)
    assert len(partition.chunks) < 3 * MERGE_COUNT
    assert rows_in(partition.view()) == rows


def test_a_slow_stream_leaves_one_chunk_for_each_span() -> None:
    """Records that come at intervals, so few that no MERGE_COUNT of them come together, are still merged."""
    partition = Partition(KEY, merge_arrival_ns_max=30)
    for offset in range(601):
        put(partition, [row(DAY0_NS, "a", v=1.0)], offset, arrival_ns=10 * offset)
    assert len(partition.chunks) == 600 / 4 + 1
    assert {chunk.last_arrival_ns - chunk.first_arrival_ns for chunk in partition.chunks[:-1]} == {30}


def test_chunks_far_apart_or_large_stay_apart() -> None:
    """A stream that never pauses must settle, and large chunks are not copied for nothing."""
    apart = Partition(KEY, merge_arrival_ns_max=10)
    for offset in range(2 * MERGE_COUNT):
        put(apart, [row(DAY0_NS, "a", v=1.0)], offset, arrival_ns=11 * offset)
    assert len(apart.chunks) == 2 * MERGE_COUNT
    large = Partition(KEY)
    rows = [row(DAY0_NS, "a", v=1.0)] * (MERGE_ROWS_MAX // MERGE_COUNT + 1)
    for offset in range(MERGE_COUNT):
        put(large, rows, offset)
    assert len(large.chunks) == MERGE_COUNT


def test_long_strings_are_never_merged_beyond_what_one_array_holds() -> None:
    """Arrow's strings end at 2 GiB an array: rows of long strings stay in chunks far below, and none is lost."""
    partition = Partition(KEY)
    rows = [row(DAY0_NS, "a", v="x" * 65_536)] * 3200
    record = batch(rows)  # of 200 MiB, which all the chunks share
    for offset in range(MERGE_COUNT):
        partition.add(series_rows(record), columns(rows), Origins.of_one(Offset(offset), 0))
    assert sum(chunk.batch.num_rows for chunk in partition.chunks) == MERGE_COUNT * len(rows) == partition.rows


def test_merged_chunks_have_at_most_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small records too are gathered into chunks of bounded bytes, which are few."""
    monkeypatch.setattr(waiting, "MERGE_BYTES_MAX", 100_000)
    partition = Partition(KEY)
    for offset in range(1000):
        put(partition, [row(DAY0_NS + offset, "a", v="x" * 1000)], offset)
    assert max(chunk.batch.nbytes for chunk in partition.chunks) <= 100_000
    assert len(partition.chunks) < 3 * MERGE_COUNT
    assert rows_in(partition.view()) == [row(DAY0_NS + offset, "a", v="x" * 1000) for offset in range(1000)]


def test_bytes_of_a_row_stay_flat() -> None:
    """The same rows cost about the same memory in 1-row and in 1000-row records."""
    rows = [row(DAY0_NS + n, f"host-{n % 50}", v=float(n)) for n in range(4000)]
    costs = []
    for size in (1, 100, 1000):
        partition = Partition(KEY)
        for offset, start in enumerate(range(0, len(rows), size)):
            put(partition, rows[start : start + size], offset)
        costs.append(partition.bytes)
    assert max(costs) < 2 * min(costs)


# Dictionaries


def test_an_earlier_view_reads_with_the_dictionaries_of_later() -> None:
    """Codes never change their meaning, so that a query needs no lock, from any thread."""
    partition = Partition(KEY)
    put(partition, [row(DAY0_NS, "a", v=1.0)], 0)
    early = partition.view()
    errors: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                assert rows_in(early) == [row(DAY0_NS, "a", v=1.0)]
        except BaseException as error:  # noqa: BLE001  reported below
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for offset in range(1, 300):
        put(partition, [row(DAY0_NS, f"host-{offset}", v=1.0), row(DAY0_NS, "a", v=2.0)], offset)
    done.set()
    thread.join()
    assert not errors
    assert len(partition.view().pieces[0].series.tags["host"]) == 300


def test_a_record_brings_only_the_values_its_rows_use() -> None:
    """Rows of many days share a record's dictionary; each day's partition learns only its own values."""
    tree = BufferTree()
    add(tree, 0, {"cpu": [row(DAY0_NS + day * DAY_NS, f"host-{day}", v=1.0) for day in range(50)]})
    assert {len(partition.view().pieces[0].series.tags["host"]) for partition in tree} == {1}


def test_a_large_dictionary_with_few_used_values_costs_little() -> None:
    """Values that no row has are not learned, however large the record's dictionary is against its rows."""
    for used in (1, 40, 1000):
        values = [f"host-{n}" for n in range(1000)]
        codes = pa.array([n % used for n in range(1000)] + [None], pa.int32())
        hosts = pa.DictionaryArray.from_arrays(codes, pa.array(values))
        series = PieceSeries()
        found = series.encode(series_rows(with_hosts(hosts)))
        assert sorted(series.tags["host"].array().to_pylist()) == sorted(values[:used])
        assert series.column("host", found).to_pylist() == hosts.to_pylist()


def with_hosts(hosts: pa.DictionaryArray) -> pa.RecordBatch:
    schema = arrow_schema({"host": ColumnType.TAG})
    return pa.RecordBatch.from_arrays([pa.array([DAY0_NS] * len(hosts), TIME_TYPE), hosts], schema=schema)


def of_source(hosts: list[str], numbers: list[int], source: object) -> SeriesRows:
    """Rows whose series have the only tag `host`. hosts: of each series."""
    batch = pa.RecordBatch.from_arrays([pa.array([DAY0_NS] * len(numbers), TIME_TYPE)], ["time"])
    codes = np.arange(1, 1 + len(hosts), dtype=np.int32)[:, None]
    return SeriesRows.of(batch, np.array(numbers, np.int32), Series(("host",), codes, [hosts], source))


def test_numbers_of_a_source_that_only_grows_are_remembered() -> None:
    """The same source again costs no look at its values, grown or as it was before; another has other numbers."""
    series, source = PieceSeries(), object()

    def encoded(hosts: list[str], numbers: list[int], source: object) -> list[str]:
        found: list[str] = series.column("host", series.encode(of_source(hosts, numbers, source))).to_pylist()
        return found

    assert encoded(["a", "b"], [1, 1], source) == ["b", "b"]
    assert len(series) == 1
    assert encoded(["a", "b", "c"], [2, 0, 1], source) == ["c", "a", "b"]
    held = series.held_bytes
    assert encoded(["a", "not looked at"], [0, 1], source) == ["a", "b"]
    assert encoded(["c", "a", "d"], [0, 1, 2], object()) == ["c", "a", "d"]
    assert (len(series), len(series.tags["host"])) == (4, 4)
    assert series.held_bytes > held


def test_one_row_does_not_cost_what_all_hosts_cost() -> None:
    """A row of each of many days: none remembers what all the numbers of a large source mean."""
    one, series = PieceSeries(), PieceSeries()
    one.encode(of_source(["host-7"], [0], object()))
    series.encode(of_source([f"host-{n}" for n in range(1000)], [7], object()))
    assert series.tags["host"].array().to_pylist() == ["host-7"]
    assert series.held_bytes <= one.held_bytes


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, max_size=40), st.data())
def test_a_series_has_one_number_however_it_comes(tags: list[dict[str, str]], data: st.DataObject) -> None:
    """With other keys beside it that are absent, before or after another tag was first seen, with or without source."""
    series, sources = PieceSeries(), {keys: SeriesTable(keys) for keys in [("a", "b", "c"), ("b",), ("c",), ()]}
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    for each in tags:
        known = [keys for keys in sources if each.keys() <= set(keys)]
        keys = data.draw(st.sampled_from([None, *known]))
        if keys is None:
            rows = series_rows(batch([Row(DAY0_NS, each)]))
        else:
            table = sources[keys]
            (at,) = table.numbers([tag_values([each.get(key) for key in keys])])
            rows = replace(of_source([], [0], None), numbers=np.array([at], np.int32), series=table.series)
        (number,) = series.encode(rows).tolist()
        assert numbers.setdefault(tuple(sorted(each.items())), number) == number
        for key, value in each.items():
            assert series.column(key, np.array([number], np.int32)).to_pylist() == [value]
    assert len(set(numbers.values())) == len(numbers) == len(series)


def test_tag_values_of_a_cut_are_freed_with_it() -> None:
    """A live partition whose values churn holds those of rows in memory, not of all that ever came."""
    partition = Partition(KEY)
    held = []
    for job in range(20):
        for offset in range(job * 10, job * 10 + 10):
            put(partition, [row(DAY0_NS, f"host-{offset:06}-{n}", v=1.0) for n in range(10)], offset)
        assert len(partition.view().pieces[-1].series.tags["host"]) == 100
        held.append(partition.bytes)
        waiting_bytes = partition.waiting_bytes
        partition.cut(job)
        assert partition.waiting_bytes == 0
        assert partition.drop(job) == waiting_bytes
        assert partition.bytes == 0
    assert max(held) < 1.01 * min(held)


def test_columns_of_a_lone_row_count_as_memory() -> None:
    """Partitions of one row are mostly objects: about 17 KB each with 20 columns, 5 KB with one, by resident size."""
    narrow, wide = Partition(KEY), Partition(KEY)
    put(narrow, [row(DAY0_NS, v=1.0)], 0)
    put(wide, [Row(DAY0_NS, {f"t{n}": "a" for n in range(10)}, {f"f{n}": 1.0 for n in range(10)})], 0)
    assert 2_500 < narrow.bytes < 5_000
    assert 11_000 < wide.bytes < 18_000


def test_long_and_many_tag_values_count_as_memory() -> None:
    """A series of its own for each row costs more than its numbers: the limits must see it."""
    few, many = Partition(KEY), Partition(KEY)
    put(few, [row(DAY0_NS, "é" * 50, v=1.0) for _ in range(1000)], 0)
    put(many, [row(DAY0_NS, f"{n:04}" + "é" * 48, v=1.0) for n in range(1000)], 0)
    per_value = (many.bytes - few.bytes) / 999
    assert per_value > 2 * 100  # its text, twice: for itself and in the Arrow dictionary


def test_null_tags_and_tags_that_come_later() -> None:
    """A tag that some rows, or all rows of a record, lack is null there."""
    partition = Partition(KEY)
    records = [
        [Row(DAY0_NS, {}, {"v": 1.0})],
        [Row(DAY0_NS, {"host": "a"}, {"v": 1.0}), Row(DAY0_NS, {}, {"v": 2.0})],
        [Row(DAY0_NS, {"az": "x"}, {"w": True})],
    ]
    for offset, rows in enumerate(records * MERGE_COUNT):
        put(partition, rows, offset)
    assert rows_in(partition.view()) == [each for rows in records * MERGE_COUNT for each in rows]


# Partitions and jobs


def test_cut_drop_and_view() -> None:
    """Rows cut for a job stay in view, older than what came since, until the job is dropped."""
    partition = Partition(KEY)
    put(partition, [row(DAY0_NS, "a", v=1.0)], 3)
    cut = partition.cut(1)
    put(partition, [row(DAY0_NS, "b", v=2.0)], 5)
    second = partition.cut(2)
    put(partition, [row(DAY0_NS, "c", v=3.0)], 7)
    assert rows_in(cut) == [row(DAY0_NS, "a", v=1.0)]
    assert rows_in(second) == [row(DAY0_NS, "b", v=2.0)]
    assert [each.tags["host"] for each in rows_in(partition.view())] == ["a", "b", "c"]
    assert partition.first_offset() == 3
    assert partition.first_offset(frozenset({1})) == 5
    assert partition.first_offset(frozenset({1, 2})) == 7
    freed = partition.drop(1)
    assert freed > 0
    assert [each.tags["host"] for each in rows_in(partition.view())] == ["b", "c"]
    assert (partition.rows, partition.first_offset(), partition.is_empty) == (2, 5, False)


def test_the_tree_s_totals_are_those_of_its_partitions() -> None:
    """Rows and bytes add up after additions, cuts and drops in any order; an emptied partition is gone."""
    rng = random.Random(3)
    tree, jobs = BufferTree(), {}
    for offset in range(200):
        table = rng.choice(["cpu", "mem"])
        add(tree, offset, {table: [row(DAY0_NS + rng.randrange(3) * DAY_NS, str(offset % 7), v=1.0)]})
        if rng.random() < 0.2:
            key = rng.choice([*tree.partitions])
            if tree.partitions[key].chunks:
                tree.partitions[key].cut(offset)
                jobs[offset] = key
        if jobs and rng.random() < 0.2:
            job = min(jobs)
            tree.drop(jobs.pop(job), job)
        assert tree.bytes == sum(partition.bytes for partition in tree)
        assert tree.rows == sum(partition.rows for partition in tree)
    for key in [*tree.partitions]:
        if tree.partitions[key].chunks:
            tree.partitions[key].cut(1000)
            jobs[1000, key] = key  # type: ignore[index]
    for job, key in jobs.items():
        tree.drop(key, job if isinstance(job, int) else job[0])
    assert (tree.bytes, tree.rows, [*tree]) == (0, 0, [])


# The tree


@pytest.mark.parametrize(
    ("time_ns", "day"),
    [
        (0, 0),
        (-1, -1),
        (-DAY_NS, -1),
        (-DAY_NS - 1, -2),
        (DAY_NS - 1, 0),
        (DAY_NS, 1),
        (-(2**63), -106752),
        (2**63 - 1, 106751),
    ],
)
def test_days_are_utc_days_before_1970_too(time_ns: int, day: int) -> None:
    """A day is [day * 24 h, next), int64's ends included."""
    tree = BufferTree()
    add(tree, 0, {"cpu": [row(time_ns, "a", v=1.0)]})
    assert [key.day for key in tree.partitions] == [day]
    assert PartitionKey.from_json(PartitionKey("n", "t", day).to_json()).day == day


def test_a_record_s_rows_go_to_their_days_in_order() -> None:
    """Split by day, each day's rows in the record's order."""
    tree = BufferTree()
    rows = [row(DAY0_NS + day * DAY_NS + n, "a", v=float(n)) for n, day in enumerate([1, 0, 1, -1, 0])]
    add(tree, 0, {"cpu": rows})
    found = {key.day - KEY.day: rows_in(partition.view()) for key, partition in tree.partitions.items()}
    assert found == {-1: [rows[3]], 0: [rows[1], rows[4]], 1: [rows[0], rows[2]]}


def test_durable_rows_are_left_out() -> None:
    """Exactly those that the frontier covers; a record that is covered whole leaves nothing."""
    tree = BufferTree()
    rows = [row(DAY0_NS + n, "a", v=1.0) for n in range(4)]
    frontier = Frontier([(5, DAY0_NS + 1), (2, TIME_END)])
    assert add(tree, 2, {"cpu": rows}, cpu=frontier) == 4
    assert not tree.partitions
    assert add(tree, 5, {"cpu": rows, "mem": rows}, cpu=frontier) == 2
    assert rows_in(tree.partitions[KEY].view()) == rows[2:]
    assert add(tree, 6, {"cpu": rows}, cpu=frontier) == 0
    assert tree.rows == 2 + 4 + 4


def test_chunks_hold_no_tag_of_their_own() -> None:
    """A number for each row alone: the values are held once, with the series of the piece."""
    partition = Partition(KEY)
    put(partition, [row(DAY0_NS, "a", v=1.0), row(DAY0_NS, "a", v=2.0)], 0)
    (chunk,) = partition.chunks
    assert chunk.batch.schema.names == ["time", "v"]
    assert (chunk.series.tolist(), chunk.series.dtype) == ([0, 0], np.int32)
