"""The enumeration of crash points can fail: each of these breaks one rule of log or store, and is found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from common.store.local import LocalStore
from common.values.errors import DataCorrupt
from common.values.ids import Offset
from ingester import performing
from tests.support import store_crashes
from tests.support.campaign import campaign
from tests.support.crash_disk import CrashDisk, CrashFile
from tests.support.crash_exploration import Exploration, LawBroken
from tests.support.crash_model import Act, Folder
from tests.support.crash_states import Bounds
from tests.support.figures import record_figure
from tests.support.log_crashes import (
    LogLaw,
    LogLife,
    Records,
    failing_syncs,
    killed_and_opened_again,
    recorded,
    rolls_and_trims,
)
from tests.support.store_crashes import StoreLaw, StoreLife
from writebuffer.file import recovery
from writebuffer.file.log import LogWriter
from writebuffer.file.segment import OpenSegment
from writebuffer.file.segments import Segments

BOUNDS = Bounds(all_up_to=24, wholes=16, singles=True)
IN_RECOVERY = Bounds(all_up_to=4, singles=True)
Break = Callable[[pytest.MonkeyPatch], None]
Workload = Callable[[LogLife], None]


def acknowledges_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """Only the name is synced."""
    patch.setattr(OpenSegment, "sync", lambda self: self._place.disk.sync_folder(self._place.folder))


def leaves_a_new_segment_nameless(patch: pytest.MonkeyPatch) -> None:
    """Content is synced, the folder is not."""
    patch.setattr(OpenSegment, "sync", lambda self: self._file.sync_data())


def publishes_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """The horizon names what is only in the page cache."""

    def write(self: LogWriter, body: Any) -> Any:
        segment, end = original(self, body)
        self._horizon.publish(
            replace(self._durable, durable_end=end.offset, segment=segment.header.name, segment_end=segment.end)
        )
        return segment, end

    original = LogWriter._write
    patch.setattr(LogWriter, "_write", write)


def syncs_again_after_a_failed_sync(patch: pytest.MonkeyPatch) -> None:
    """The second sync succeeds, for the pages count as clean."""

    def sync(self: OpenSegment) -> None:
        try:
            original(self)
        except OSError:
            original(self)

    original = OpenSegment.sync
    patch.setattr(OpenSegment, "sync", sync)


def trusts_the_page_cache_when_opening(patch: pytest.MonkeyPatch) -> None:
    """What is above the proven durable end counts where it is, after one more sync."""

    def split(walk: Any, durable_end: Offset) -> Any:
        while walk.peek() and walk.body() is not None:
            walk.advance()
        return recovery._Found(walk.end, [])

    patch.setattr(recovery, "_split", split)
    patch.setattr(recovery, "_check_reached", lambda *_: None)


def cuts_the_unproven_tail(patch: pytest.MonkeyPatch) -> None:
    """Acknowledged, but the horizon that said so was lost."""
    original = recovery._split
    patch.setattr(recovery, "_split", lambda walk, end: replace(original(walk, end), unproven=[]))


def names_the_rewritten_tail_before_its_sync(patch: pytest.MonkeyPatch) -> None:
    """Its header counts, and replaces batches that it does not hold yet."""

    def finish(self: OpenSegment) -> None:
        self._place.disk.rename(self._path, self._path.removesuffix(".part"))
        self._place.disk.sync_folder(self._place.folder)
        self._file.sync_data()

    patch.setattr(OpenSegment, "finish", finish)


def removes_several_segments_at_once(patch: pytest.MonkeyPatch) -> None:
    """A crash may leave an older one and not the next."""

    def trim(self: LogWriter, before: Offset) -> Offset:
        segments = Segments(self._place)
        segments.refresh()
        kept = segments.holding(min(before, Offset(self.next_offset - 1)))
        assert kept
        for name in segments.names:
            if name.base_offset < kept.base_offset:
                self._place.disk.remove(self._place.path(str(name)))
        self._place.disk.sync_folder(self._place.folder)
        return kept.base_offset

    patch.setattr(LogWriter, "trim", trim)


def trusts_a_folder_that_another_was_making(patch: pytest.MonkeyPatch) -> None:
    """Its maker was killed before it synced the folder above."""

    def make_folder(self: CrashDisk, path: str, root: str = "/") -> None:
        for folder in (*reversed(PurePosixPath(path).parents), PurePosixPath(path)):
            if not self.stat(str(folder)):
                self._begin("make_folder", str(folder))
                above, name = self._at(str(folder))
                above.change(Act(Folder(), new=name))
                self.sync_folder(str(folder.parent))

    patch.setattr(CrashDisk, "make_folder", make_folder)


def trims_ahead_of_the_manifest(patch: pytest.MonkeyPatch) -> None:
    """The log goes before the record that makes it superfluous is there."""

    def persist(self: StoreLife) -> None:
        def persist_trimmed(job: Any, store: Any) -> Any:
            assert self._writer
            self._writer.trim(self._writer.next_offset)
            return persist_job(job, store)

        with pytest.MonkeyPatch.context() as early:
            early.setattr(performing, "persist", persist_trimmed)
            original(self)

    persist_job = performing.persist
    original = StoreLife.persist
    patch.setattr(StoreLife, "persist", persist)


def commits_without_syncing_the_folder(patch: pytest.MonkeyPatch) -> None:
    """The manifest record is named in the page cache alone when the log is trimmed."""

    def sync_folder(self: CrashDisk, path: str) -> None:
        if not path.endswith("/manifest/000"):
            original(self, path)

    original = CrashDisk.sync_folder
    patch.setattr(CrashDisk, "sync_folder", sync_folder)


def _without_sync_of(patch: pytest.MonkeyPatch, is_meant: Callable[[bytes], bool]) -> None:
    def write_temporary(self: LocalStore, data: bytes) -> str:
        with pytest.MonkeyPatch.context() as unsynced:
            if is_meant(data):
                unsynced.setattr(CrashFile, "sync_data", lambda self: None)
            return original(self, data)

    original = LocalStore._write_temporary
    patch.setattr(LocalStore, "_write_temporary", write_temporary)


def names_a_file_that_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    """A Parquet file is linked before its bytes are durable."""
    _without_sync_of(patch, lambda data: data.startswith(b"PAR1"))


def names_a_manifest_record_that_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    """The same for the record: a later start finds it empty or torn."""
    _without_sync_of(patch, lambda data: data.startswith(b'{"xxh3"'))


LOG_BREAKS = (
    (acknowledges_before_the_sync, rolls_and_trims),
    (leaves_a_new_segment_nameless, rolls_and_trims),
    (publishes_before_the_sync, rolls_and_trims),
    (syncs_again_after_a_failed_sync, failing_syncs),
    (trusts_the_page_cache_when_opening, failing_syncs),
    (cuts_the_unproven_tail, rolls_and_trims),
    (names_the_rewritten_tail_before_its_sync, rolls_and_trims),
    (removes_several_segments_at_once, killed_and_opened_again),
    (trusts_a_folder_that_another_was_making, rolls_and_trims),
)
STORE_BREAKS = (
    pytest.param(trims_ahead_of_the_manifest, marks=campaign),
    pytest.param(commits_without_syncing_the_folder, marks=campaign),
    names_a_file_that_is_not_synced,
    names_a_manifest_record_that_is_not_synced,
)


@pytest.mark.parametrize(("breaks", "workload"), LOG_BREAKS)
def test_a_log_that_breaks_a_rule_is_found(breaks: Break, workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some crash point of the workload shows it."""
    breaks(monkeypatch)
    made = Records()
    explored = Exploration(LogLaw(made), BOUNDS, IN_RECOVERY)
    with pytest.raises(LawBroken):
        explored.explore(recorded(workload, made), one_life_in=10)
    record_figure(f"{breaks.__name__}: found at crash point {explored.points}, after {explored.judged} states")


