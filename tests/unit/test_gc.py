"""`penstock gc`: what no manifest can name any more is removed, and nothing else, whatever its age."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from common.catalog.manifest import manifest
from common.catalog.manifest.change import Change, Gap
from common.catalog.paths import manifest_record
from common.catalog.unnamed import unnamed_files
from common.store.objects import ObjectStore, run
from common.values.ids import Offset
from ingester.persist.unnamed import remove_unnamed_files
from penstock.fsck.left_over import left_over, orphans_of, removable, remove
from tests.support.dict_store import DictStore
from tests.support.fsck import HOUR_S, a_file_of, a_persisted_rig, put_unnamed
from tests.support.ingester_rig import SEQUENCER, IngesterRig, cpu

LONG_AGO_S = 2 * HOUR_S


@pytest.fixture
def rig() -> IngesterRig:
    return a_persisted_rig()


def removed(rig: IngesterRig, older_than_ns: int = 1) -> list[str]:
    left = orphans_of(SEQUENCER, rig.store)
    return [each.found.path for each in remove(left, removable(left, older_than_ns, rig.store), rig.store)]


def data_files(store: ObjectStore) -> set[str]:
    return {found.path for found in store.list("data")}


def test_a_superseded_writer_s_file_is_removed(rig: IngesterRig) -> None:
    """Of a lower epoch than the manifest's, at any age; the files that are named stay."""
    path = put_unnamed(rig, epoch=1)
    rig.restart(removes_unnamed=False)
    assert removed(rig) == [path]
    assert data_files(rig.store) == set(rig.core.state.files)


def test_the_file_of_a_zombie_is_never_named_after_it_was_removed(rig: IngesterRig) -> None:
    """An ingester that was superseded in mid-persist puts its file and is removed by gc: its commit is fenced."""
    rig.append(cpu(9, "z"))
    rig.poll()
    rig.tick(301)
    rig.persist()
    (commit,) = rig.commits
    (file,) = commit.change.files_added
    rig.restart(removes_unnamed=False)
    assert removed(rig) == [file.path]
    with pytest.raises(manifest.Fenced):
        run(manifest.commit(commit.state, commit.change, commit.nonce), rig.store)
    rig.poll()
    rig.go_cold()
    assert rig.read() == rig.expected()


def test_a_file_that_waits_for_its_commit_is_kept(rig: IngesterRig) -> None:
    """However old it is: its ingester may have been stopped, or the store away, for days. Then it commits."""
    rig.append(cpu(9, "z"))
    rig.poll()
    rig.tick(301)
    rig.persist()
    assert removed(rig) == []
    rig.settle()
    assert removed(rig) == []
    assert rig.read() == rig.expected()


def test_what_is_committed_between_listing_and_reading_is_kept(rig: IngesterRig) -> None:
    """The manifest that decides is read after the file was seen."""
    rig.append(cpu(9, "z"))
    rig.poll()
    rig.tick(301)
    rig.persist()
    before = run(manifest.load(SEQUENCER), rig.store)
    assert len(unnamed_files(before, rig.store)) == 1

    class Committing(DictStore):
        def list(self, prefix: str) -> Iterator[object]:  # type: ignore[override]
            found = [*super().list(prefix)]
            rig.settle()
            rig.restart()
            return iter(found)

    store = Committing()
    store.objects = rig.store.objects
    assert left_over(before, store).files == ()


def test_a_record_is_durable_before_its_decision_is_carried_out(rig: IngesterRig) -> None:
    """A claim that a power cut undoes would let the superseded writer name its file after all."""
    put_unnamed(rig, epoch=1)
    rig.restart(removes_unnamed=False)
    rig.store.calls.clear()
    assert removed(rig)
    assert ("make_durable", manifest_record(SEQUENCER, rig.core.state.number)) in rig.store.calls


def test_rows_of_an_accepted_gap_are_kept(rig: IngesterRig) -> None:
    """A file put before the log was lost may be the only copy; neither gc nor an ingester's start removes it."""
    inside = put_unnamed(rig, epoch=0, first=5, last=6)
    below = put_unnamed(rig, epoch=0, first=0, last=4)
    above = put_unnamed(rig, epoch=0, first=8, last=9)
    state = run(manifest.load(SEQUENCER), rig.store)
    gap = Change(state.as_of, gaps=(Gap(Offset(5), Offset(8)),))
    state = run(manifest.commit(state, gap, "by hand"), rig.store)
    assert sorted(removed(rig)) == sorted([below, above])
    assert remove_unnamed_files(replace(state), rig.store) == 0
    assert inside in data_files(rig.store)


def test_a_file_that_was_moved_is_kept(rig: IngesterRig) -> None:
    """It has the name of one that the manifest names, and may be its only copy; an ingester's start keeps it, too."""
    file = a_file_of(rig)
    there = f"data/metrics/elsewhere/{file.path.rpartition('/')[2]}"
    rig.store.put(there, rig.store.objects[file.path])
    rig.store.delete(file.path)
    rig.restart()
    assert removed(rig) == []
    assert there in data_files(rig.store)


@pytest.mark.parametrize("path", ["data/notes.txt", "data/metrics/cpu/009-x.parquet", f"data/metrics/{'0' * 30}"])
def test_what_no_sequencer_wrote_is_kept(rig: IngesterRig, path: str) -> None:
    """Whoever put it there knows why."""
    rig.store.put(path, b"1")
    assert removed(rig) == []


def test_a_file_that_queries_may_be_reading_is_kept(rig: IngesterRig) -> None:
    """One that a record replaced stays until the grace time after that record is over, although it is old itself."""
    file = a_file_of(rig)
    rig.restart()
    rig.store.now_ns = 100
    state = run(manifest.load(SEQUENCER), rig.store)
    swapped = Change(state.as_of, files_removed=(file.path,))
    run(manifest.commit(state, swapped, "by hand"), rig.store)
    assert removed(rig, older_than_ns=50) == []
    assert removed(rig, older_than_ns=100) == []
    assert removed(rig, older_than_ns=101) == [file.path]
