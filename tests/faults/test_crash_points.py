"""Every crash point of the file log, and of log and object store together, enumerated.

The laws are in tests/support/log_crashes.py and store_crashes.py, what a power cut may leave in crash_model.py, and
which of it is built in crash_states.py. That each rule of the log and the store is needed, and its breach found, is
shown in test_crash_points_broken.py.
"""

import errno
from collections.abc import Callable

import pytest

from tests.support import log_crashes, store_crashes
from tests.support.buffer_records import numbers, read_all, record, records
from tests.support.campaign import campaign, seeds
from tests.support.crash_disk import CrashDisk
from tests.support.crash_exploration import Exploration, insist
from tests.support.crash_states import Bounds, CrashPoint, Recorder, outcomes
from tests.support.figures import record_figure
from tests.support.file_log import FOLDER, OneLog
from tests.support.log_crashes import LogLaw, LogLife, Records
from tests.support.store_crashes import Rows, StoreLaw, StoreLife

NORMAL = Bounds(all_up_to=12, singles=True)
WIDE = Bounds(all_up_to=seeds() // 20, wholes=seeds() // 40, singles=True, drawn=seeds() // 50)
IN_RECOVERY = Bounds(all_up_to=4, singles=True)
WIDE_COPY = Bounds(all_up_to=1000, wholes=100, singles=True)
LITTLE = Bounds(all_up_to=1)
IN_RECOVERY_WIDE = Bounds(all_up_to=8, singles=True)

Workload = Callable[[LogLife], None]


@pytest.mark.parametrize("workload", log_crashes.WORKLOADS)
def test_the_log_keeps_its_promises_at_every_crash_point(workload: Workload) -> None:
    """Acknowledged and read ⊆ recovered, no phantom, contiguous, epochs grow, appends go on; in recoveries, too."""
    made = Records()
    log = Exploration(LogLaw(made), NORMAL, IN_RECOVERY)
    log.explore(log_crashes.recorded(workload, made), one_life_in=100, one_killed_in=6)
    record_figure(f"file log, {workload.__name__}: {log}")


def test_every_row_is_in_one_place_at_every_crash_point_of_log_and_store() -> None:
    """No acknowledged row is lost or doubled, no trim ahead of the manifest, no file named that is missing or short."""
    both = Exploration(StoreLaw(), Bounds(all_up_to=8, singles=True), Bounds(all_up_to=2))
    both.explore(store_crashes.recorded(), one_life_in=500, one_killed_in=5)
    record_figure(f"log and object store: {both}")


@pytest.mark.parametrize("act", ["sync", "sync_folder", "create", "write", "link", "remove"])
def test_a_trim_follows_only_a_durable_manifest_also_after_a_failure(act: str) -> None:
    """One call of the store fails, wherever it is; it is tried again, and the log trimmed by what the manifest says."""
    both = Exploration(StoreLaw(), LITTLE, LITTLE)
    number = 1
    while points := trimmed_after_a_failure(act, number):
        both.explore(points, one_life_in=0, one_killed_in=0)
        number += 1
    assert number > 1
    record_figure(f"store, {act} failing at each of {number - 1}, then a trim: {both}")


def trimmed_after_a_failure(act: str, number: int) -> list[CrashPoint[Rows]]:
    """The crash point after the trim; none when the failure was never reached."""
    life = with_four_records(CrashDisk())
    disk = life.log.disk
    disk.fail(act, errno.EIO, number=number)
    insist(life.persist)
    with Recorder(disk, lambda: life.known) as recorder:
        insist(life.trim)
    return recorder.points[-1:] if disk.failed else []


def test_a_trim_by_another_process_follows_only_a_durable_manifest() -> None:
    """An ingester is killed wherever it is, and the log's owner trims by the manifest that it left."""
    both = Exploration(StoreLaw(), LITTLE, LITTLE)
    kills = 0
    for points in store_crashes.trims_after_kills():
        both.explore(points, one_life_in=0, one_killed_in=0)
        kills += 1
    record_figure(f"store, a trim after a kill at each of {kills} points: {both}")


@pytest.mark.parametrize("more", [0, 1])
def test_a_copy_that_was_put_there_is_durable_once_it_was_opened_for_writing(more: int) -> None:
    """Its files are in the page cache alone: opening for writing syncs the newest segment, its name and the horizon."""
    original = OneLog()
    writer = original.open()
    writer.commit(records(range(3)))
    writer.close()
    log = OneLog(disk=original.disk)
    contents = {name: log.content(name) for name in log.disk.names(FOLDER)}
    for name in contents:
        log.disk.remove(f"{FOLDER}/{name}")
    log.disk.sync_folder(FOLDER)
    for name, content in contents.items():
        log.disk.create(f"{FOLDER}/{name}").write_at(0, [content])
    writer = log.open()
    for number in range(3, 3 + more):
        writer.commit([record(number)])
    states = 0
    for versions in outcomes(log.disk.image(), WIDE_COPY):
        left = OneLog(disk=CrashDisk(log.disk.image().left(versions)))
        assert left.offsets() == (0, 3) or more  # readers need not wait for a writer
        left.open().close()
        assert numbers(one for _, one in read_all(left.backend)) == list(range(3 + more))
        states += 1
    record_figure(f"file log, opened on an unsynced copy, {more} batches written: {states} states after a power cut")


def with_four_records(disk: CrashDisk) -> StoreLife:
    life = StoreLife(disk)
    life.open()
    life.write(0, 1)
    for number in (2, 3, 4):
        life.write(number)
    return life


@campaign
@pytest.mark.parametrize(
    ("workload", "in_recovery"),
    [*((short, IN_RECOVERY_WIDE) for short in log_crashes.WORKLOADS), (log_crashes.long_life, LITTLE)],
)
def test_the_log_keeps_its_promises_in_many_more_states(workload: Workload, in_recovery: Bounds) -> None:
    """As above with wide bounds, and one log that lives through all of it."""
    made = Records()
    log = Exploration(LogLaw(made), WIDE, in_recovery)
    log.explore(log_crashes.recorded(workload, made), one_life_in=200, one_killed_in=2)
    record_figure(f"file log, {workload.__name__}, wide bounds: {log}")


@campaign
def test_every_row_is_in_one_place_in_many_more_states() -> None:
    """As above with wide bounds."""
    both = Exploration(StoreLaw(), WIDE, Bounds(all_up_to=4))
    both.explore(store_crashes.recorded(), one_life_in=1000, one_killed_in=2)
    record_figure(f"log and object store, wide bounds: {both}")


@pytest.mark.parametrize(
    ("workload", "failed"),
    [
        (log_crashes.failing_writes, ["unknown"]),
        (log_crashes.failing_syncs, ["unknown", "unknown"]),
        (log_crashes.full_disk, ["no"]),
        (log_crashes.rolls_and_trims, []),
    ],
)
def test_the_faults_of_the_workloads_happen(workload: Workload, failed: list[str]) -> None:
    """Their disks really fail as the workloads say."""
    assert log_crashes.lived(workload, LogLife(CrashDisk(), Records())).failed == failed
