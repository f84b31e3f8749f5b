"""Replay against the store: what is lost is brought back, what is there stays, and nothing is counted wrong."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalog.manifest import manifest
from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.state import ManifestState
from common.catalog.manifest.swap import Swap
from common.store.objects import run
from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from ingester.core.events import SwapAsked
from penstock.replay.gathering import Selection
from penstock.replay.holder import Refused
from penstock.replay.reading import Range
from penstock.replay.repair import Mode
from penstock.replay.replay import Replay, Report
from tests.support.ingester_rig import IngesterRig, a_rig
from tests.support.records import DAY0_NS, Row, row
from tests.unit.test_replay_dry_run import buffer_of

SEQUENCER = SequencerId(3)
MIB = 2**20
EVERYTHING = Selection()


class RigHolder:
    """The rig's ingester, as a running one is asked over HTTP. meanwhile: done once, before the first swap is asked."""

    def __init__(self, rig: IngesterRig, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._rig = rig
        self._meanwhile: Iterable[Callable[[], None]] = iter([meanwhile])
        self.state: ManifestState = rig.core.state

    def commit(self, swap: Swap) -> None:
        for act in self._meanwhile:
            act()
        self._rig.step(SwapAsked(swap))
        self._rig.settle()
        answer = self._rig.answers.pop()
        self.state = self._rig.core.state
        if answer.number is None:
            raise Refused(answer.refusal)


def replayed(
    rig: IngesterRig,
    folder: Path,
    mode: Mode = Mode.ADD,
    first: int = 0,
    end: int | None = None,
    selection: Selection = EVERYTHING,
    holder: RigHolder | None = None,
    rows_max: int = 250_000,
) -> Report:
    """end: the end of the rig's log where it is not given."""
    state = run(manifest.load(SEQUENCER), rig.store)
    reader = buffer_of(rig).open_reader()
    asked = Range(SEQUENCER, Offset(first), Offset(rig.next_offset if end is None else end))
    runs = sum(1 for _ in folder.iterdir())
    one = Replay(reader, rig.store, state, asked, selection, mode, folder / str(runs), 256 * MIB, rows_max)
    keys = one.gather(lambda passed: None)
    if mode is Mode.COMPARE:
        one.compare(keys, lambda done: None)
    else:
        one.mend(keys, holder or RigHolder(rig), lambda done: None)
    return one.report


def persisted(*records: dict[str, list[Row]], rig: IngesterRig | None = None) -> IngesterRig:
    """Each record in a file of its own."""
    rig = rig or a_rig()
    for record in records:
        rig.append(record)
        rig.poll()
        rig.go_cold()
    return rig


def cpu(second: int, host: str = "a", **fields: Any) -> dict[str, list[Row]]:
    return {"cpu": [row(DAY0_NS + second * 10**9, host, **(fields or {"v": 1.0}))]}


def files(rig: IngesterRig) -> list[StoredFile]:
    return list(rig.core.state.files.values())


def lose(rig: IngesterRig, file: StoredFile) -> None:
    del rig.store.objects[file.path]


def alter(rig: IngesterRig, file: StoredFile) -> None:
    """As somebody does by hand: a good Parquet file with other values, and another number of bytes."""
    table = pq.read_table(io.BytesIO(rig.store.get(file.path)))
    at = table.schema.get_field_index("v")
    sink = io.BytesIO()
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array([99.0] * len(table))), sink)
    rig.store.objects[file.path] = sink.getvalue()


def test_an_untouched_store_has_no_difference(tmp_path: Path) -> None:
    rig = persisted(cpu(0), cpu(0, v=2.0), cpu(1, w=3), cpu(86400))
    before = dict(rig.store.objects)
    report = replayed(rig, tmp_path, Mode.COMPARE)
    assert report.is_as_written
    assert (report.rows, report.rows_persisted, report.partitions, report.partitions_different) == (4, 4, 2, 0)
    assert (report.rows_missing, report.rows_extra, report.rows_different) == (0, 0, 0)
    assert rig.store.objects == before


def test_a_deleted_file_is_named_and_its_rows_are_brought_back(tmp_path: Path) -> None:
    """Also by a second run nothing is stored twice."""
    rig = persisted(cpu(0), cpu(1), cpu(86400))
    expected, lost = rig.expected(), files(rig)[1]
    lose(rig, lost)
    report = replayed(rig, tmp_path, Mode.COMPARE)
    assert not report.is_as_written
    assert list(report.files_damaged) == [lost.path]
    assert (report.rows_missing, report.partitions_different) == (1, 1)
    assert report.samples == ["metrics/cpu/2023-11-15: missing: time=2023-11-15T00:00:01.000000000Z, host=a, v=1.0"]
    report = replayed(rig, tmp_path)
    assert (report.is_as_written, report.rows_written, report.files_written, report.files_removed) == (True, 1, 1, 1)
    assert lost.path not in rig.core.state.files
    assert rig.read() == expected
    assert replayed(rig, tmp_path).partitions_different == 0
    rig.restart()
    rig.poll()
    assert rig.read() == expected


