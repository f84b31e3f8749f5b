"""A persist job: rows become Parquet files whose names, content and metadata follow from the job alone."""

import io
import itertools
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from common.catalog.manifest.frontier import TIME_END
from common.catalog.partition_key import PartitionKey
from common.entry.series_rows import series_rows
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import Epoch, Offset, SequencerId
from common.values.schema import DAY_NS
from ingester.buffer.origins import Origins
from ingester.buffer.partition import Partition
from ingester.persist.job import PersistJob, PersistResult, persist
from tests.support.dict_store import DictStore
from tests.support.records import DAY0_NS, Row, batch, columns, row, rows_of


def a_job(*records: list[Row], table: str = "cpu", **given: object) -> PersistJob:
    """Job 7 of epoch 2 on sequencer 3; records at offsets 11, 12, …, all of one day."""
    day = records[0][0].time_ns // DAY_NS
    partition = Partition(PartitionKey("metrics", table, day))
    for offset, rows in enumerate(records, start=11):
        partition.add(series_rows(batch(rows)), columns(rows), Origins.of_one(Offset(offset), 0))
    tags = sorted({tag for rows in records for each in rows for tag in each.tags})
    job = PersistJob(
        number=7,
        sequencer=SequencerId(3),
        epoch=Epoch(2),
        view=partition.cut(7),
        last_offset=Offset(99),
        until_ns=TIME_END,
        sort_key=tuple(tags),
        file_bytes_max=10**9,
    )
    return replace(job, **given)  # type: ignore[arg-type]


def read(store: DictStore, path: str) -> pa.Table:
    return pq.read_table(io.BytesIO(store.objects[path]))


FOLDER = "data/metrics/cpu/utc_day=2023-11-15"
NAME = f"{FOLDER}/003-00000002-{11:020}-{99:020}-00000007-000.parquet"
ROWS = [row(DAY0_NS + 2, "b", v=1.0), row(DAY0_NS + 1, "b", v=2.0), row(DAY0_NS + 9, "a", v=3.0), row(DAY0_NS, v=4.0)]


def test_rows_are_sorted_and_the_newest_wins() -> None:
    """By the sort key's tags, absent first, then time; of equal keys the newer, counted as overwritten."""
    store = DictStore()
    result = persist(a_job(ROWS, [row(DAY0_NS + 1, "b", v=9.0)]), store)
    expected = [row(DAY0_NS, v=4.0), row(DAY0_NS + 9, "a", v=3.0), row(DAY0_NS + 1, "b", v=9.0), ROWS[0]]
    assert rows_of(read(store, NAME)) == expected
    assert result.overwritten == 1


