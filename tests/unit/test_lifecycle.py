"""When to persist: each rule by table, their order, and what holds for any plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.catalog.manifest.frontier import TIME_END
from common.catalog.partition_key import PartitionKey
from common.entry.series_rows import series_rows
from common.values.config import IngesterConfig
from common.values.ids import Offset
from ingester.buffer.origins import Origins
from ingester.buffer.partition import Partition
from ingester.core.clock import SKEW_NS
from ingester.core.lifecycle import Figures, Reason, Rules, figures, plan
from tests.support.records import batch, columns, row

RULES = Rules(
    late_arrival_window_ns=300,
    persist_row_threshold=1000,
    persist_age_threshold_ns=1800,
    soft_memory_bytes=10_000,
    hard_memory_bytes=20_000,
    log_bytes_max=50_000,
    log_records_max=500,
    stop_timeout_ns=0,
    stop_deadline_ns=120 * 10**9,
)
NOW = 10_000


def a_partition(number: int = 0, **given: int) -> Figures:
    """One with nothing due: 10 rows, the first 1000 ns old, the last 100."""
    values = {
        "rows": 10,
        "settled_rows": 0,
        "bytes": 100,
        "first_arrival_ns": NOW - 1000,
        "last_arrival_ns": NOW - 100,
        "first_offset": number,
    }
    return Figures(key=PartitionKey("metrics", "cpu", number), **{**values, **given})


def reasons(partitions: list[Figures], memory_bytes: int = 0, log_kept_from: int = 0) -> list[tuple[int, Reason]]:
    due = plan(partitions, NOW, RULES, memory_bytes, Offset(log_kept_from))
    assert all(one.until_ns == TIME_END for one in due)
    return [(one.key.day, one.reason) for one in due]


@pytest.mark.parametrize(
    ("given_figures", "reason"),
    [
        ({}, None),
        ({"settled_rows": 999}, None),
        ({"settled_rows": 1000}, Reason.ROWS),
        ({"rows": 5000, "settled_rows": 999}, None),
        ({"first_arrival_ns": NOW - 1799}, None),
        ({"first_arrival_ns": NOW - 1800}, Reason.AGE),
        ({"last_arrival_ns": NOW - 299}, None),
        ({"last_arrival_ns": NOW - 300}, Reason.COLD),
        ({"settled_rows": 1000, "first_arrival_ns": 0, "last_arrival_ns": 0}, Reason.ROWS),
        ({"first_arrival_ns": 0, "last_arrival_ns": 0}, Reason.AGE),
        ({"first_arrival_ns": NOW + 5, "last_arrival_ns": NOW + 5}, None),
    ],
)
def test_rows_age_and_cold(given_figures: dict[str, int], reason: Reason | None) -> None:
    """Each threshold is met exactly at its value; rows that late ones may still join do not count."""
    assert reasons([a_partition(**given_figures)]) == ([] if reason is None else [(0, reason)])


@pytest.mark.parametrize(
    ("given_figures", "until_ns"),
    [
        ({"settled_rows": 1000, "settled_until_ns": 77}, 77),
        ({"first_arrival_ns": 0, "settled_until_ns": 77}, 77),
        ({"first_arrival_ns": 0, "settled_until_ns": None}, TIME_END),
        ({"last_arrival_ns": 0, "settled_until_ns": 77}, TIME_END),
        ({"settled_rows": 1000, "settled_until_ns": -(2**63)}, -(2**63)),
        ({"settled_rows": 1000, "settled_until_ns": NOW + SKEW_NS}, NOW + SKEW_NS),
        ({"settled_rows": 1000, "settled_until_ns": NOW + SKEW_NS + 1}, NOW + SKEW_NS),
        ({"settled_rows": 1000, "settled_until_ns": 2**63 - 1}, NOW + SKEW_NS),
    ],
)
def test_up_to_which_time(given_figures: dict[str, int], until_ns: int) -> None:
    """What is settled while others still come; everything once it is cold. Never further ahead than clocks differ."""
    (due,) = plan([a_partition(**given_figures)], NOW, RULES, 0, Offset(0))
    assert due.until_ns == until_ns


def test_what_a_split_would_leave_goes_too_where_it_holds_log_or_memory() -> None:
    """Else a row that no split takes would hold the log back, or the memory, for ever."""
    splits = {"settled_rows": 1000, "rows": 4000, "settled_until_ns": 77}
    log = a_partition(0, first_offset=3, **splits)
    assert plan([log], NOW, RULES, 0, Offset(3)) == [(log.key, Reason.ROWS, 77)]
    assert plan([log], NOW, RULES, 0, Offset(4)) == [(log.key, Reason.LOG, TIME_END)]
    large = a_partition(0, bytes=8000, **splits)
    assert plan([large], NOW, RULES, 12_000, Offset(0)) == [(large.key, Reason.ROWS, 77)]
    assert plan([large], NOW, RULES, 12_001, Offset(0)) == [(large.key, Reason.MEMORY, TIME_END)]


def test_over_the_soft_limit_the_largest_go_until_it_is_kept() -> None:
    """The one that frees most first, and not one more than needed."""
    partitions = [a_partition(0, bytes=3000), a_partition(1, bytes=5000), a_partition(2, bytes=4000)]
    assert reasons(partitions, memory_bytes=12_000) == [(1, Reason.MEMORY)]
    assert reasons(partitions, memory_bytes=15_001) == [(1, Reason.MEMORY), (2, Reason.MEMORY)]
    assert reasons(partitions, memory_bytes=10_000) == []


def test_what_is_due_anyway_counts_as_freed() -> None:
    """Memory pressure persists nothing more where the partitions that are due free enough."""
    partitions = [a_partition(0, bytes=6000, settled_rows=1000), a_partition(1, bytes=5000)]
    assert reasons(partitions, memory_bytes=11_000) == [(0, Reason.ROWS)]


def test_log_pressure_takes_the_partitions_that_hold_the_replay_offset_back() -> None:
    """However small and warm: those with rows below where the log would be short enough, the least offset first."""
    partitions = [a_partition(0, first_offset=Offset(7), bytes=9000), a_partition(1, first_offset=Offset(3), bytes=1)]
    assert reasons(partitions, log_kept_from=3) == []
    assert reasons(partitions, log_kept_from=4) == [(1, Reason.LOG)]
    assert reasons(partitions, log_kept_from=8) == [(1, Reason.LOG), (0, Reason.LOG)]
    assert reasons([], log_kept_from=8) == []


def test_the_most_pressing_comes_first() -> None:
    """With fewer permits than partitions memory goes before log, rows, age and cold."""
    partitions = [
        a_partition(0, last_arrival_ns=0),
        a_partition(1, first_arrival_ns=0),
        a_partition(2, settled_rows=1000),
        a_partition(3, first_offset=Offset(3)),
        a_partition(4, bytes=30_000),
    ]
    found = reasons(partitions, memory_bytes=31_000, log_kept_from=4)
    assert found == [(4, Reason.MEMORY), (3, Reason.LOG), (2, Reason.ROWS), (1, Reason.AGE), (0, Reason.COLD)]


numbers = st.integers(0, 20_000)
any_figures = st.builds(
    a_partition,
    rows=numbers,
    settled_rows=st.integers(0, 2000),
    bytes=numbers,
    first_arrival_ns=st.integers(0, NOW),
    last_arrival_ns=st.integers(0, NOW + 50),
    first_offset=numbers,
)


@given(st.lists(any_figures, max_size=12), numbers, st.integers(0, 100_000))
def test_a_plan_names_each_partition_once_and_frees_what_it_can(
    drawn: list[Figures], extra_bytes: int, log_kept_from: int
) -> None:
    """Unique keys; what stays is at most the soft limit, or nothing stays; what is due by its own figures is in it."""
    partitions = [a_partition(n, **figures_of(each)) for n, each in enumerate(drawn)]
    memory_bytes = sum(each.bytes for each in partitions) + extra_bytes
    due = plan(partitions, NOW, RULES, memory_bytes, Offset(log_kept_from))
    keys = [one.key for one in due]
    assert len(keys) == len(set(keys))
    freed = sum(each.bytes for each in partitions if each.key in keys)
    assert memory_bytes - freed <= RULES.soft_memory_bytes or len(keys) == len(partitions)
    assert {each.key for each in partitions if each.settled_rows >= RULES.persist_row_threshold} <= set(keys)


def figures_of(each: Figures) -> dict[str, int]:
    return {name: getattr(each, name) for name in Figures.__slots__ if name != "key"}


def a_buffered_partition() -> Partition:
    """Three chunks too far apart to merge: 1 row at 0, 2 at 100, 1 at 200."""
    partition = Partition(PartitionKey("metrics", "cpu", 0), merge_arrival_ns_max=0)
    for arrival_ns, count in ((0, 1), (100, 2), (200, 1)):
        rows = [row(n, "a", v=1.0) for n in range(count)]
        partition.add(series_rows(batch(rows)), columns(rows), Origins.of_one(Offset(arrival_ns), arrival_ns))
    return partition


def a_partition_of(*chunks: tuple[int, int]) -> Partition:
    """Of one row for each (arrival, time), too far apart to merge."""
    partition = Partition(PartitionKey("metrics", "cpu", 0), merge_arrival_ns_max=0)
    for number, (arrival_ns, time_ns) in enumerate(chunks):
        rows = [row(time_ns, "a", v=1.0)]
        partition.add(series_rows(batch(rows)), columns(rows), Origins.of_one(Offset(number), arrival_ns))
    return partition


def test_rows_far_in_the_future_wait_and_count_for_nothing_else() -> None:
    """They are neither settled nor old; they keep their partition warm, and the log."""
    far = SKEW_NS + 1_000 + 1
    found = figures(a_partition_of((0, far), (500, 40), (600, 30)), 1_000, 300)
    assert found is not None
    assert (found.rows, found.settled_rows, found.settled_until_ns) == (3, 2, 40)
    assert (found.first_arrival_ns, found.last_arrival_ns, found.first_offset) == (500, 600, 0)
    alone = figures(a_partition_of((0, far)), 1_000, 300)
    assert alone is not None
    assert (alone.settled_rows, alone.settled_until_ns, alone.first_arrival_ns) == (0, None, 1_000)
    assert figures(a_partition_of((0, far - 1)), 1_000, 300) != alone


@pytest.mark.parametrize(("now_ns", "settled"), [(299, 0), (300, 1), (399, 1), (400, 3), (500, 4)])
def test_a_chunk_is_settled_once_its_last_row_waited_the_window(now_ns: int, settled: int) -> None:
    """Counted chunk by chunk, from the last arrival of each."""
    found = figures(a_buffered_partition(), now_ns, 300)
    assert found is not None
    assert (found.rows, found.settled_rows) == (4, settled)
    assert (found.first_arrival_ns, found.last_arrival_ns, found.first_offset) == (0, 200, 0)


def test_figures_of_what_a_split_left_are_true_minima() -> None:
    """Chunks that were split by time are not in the order of their offsets any more."""
    partition = Partition(PartitionKey("metrics", "cpu", 0), merge_arrival_ns_max=0)
    for offset, times in ((3, (1, 9)), (5, (2, 8)), (7, (3, 4))):
        rows = [row(ns, "a", v=1.0) for ns in times]
        partition.add(series_rows(batch(rows)), columns(rows), Origins.of_one(Offset(offset), offset * 10))
    partition.cut(1, until_ns=4)
    found = figures(partition, 0, 300)
    assert found is not None
    assert (found.rows, found.first_offset, found.first_arrival_ns, found.last_arrival_ns) == (2, 3, 30, 50)


def test_figures_count_all_bytes_that_a_persist_would_free() -> None:
    """Dictionaries included: were they left out, memory over the limit for their sake would never be freed."""
    partition = a_buffered_partition()
    found = figures(partition, 0, 300)
    assert found is not None
    assert found.bytes == partition.bytes
    held = partition.bytes
    partition.cut(1)
    assert figures(partition, 0, 300) is None
    rows = [row(9, "b", v=1.0)]
    partition.add(series_rows(batch(rows)), columns(rows), Origins.of_one(Offset(500), 500))
    later = figures(partition, 0, 300)
    assert later is not None
    assert later.bytes == partition.bytes - held


def test_the_rules_are_those_of_the_settings() -> None:
    """Seconds become nanoseconds, everything else stays as it is."""
    settings = IngesterConfig(
        late_arrival_window_s=0.5, persist_age_threshold_s=2, log_bytes_max=9_000, log_records_max=9
    )
    rules = Rules.of(settings)
    assert rules.late_arrival_window_ns == 500_000_000
    assert rules.persist_age_threshold_ns == 2_000_000_000
    assert (rules.persist_row_threshold, rules.log_bytes_max, rules.log_records_max) == (1_000_000, 9_000, 9)
    assert (rules.soft_memory_bytes, rules.hard_memory_bytes) == (512 * 2**20, 1024 * 2**20)