def test_an_altered_file_is_replaced(tmp_path: Path) -> None:
    """Whatever its values are now: it is not what was written."""
    rig = persisted(cpu(0), cpu(1))
    alter(rig, files(rig)[0])
    assert list(replayed(rig, tmp_path, Mode.COMPARE).files_damaged) == [files(rig)[0].path]
    assert replayed(rig, tmp_path).is_as_written
    assert rig.read() == rig.expected()


def test_a_newer_value_in_another_file_stays(tmp_path: Path) -> None:
    """The lost file had an older value of the same key, and a field of it that nothing else has."""
    rig = persisted(cpu(0, v=1.0, w=1), cpu(0, v=2.0))
    lose(rig, files(rig)[0])
    report = replayed(rig, tmp_path)
    assert report.rows_written == 1
    assert rig.read() == rig.expected()


def test_a_newer_value_that_only_the_lost_file_had_comes_back(tmp_path: Path) -> None:
    """The file that is left has an older value of the same key: it must not win. Also where the range begins after
    that file: what is in the range is newer than all before it."""
    for first in (0, 1):
        rig = persisted(cpu(0, v=1.0, w=1), cpu(0, v=2.0))
        lose(rig, files(rig)[1])
        (tmp_path / str(first)).mkdir()
        report = replayed(rig, tmp_path / str(first), first=first)
        assert (report.is_as_written, report.rows_different, report.rows_written) == (True, 1, 1)
        assert rig.read() == rig.expected()


def test_a_range_that_ends_before_a_file_of_the_partition_mends_nothing(tmp_path: Path) -> None:
    """Which values are newer, those of the range or those of that file, cannot be told."""
    rig = persisted(cpu(0, v=1.0), cpu(1), cpu(0, v=2.0))
    _, lost, newest = files(rig)
    lose(rig, lost)
    report = replayed(rig, tmp_path, end=2)
    assert (report.is_as_written, report.files_beyond, report.files_written) == (False, [newest.path], 0)


def test_rows_that_are_only_in_memory_are_left_to_the_ingester(tmp_path: Path) -> None:
    rig = persisted(cpu(0))
    rig.append(cpu(1))
    rig.poll()
    lose(rig, files(rig)[0])
    report = replayed(rig, tmp_path)
    assert (report.rows_persisted, report.rows_unpersisted, report.rows_written) == (1, 1, 1)
    rig.go_cold()
    assert rig.read() == rig.expected()


def test_a_range_that_lacks_some_of_a_lost_file_mends_nothing(tmp_path: Path) -> None:
    """It would bring back a part, and nobody would know of the rest; the file is named, and what to do."""
    rig = a_rig()
    for second in range(3):
        rig.append(cpu(second))
    rig.poll()
    rig.go_cold()
    (file,) = files(rig)
    lose(rig, file)
    for mode in (Mode.ADD, Mode.REWRITE):
        report = replayed(rig, tmp_path, mode, first=1)
        assert (report.is_as_written, report.files_beyond, report.files_written) == (False, [file.path], 0)
    assert replayed(rig, tmp_path).is_as_written
    assert rig.read() == rig.expected()


def test_rows_before_the_range_are_not_shown_as_extra(tmp_path: Path) -> None:
    """They are in the log; this range does not say so. What is missing in another partition is shown alone."""
    rig = a_rig()
    for second in range(2):
        rig.append({**cpu(second), "mem": cpu(second)["cpu"]})
    rig.poll()
    rig.go_cold()
    lose(rig, next(file for file in files(rig) if file.partition.table == "mem"))
    for mode in (Mode.COMPARE, Mode.ADD, Mode.REWRITE):
        report = replayed(rig, tmp_path, mode, first=1)
        assert not report.is_as_written
        assert [text[:32] for text in report.samples] == ["metrics/mem/2023-11-15: missing:"]


def test_rewrite_removes_what_the_log_does_not_have(tmp_path: Path) -> None:
    """A file with a row more, as it was committed: it is as written, but the log never had that row."""
    rig, other = persisted(cpu(0)), persisted({"cpu": [*cpu(0, v=5.0)["cpu"], *cpu(7)["cpu"]]})
    (ours,), (theirs,) = files(rig), files(other)
    data = other.store.get(theirs.path)
    path = ours.path.replace("-00000001-000.parquet", "-7000000001-000.parquet")
    rig.store.put(path, data)
    swapped = StoredFile(
        path, ours.partition, 2, len(data), theirs.time_ns_min, theirs.time_ns_max, ours.first_offset,
        ours.last_offset, theirs.checksum, ours.sort_key,
    )  # fmt: skip
    rig.step(SwapAsked(Swap.of(rig.core.state, [swapped], [ours])))
    rig.settle()
    report = replayed(rig, tmp_path, Mode.COMPARE)
    assert (report.rows_missing, report.rows_extra, report.rows_different) == (0, 1, 1)
    assert "different: the log has time=2023-11-15T00:00:00.000000000Z, host=a, v=1.0; the store has" in "".join(
        report.samples
    )
    assert replayed(rig, tmp_path).partitions_different == 0  # adding does not judge what is there
    assert replayed(rig, tmp_path, Mode.REWRITE).is_as_written
    assert rig.read() == rig.expected()
    assert replayed(rig, tmp_path, Mode.COMPARE).is_as_written


