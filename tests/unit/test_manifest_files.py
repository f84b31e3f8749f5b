"""The live files and the state they belong to: a change costs what the record changes, with any number of files."""

import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from common.catalog.manifest import files as live_files
from common.catalog.manifest.change import AsOf, Change
from common.catalog.manifest.files import PARTS_SPARE, Files
from common.catalog.manifest.frontier import TIME_END, Frontier
from common.catalog.manifest.producers import Producers
from common.catalog.manifest.state import FRONTIERS_SPARE, ManifestState
from common.catalog.partition_key import PartitionKey
from common.values.ids import Epoch, Offset, SequencerId
from common.values.schema import ColumnType, TableId
from tests.support.manifests import a_file

TABLE = TableId("metrics", "cpu")


def with_files(count: int) -> Files:
    return Files().after([a_file(number, day=number % 50) for number in range(count)], [])


def bytes_allocated(act: Callable[[], Any]) -> int:
    """The most memory that `act` held at once beyond what there was, its result included."""
    act()
    tracemalloc.start()
    try:
        kept = act()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept is not None
    return peak


def state_of(size: int) -> ManifestState:
    """So many files, partitions with frontiers, tables with columns, and producers."""
    producers = Producers()
    for number in range(size):
        producers.add(number.to_bytes(16), 0, 0)
    change = Change(
        AsOf(producers=producers),
        files_added=tuple(a_file(number, day=number % 50) for number in range(size)),
        frontiers={PartitionKey("m", "t", day): Frontier([(day, TIME_END)]) for day in range(size)},
        sort_keys={TableId("m", f"t{number}"): ("a",) for number in range(size)},
        columns={TableId("m", f"t{number}"): {"a": ColumnType.TAG} for number in range(size)},
    )
    return ManifestState(SequencerId(0)).after(change, Epoch(1)).after(Change(AsOf(producers=producers)), Epoch(1))


def test_a_record_costs_what_it_changes() -> None:
    """A hundred times as many files, partitions, tables and producers: a record allocates less than twice as much."""

    def one_commit(state: ManifestState) -> ManifestState:
        producers = state.as_of.producers.copy()
        producers.add(b"p" * 16, 7, 1)
        producers.expire(1)
        change = Change(
            AsOf(Offset(1), 1, producers=producers),
            files_added=(a_file(10**9),),
            files_removed=("data/metrics/cpu/7.parquet",),
            frontiers={PartitionKey("m", "t", 1): Frontier([(10**9, TIME_END)])},
            sort_keys={TableId("m", "t1"): ("a",)},
            columns={TableId("m", "t1"): {"b": ColumnType.FLOAT}},
        )
        assert change.to_json(state.as_of.producers)
        return state.after(change, Epoch(1))

    few, many = state_of(200), state_of(20_000)
    assert bytes_allocated(lambda: one_commit(many)) < 2 * bytes_allocated(lambda: one_commit(few))


def test_a_state_is_a_value() -> None:
    """What comes after changes nothing that was read from it before."""
    before = with_files(10)
    after = before.after([a_file(99)], ["data/metrics/cpu/3.parquet"])
    assert len(before) == 10
    assert "data/metrics/cpu/3.parquet" in before
    assert [path for path in before if path not in after] == ["data/metrics/cpu/3.parquet"]
    assert [path for path in after if path not in before] == ["data/metrics/cpu/99.parquet"]


@pytest.mark.parametrize("seed", range(20))
def test_files_behave_like_a_dict_in_the_order_of_commits(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added, removed, added again, in any order: by path, in order, and by table and day."""
    monkeypatch.setattr(live_files, "PART_FILES", 3)
    rng, files, model = random.Random(seed), Files(), {}
    for _ in range(60):
        added = [
            a_file(rng.randrange(200), day=rng.randrange(3), table=rng.choice("ab")) for _ in range(rng.randrange(4))
        ]
        removed = rng.sample(sorted(model), min(len(model), rng.randrange(6)))
        files = files.after(added, [*removed, "data/none"])
        for path in removed:
            del model[path]
        for file in added:
            model.pop(file.path, None)
            model[file.path] = file
        assert list(files.items()) == list(model.items())
        assert len(files) == len(model)
        for table in (TableId("metrics", "a"), TableId("metrics", "b")):
            of_table = [file for file in model.values() if file.partition.table_id == table]
            assert (table in set(files.tables)) == bool(of_table)
            by_day = {day: [file for file in of_table if file.partition.day == day] for day in range(3)}
            assert files.of_table(table) == {day: found for day, found in by_day.items() if found}
        assert Files.of(files.parts, files.next_serial).of_table(table) == files.of_table(table)


def test_parts_follow_the_live_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that leaves another one in each part does not leave as many parts as there ever were."""
    monkeypatch.setattr(live_files, "PART_FILES", 10)
    files = with_files(1000)
    for number in range(1000):
        if number % 10:
            files = files.after([], [f"data/metrics/cpu/{number}.parquet"])
    assert len(files) == 100
    assert len(files.parts) <= 2 * 10 + PARTS_SPARE
    assert [file.rows for file in files.values()] == list(range(0, 1000, 10))


def test_a_part_that_did_not_change_is_the_same_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint writes only the others."""
    monkeypatch.setattr(live_files, "PART_FILES", 10)
    before = with_files(35)
    after = before.after([a_file(99)], ["data/metrics/cpu/3.parquet"])
    assert [number for number in before.parts if before.parts[number] is not after.parts[number]] == [0, 3]


def test_frontiers_that_say_nothing_more_are_removed_in_the_end() -> None:
    """Not at each record, which would walk through all of them, and never one that is still needed."""
    state = ManifestState(SequencerId(0))
    for number in range(1000):
        key = PartitionKey("m", "t", number)
        frontiers = {key: Frontier([(number, TIME_END)])}
        state = state.after(Change(AsOf(Offset(number - 2)), frontiers=frontiers), Epoch(1))
        assert len(state.frontiers) <= 2 * 3 + FRONTIERS_SPARE
        assert state.covers(key, Offset(number), 5)
    assert sorted(key.day for key in state.as_change().frontiers) == [997, 998, 999]
