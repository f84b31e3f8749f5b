"""Late rows: which count, and in which bucket of lateness."""

import numpy as np
import pytest

from common.catalog.partition_key import PartitionKey
from ingester.buffer import late_rows as module
from ingester.buffer.late_rows import BOUNDS_NS, LateRows

KEY, OTHER = PartitionKey("m", "cpu", 0), PartitionKey("m", "cpu", 1)
LEAST, GREATEST = -(2**63), 2**63 - 1


def arrived(late: LateRows, *times_ns: int, key: PartitionKey = KEY) -> list[int]:
    late.arrived(key, np.array(times_ns, np.int64))
    return late.counts


def test_a_row_at_the_greatest_time_is_late_and_one_above_is_not() -> None:
    late = LateRows({KEY: 100}.get)
    assert arrived(late, 101, 100, 99) == [2, *[0] * len(BOUNDS_NS)]
    assert (late.rows, late.sum_ns) == (2, 1)


def test_each_bound_is_in_its_bucket() -> None:
    for number, bound in enumerate(BOUNDS_NS):
        late = LateRows({KEY: 0}.get)
        counts = arrived(late, -bound, -bound - 1)
        assert (counts[number], counts[number + 1], sum(counts)) == (1, 1, 2)


def test_the_ends_of_time_do_not_overflow() -> None:
    late = LateRows({KEY: GREATEST}.get)
    assert arrived(late, LEAST, GREATEST) == [1, *[0] * (len(BOUNDS_NS) - 1), 1]
    assert late.sum_ns == 2**64 - 1


def test_a_cut_counts_before_its_commit_and_never_lowers_what_was() -> None:
    late = LateRows()
    assert sum(arrived(late, 5)) == 0
    late.cut(KEY, 5)
    late.cut(KEY, 3)
    assert sum(arrived(late, 5, 6)) == 1
    assert sum(arrived(late, 5, key=OTHER)) == 1


def test_what_is_forgotten_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PARTITIONS_MAX", 1)
    late = LateRows({KEY: 7, OTHER: 7}.get)
    for key in (KEY, OTHER, KEY):
        arrived(late, 7, key=key)
    assert late.rows == 3