@pytest.mark.parametrize("breaks", STORE_BREAKS)
def test_a_store_that_breaks_a_rule_is_found(breaks: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some crash point of log and store shows it."""
    breaks(monkeypatch)
    explored = Exploration(StoreLaw(), Bounds(all_up_to=12, singles=True), Bounds(all_up_to=2))
    with pytest.raises(LawBroken):
        explored.explore(store_crashes.recorded(), one_life_in=500)
    record_figure(f"{breaks.__name__}: found at crash point {explored.points}, after {explored.judged} states")


def test_a_trim_by_a_record_that_may_not_survive_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who trims by a record that it read, and does not ask for it to be durable, loses rows to a power cut."""
    monkeypatch.setattr(LocalStore, "make_durable", lambda self, path: None)
    explored = Exploration(StoreLaw(), Bounds(all_up_to=1), Bounds(all_up_to=1))
    points = [point for points in store_crashes.trims_after_kills() for point in points]
    with pytest.raises(LawBroken):
        explored.explore(points, one_life_in=0, one_killed_in=0)
    record_figure(f"a trim by a record that may not survive: found after {explored.judged} states")


@campaign
def test_a_claim_above_a_record_that_may_not_survive_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may leave the claim and not the record below it: a hole in the manifest.

    The last points come first, since they find it.
    """
    monkeypatch.setattr(LocalStore, "make_durable", lambda self, path: None)
    explored = Exploration(StoreLaw(), Bounds(all_up_to=8, singles=True), Bounds(all_up_to=8, singles=True))
    with pytest.raises((LawBroken, DataCorrupt), match="is missing, although record"):
        explored.explore(store_crashes.recorded()[::-1], one_life_in=0, one_killed_in=1)
    record_figure(f"a claim above a record that may not survive: found after {explored.judged} states")
