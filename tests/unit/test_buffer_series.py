"""The series of rows in memory: a number for each row, one dictionary for each tag, freed with their rows."""

import threading

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from common.entry import tag_values
from common.entry.series import Codes, Series, SeriesTable
from common.entry.series_rows import series_rows
from common.values.schema import DAY_NS, TIME_TYPE, ColumnType, arrow_schema
from ingester.buffer.partition import Partition
from ingester.buffer.series import PieceSeries
from ingester.buffer.tree import BufferTree
from ingester.buffer.waiting import MERGE_COUNT
from tests.support.buffer_rows import KEY, add, put, rows_in
from tests.support.records import DAY0_NS, Row, batch, row


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
        rows = series_rows(with_hosts(hosts))
        found = series.encode(rows.numbers, rows.series)
        assert sorted(series.tags["host"].array().to_pylist()) == sorted(values[:used])
        assert series.column("host", found).to_pylist() == hosts.to_pylist()


def with_hosts(hosts: pa.DictionaryArray) -> pa.RecordBatch:
    schema = arrow_schema({"host": ColumnType.TAG})
    return pa.RecordBatch.from_arrays([pa.array([DAY0_NS] * len(hosts), TIME_TYPE), hosts], schema=schema)


def of_hosts(hosts: list[str], source: object = None) -> Series:
    """Series whose only tag is `host`."""
    return Series(("host",), np.arange(1, 1 + len(hosts), dtype=np.int32)[:, None], [hosts], source)


def int32(*numbers: int) -> Codes:
    return np.array(numbers, np.int32)


def test_numbers_of_a_source_that_only_grows_are_remembered() -> None:
    """The same source again costs no look at its values, grown or as it was before; another has other numbers."""
    series, source = PieceSeries(), object()

    def encoded(hosts: list[str], numbers: list[int], source: object) -> list[str]:
        found: list[str] = series.column("host", series.encode(int32(*numbers), of_hosts(hosts, source))).to_pylist()
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
    one.encode(int32(0), of_hosts(["host-7"], object()))
    series.encode(int32(7), of_hosts([f"host-{n}" for n in range(1000)], object()))
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
            (number,) = series.encode(rows.numbers, rows.series).tolist()
        else:
            table = sources[keys]
            (at,) = table.numbers([tag_values([each.get(key) for key in keys])])
            (number,) = series.encode(int32(at), table.series).tolist()
        assert numbers.setdefault(tuple(sorted(each.items())), number) == number
        for key, value in each.items():
            assert series.column(key, int32(number)).to_pylist() == [value]
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
    """Partitions of one row are mostly objects: about 17 KB each with 20 columns, 4 KB with one, by resident size."""
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
