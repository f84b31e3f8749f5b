"""Persisting up to a time, and leaving what is later in memory: nothing lost, nothing twice, from any commit on.

In place of the lifecycle's policy one that splits wherever the test says, and then the lifecycle's own.
"""

import io
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalog.manifest.frontier import TIME_END
from common.values.ids import Offset
from common.values.schema import times_ns
from ingester.core.lifecycle import Due, Figures, Reason, Rules, plan
from ingester.core.persisting import CORNERS_MAX
from tests.support.ingester_rig import RULES, IngesterRig
from tests.support.records import DAY0_NS, row
from tests.unit.test_ingester_core import act, events


class Splitting:
    """What is due goes up to a time drawn from those in memory, one row at least; and more is due than need be."""

    def __init__(self, seed: int) -> None:
        self.rig: IngesterRig | None = None
        self.splits = 0
        self._random = random.Random(seed)

    def __call__(
        self, partitions: Iterable[Figures], now_ns: int, rules: Rules, memory_bytes: int, log_kept_from: Offset
    ) -> Sequence[Due]:
        known = list(partitions)
        due = {one.key: one for one in plan(known, now_ns, rules, memory_bytes, log_kept_from)}
        due |= {one.key: Due(one.key, Reason.ROWS) for one in known if self._random.random() < 0.3}
        return [self._split(one) for one in due.values()]

    def _split(self, due: Due) -> Due:
        assert self.rig is not None
        chunks = self.rig.core._tree.partitions[due.key].chunks
        until_ns = self._random.choice([TIME_END, *(chunk.time_ns_min for chunk in chunks)])
        self.splits += until_ns != TIME_END
        return Due(due.key, due.reason, until_ns)


def a_rig(seed: int, jobs_max: int) -> tuple[IngesterRig, Splitting]:
    policy = Splitting(seed)
    rig = IngesterRig(RULES, jobs_max=jobs_max, policy=policy)
    policy.rig = rig
    return rig, policy


@settings(max_examples=150)
@given(events, st.integers(0, 2**32), st.sampled_from([1, 4]))
def test_no_row_is_lost_and_none_comes_twice(drawn: list[tuple[str, object]], seed: int, jobs_max: int) -> None:
    """With any splits anywhere: at every step what is read is the log; and so it is after a crash at every commit."""
    rig, _ = a_rig(seed, jobs_max)
    number = rig.core.state.number
    for kind, value in drawn:
        act(rig, kind, value)
        assert rig.read() == rig.expected()
        if kind == "commit" and rig.core.state.number > number:
            rig.restart()
            rig.poll()
            number = rig.core.state.number
            assert rig.read() == rig.expected()
    rig.poll()
    rig.stop()
    for _ in range(30):
        rig.settle()
        rig.tick(1)
    assert rig.finished
    assert rig.ended_with is None
    state = rig.core.state
    assert rig.read() == rig.expected()
    assert state.replay_offset == rig.next_offset
    assert state.accounts.settled == sum(each.record.rows for each in rig.log)


def test_a_split_is_replayed_exactly() -> None:
    """Rows of one record on both sides: after a crash only those above the corner's time come from the log."""
    policy = Splitting(0)
    policy._split = lambda due: Due(due.key, due.reason, DAY0_NS + 1)  # type: ignore[method-assign]
    rig = IngesterRig(RULES, policy=policy)
    policy.rig = rig
    for n in range(3):
        rig.append({"cpu": [row(DAY0_NS + at, f"h{n}", v=float(n)) for at in range(4)]})
    rig.poll()
    rig.tick(301)
    rig.persist()
    rig.commit()
    (frontier,) = rig.core.state.frontiers.values()
    assert list(frontier) == [(2, DAY0_NS + 1)]
    assert (rig.core.rows_buffered, rig.core.state.replay_offset) == (6, 0)
    assert rig.read() == rig.expected()
    rig.restart()
    rig.poll()
    assert (rig.core.counters.rows_durable, rig.core.rows_buffered) == (6, 6)
    assert rig.read() == rig.expected()


def test_the_policy_of_the_test_does_split() -> None:
    """Else the property above would show nothing."""
    rig, policy = a_rig(1, 4)
    for n in range(50):
        rig.append({"cpu": [row(DAY0_NS + n % 7, f"h{n}", v=1.0)]})
        rig.poll()
        rig.tick(1)
        rig.settle()
    assert policy.splits > 5
    assert rig.read() == rig.expected()


arrivals = st.lists(st.tuples(st.integers(0, 400), st.integers(-900, 30)), min_size=1, max_size=60)
"""Seconds since the last record, and how far the row's time is from its arrival."""


@settings(max_examples=200)
@given(arrivals)
def test_files_of_a_partition_overlap_in_late_rows_only(drawn: list[tuple[int, int]]) -> None:
    """Each row that a file has at or below an earlier file's greatest time was counted as late when it came."""
    rig = IngesterRig(replace(RULES, persist_row_threshold=4))
    now_s = 0
    for number, (passed_s, ahead_s) in enumerate(drawn):
        now_s += passed_s
        rig.tick(passed_s)
        rig.settle()
        rig.append({"cpu": [row(DAY0_NS + (now_s + ahead_s) * 10**9, f"h{number}", v=1.0)]})
        rig.poll()
        rig.settle()
    rig.stop()
    rig.settle()
    assert rig.finished
    overlapping = 0
    files = list(rig.core.state.files.values())
    for number, file in enumerate(files):
        earlier = [one.time_ns_max for one in files[:number] if one.partition == file.partition]
        times = times_ns(pq.read_table(io.BytesIO(rig.store.get(file.path)), columns=["time"]))
        overlapping += int((times <= max(earlier, default=-(2**63))).sum())
    assert overlapping == rig.core.late_rows.rows
    assert rig.read() == rig.expected()


def test_in_order_rows_are_never_late() -> None:
    """A steady stream in order of time: file follows file, whatever makes them due."""
    rig = IngesterRig(replace(RULES, persist_row_threshold=30))
    for second in range(0, 4000, 10):
        rig.append({"cpu": [row(DAY0_NS + second * 10**9, f"h{second % 7}", v=1.0)]})
        rig.poll()
        rig.tick(10)
        rig.settle()
    files = list(rig.core.state.files.values())
    assert len(files) > 5
    assert rig.core.late_rows.rows == 0
    for earlier, later in pairwise(files):
        assert earlier.time_ns_max < later.time_ns_min
    assert rig.read() == rig.expected()


def test_a_frontier_has_few_corners() -> None:
    """Splits whose times fall while offsets rise leave a corner each; before they are too many, all of it goes."""
    times = iter(range(DAY0_NS + 10**9, 0, -1))
    lowest = lambda partitions, *_: [Due(one.key, Reason.ROWS, next(times)) for one in partitions if one.rows > 1]
    rig = IngesterRig(RULES, policy=lowest)
    rig.append({"cpu": [row(DAY0_NS + 10**10, "a", v=1.0)]})
    most = 0
    for number in range(60):
        rig.append({"cpu": [row(DAY0_NS + number, "a", v=1.0)]})
        rig.poll()
        rig.tick(1)
        rig.settle()
        most = max([most, *(len(frontier) for frontier in rig.core.state.frontiers.values())])
    assert most == CORNERS_MAX
    rig.restart()
    rig.poll()
    assert rig.read() == rig.expected()