@pytest.mark.parametrize("mode", [Mode.ADD, Mode.REWRITE])
def test_a_file_committed_meanwhile_keeps_its_newer_values(tmp_path: Path, mode: Mode) -> None:
    """The swap is refused, and made again from the newer files."""
    rig = persisted(cpu(0, v=1.0), cpu(1))
    lose(rig, files(rig)[0])

    def newer_rows_are_persisted() -> None:
        persisted(cpu(0, v=9.0), cpu(2), rig=rig)

    report = replayed(rig, tmp_path, mode, holder=RigHolder(rig, newer_rows_are_persisted))
    assert report.is_as_written
    assert rig.read() == rig.expected()
    made = {path for path in rig.store.objects if path.startswith("data/") and int(path.rsplit("-", 2)[1]) >= 10**9}
    assert made <= set(rig.core.state.files), "files of the first try were left"


def test_files_that_nobody_named_are_removed(tmp_path: Path) -> None:
    """Whatever goes wrong while they are made."""
    rig = persisted(cpu(0), {"mem": cpu(0)["cpu"]})
    for file in files(rig):
        lose(rig, file)
    real, puts = rig.store.put_if_absent, iter([False, True])

    def put(path: str, data: bytes) -> None:
        if path.startswith("data/") and next(puts):
            raise Unavailable("the store is away")
        real(path, data)

    rig.store.put_if_absent = put
    with pytest.raises(Unavailable):
        replayed(rig, tmp_path)
    assert not [path for path in rig.store.objects if path.startswith("data/")]


def test_it_gives_up_where_files_change_all_the_time(tmp_path: Path) -> None:
    rig = persisted(cpu(0))
    lose(rig, files(rig)[0])

    class Busy(RigHolder):
        def commit(self, swap: Swap) -> None:
            raise Refused("partition cpu has other files")

    with pytest.raises(Unavailable, match="changed 10 times"):
        replayed(rig, tmp_path, holder=Busy(rig))


def test_only_what_was_selected(tmp_path: Path) -> None:
    rig = persisted(cpu(0), {"mem": cpu(0)["cpu"]})
    for file in files(rig):
        lose(rig, file)
    report = replayed(rig, tmp_path, selection=Selection("metrics", "mem"))
    assert (report.rows_written, report.rows_of_others, report.partitions) == (1, 1, 1)
    assert replayed(rig, tmp_path, Mode.COMPARE, selection=Selection("other")).partitions == 0


def test_a_repeat_of_a_record_before_the_range_is_none_of_it(tmp_path: Path) -> None:
    """Taken for new, its old value would be the newest."""
    rig = persisted(cpu(0, v=1.0), cpu(0, v=2.0))
    rig.again(0)
    rig.poll()
    report = replayed(rig, tmp_path, Mode.COMPARE, first=1)
    assert report.is_as_written
    assert report.rows_duplicate == 1


seconds = st.integers(0, 3).map(lambda n: n * 40_000)
values = st.fixed_dictionaries({}, optional={"v": st.floats(-9, 9), "w": st.integers(-9, 9)}).filter(bool)
cells = st.tuples(seconds, st.sampled_from("ab"), values)
steps = st.lists(
    st.one_of(st.lists(cells, min_size=1, max_size=4), st.sampled_from(["again", "cold", "tick"])), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(steps, st.sets(st.integers(0, 9)), st.sampled_from([Mode.ADD, Mode.REWRITE]), st.sampled_from([1, 3, 250_000]))
def test_any_files_lost_come_back(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], lost: set[int], mode: Mode, rows_max: int
) -> None:
    """From any log, persisted in any steps, with stretches of any size: readers see what the log comes to."""
    rig = a_rig(late_arrival_window_ns=300 * 10**9)
    for step in drawn:
        if step == "again" and rig.log:
            rig.again(rig.log[0].record.offset)
        elif step == "cold":
            rig.go_cold()
        elif step == "tick":
            rig.tick(400)
            rig.settle()
        elif isinstance(step, list):
            rows = [row(DAY0_NS + second * 10**9, host, **fields) for second, host, fields in step]
            rig.append({"cpu": rows})
            rig.poll()
    rig.poll()
    rig.settle()
    there = files(rig)
    gone = [there[number] for number in lost if number < len(there)]
    for file in gone:
        lose(rig, file)
    folder = tmp_path_factory.mktemp("replay")
    report = replayed(rig, folder, mode, rows_max=rows_max)
    assert set(report.files_damaged) == {file.path for file in gone}
    assert rig.read() == rig.expected()
    assert replayed(rig, folder, Mode.COMPARE, rows_max=rows_max).is_as_written
    assert rig.core.state.accounts.stored == sum(file.rows for file in files(rig))
