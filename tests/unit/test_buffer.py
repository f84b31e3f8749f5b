"""The buffer tree: rows of a table and a day together, cut for jobs, durable rows left out."""

import random

import pytest

from common.catalog.manifest.frontier import TIME_END, Frontier
from common.catalog.partition_key import PartitionKey
from common.values.schema import DAY_NS
from ingester.buffer.partition import Partition
from ingester.buffer.tree import BufferTree
from tests.support.buffer_rows import KEY, add, put, rows_in
from tests.support.records import DAY0_NS, row

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
