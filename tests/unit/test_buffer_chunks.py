"""Chunks of a partition: small ones merged, whatever their sizes, columns and arrivals."""

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.entry.series_rows import series_rows
from common.values.ids import Offset
from ingester.buffer import waiting
from ingester.buffer.chunk import Chunk, merged
from ingester.buffer.origins import Origins
from ingester.buffer.partition import Partition
from ingester.buffer.waiting import MERGE_COUNT, MERGE_RATIO, MERGE_ROWS_MAX
from tests.support.buffer_rows import KEY, put, rows_in
from tests.support.records import DAY0_NS, Row, batch, columns, row


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
    assert sum(chunk.rows for chunk in partition.chunks) == MERGE_COUNT * len(rows) == partition.rows


def test_merged_chunks_have_at_most_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small records too are gathered into chunks of bounded bytes, which are few."""
    monkeypatch.setattr(waiting, "MERGE_BYTES_MAX", 100_000)
    partition = Partition(KEY)
    for offset in range(1000):
        put(partition, [row(DAY0_NS + offset, "a", v="x" * 1000)], offset)
    assert max(chunk.data_bytes for chunk in partition.chunks) <= 100_000
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


def test_chunks_hold_no_tag_of_their_own() -> None:
    """A number for each row alone: the values are held once, with the series of the piece."""
    partition = Partition(KEY)
    put(partition, [row(DAY0_NS, "a", v=1.0), row(DAY0_NS, "a", v=2.0)], 0)
    (chunk,) = partition.chunks
    assert [name for name, _ in chunk.cells.fields] == ["v"]
    assert (chunk.series.tolist(), chunk.series.dtype) == ([0, 0], np.int32)