def test_the_file_s_name_and_record_follow_from_the_job() -> None:
    """Path, partition, rows, bytes, time range, offset range, checksum and sort key are the file's own."""
    store = DictStore()
    (file,) = persist(a_job(ROWS), store).files
    data = store.objects[NAME]
    assert file.path == NAME
    assert file.partition == PartitionKey("metrics", "cpu", DAY0_NS // DAY_NS)
    assert (file.rows, file.size_bytes, file.checksum) == (4, len(data), xxhash.xxh3_64_intdigest(data))
    assert (file.time_ns_min, file.time_ns_max) == (DAY0_NS, DAY0_NS + 9)
    assert (file.first_offset, file.last_offset, file.sort_key) == (11, 99, ("host",))


def test_names_from_clients_stay_in_their_folder() -> None:
    """A table called ../../etc is one folder below its namespace."""
    store = DictStore()
    (file,) = persist(a_job(ROWS, table="../../etc"), store).files
    assert file.path.split("/")[:3] == ["data", "metrics", "!2e.!2f..!2fetc"]
    assert len(file.path.split("/")) == 5


def test_the_file_explains_itself() -> None:
    """Metadata names namespace, table, sequencer, offsets, sort key and writer; with any characters in a tag's name."""
    store = DictStore()
    rows = [Row(DAY0_NS, {"a,b": "x", 'c"d': "y"}, {"v": 1.0})]
    persist(a_job(rows), store)
    metadata = {k.decode(): v.decode() for k, v in pq.read_schema(io.BytesIO(store.objects[NAME])).metadata.items()}
    assert metadata["penstock.namespace"] == "metrics"
    assert metadata["penstock.table"] == "cpu"
    assert metadata["penstock.sequencer"] == "3"
    assert metadata["penstock.offsets"] == "11-99"
    assert json.loads(metadata["penstock.sort_key"]) == ["a,b", 'c"d', "time"]
    assert metadata["penstock.writer"].startswith("penstock ")


def test_the_file_is_compressed_with_statistics_and_checksums() -> None:
    """zstd, dictionary-encoded tags, delta-encoded time, least and greatest time known without reading."""
    store = DictStore()
    persist(a_job([row(DAY0_NS + n, f"h{n % 3}", v=float(n)) for n in range(100)]), store)
    group = pq.ParquetFile(io.BytesIO(store.objects[NAME])).metadata.row_group(0)
    found = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert {column.compression for column in found.values()} == {"ZSTD"}
    assert "RLE_DICTIONARY" in found["host"].encodings
    assert "DELTA_BINARY_PACKED" in found["time"].encodings
    assert found["time"].statistics.has_min_max
    assert found["time"].statistics.min_raw == DAY0_NS
    pq.ParquetFile(io.BytesIO(store.objects[NAME]), page_checksum_verification=True).read()


def test_a_flipped_byte_of_a_page_is_noticed_by_readers() -> None:
    """Pages carry checksums for readers that look at them."""
    store = DictStore()
    persist(a_job([row(DAY0_NS + n, f"h{n % 3}", v=float(n)) for n in range(1000)]), store)
    data = bytearray(store.objects[NAME])
    data[200] ^= 1
    with pytest.raises((OSError, pa.ArrowInvalid)):
        pq.ParquetFile(io.BytesIO(bytes(data)), page_checksum_verification=True).read()


def test_time_s_ends_survive() -> None:
    """int64's least and greatest time, and every field type at its ends."""
    for rows in (
        [row(-(2**63), "a", i=-(2**63), f=float("-inf"), s="", b=False), row(-(2**63) + 7, "a", i=2**63 - 1)],
        [row(2**63 - 1, "a", s="日本\0\n"), row(2**63 - 9, "a", b=True)],
    ):
        store = DictStore()
        (file,) = persist(a_job(rows), store).files
        assert rows_of(read(store, file.path)) == sorted(rows, key=lambda each: each.time_ns)


def test_the_same_job_writes_the_same_bytes() -> None:
    """However its rows came in: the file depends on them alone."""
    one, other = DictStore(), DictStore()
    persist(a_job(ROWS, ROWS), one)
    persist(a_job(ROWS[2:], ROWS[:2], ROWS), other)
    assert one.objects == other.objects


def test_files_roll_at_about_their_size() -> None:
    """Parts in order of the sort, all named, together the rows; each about file_bytes_max of memory."""
    rows = [row(DAY0_NS + n, f"h{n % 10}", v=float(n)) for n in range(10_000)]
    whole, store = DictStore(), DictStore()
    (all_rows,) = persist(a_job(rows), whole).files
    result = persist(a_job(rows, file_bytes_max=50_000), store)
    assert [file.path[-11:] for file in result.files] == [f"{n:03}.parquet" for n in range(len(result.files))]
    assert 3 <= len(result.files) <= 6
    assert sum(file.rows for file in result.files) == all_rows.rows
    parts = [rows_of(read(store, file.path)) for file in result.files]
    assert [*itertools.chain(*parts)] == rows_of(read(whole, NAME))
    for file, part in zip(result.files, parts, strict=True):
        times = [each.time_ns for each in part]
        assert (file.time_ns_min, file.time_ns_max) == (min(times), max(times))


def test_a_row_larger_than_a_file_is_a_file() -> None:
    """Rolling never makes an empty file nor loses a row."""
    store = DictStore()
    result = persist(a_job([row(DAY0_NS + n, "a", s="x" * 500) for n in range(3)], file_bytes_max=10), store)
    assert [file.rows for file in result.files] == [1, 1, 1]


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_put_whose_answer_was_lost_is_tried_again(how: str) -> None:
    """The same job finds its own file, or puts it now; either way there is one, and the result is the same."""
    store, calm = DictStore(), DictStore()
    store.fail("data/", how)
    with pytest.raises(Unavailable):
        persist(a_job(ROWS), store)
    result: PersistResult = persist(a_job(ROWS), store)
    assert result == persist(a_job(ROWS), calm)
    assert store.objects == calm.objects


def test_other_content_under_the_job_s_name_is_corrupt() -> None:
    """No one else uses the name: what is there was not written by this job, and is not replaced."""
    store = DictStore()
    store.put(NAME, b"other")
    with pytest.raises(DataCorrupt, match=NAME):
        persist(a_job(ROWS), store)
    assert store.objects[NAME] == b"other"
