"""A process writes into the store that it joined, and into no other that appears in its place."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from common.catalog.bounded_look import BoundedLook
from common.catalog.cluster import Cluster
from common.catalog.joined_store import JoinedStore
from common.catalog.paths import CLUSTER as PATH
from common.store.disk import LocalDisk
from common.store.local import LocalStore
from common.store.objects import NotFound, ObjectStore
from common.values.errors import Unavailable
from tests.support.dict_store import DictStore
from tests.support.wait import wait_until

THE_ONE = Cluster("the-one", 1)
RECORD = "manifest/000/1.json"


class Folder:
    """A joined store in a folder, and what may become of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "store"
        self.aside = tmp_path / "aside"
        raw = LocalStore(LocalDisk(), str(self.path))
        raw.put(PATH, THE_ONE.to_json())
        self.store = JoinedStore(raw, THE_ONE, structlog.get_logger())
        self.store.put_if_absent(RECORD, b"1")

    def objects(self) -> list[str]:
        return sorted(str(one.relative_to(self.path)) for one in self.path.rglob("*") if one.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def remove(folder: Folder) -> None:
    folder.path.rename(folder.aside)


def empty_mount_point(folder: Folder) -> None:
    remove(folder)
    folder.path.mkdir()


def another_cluster(folder: Folder) -> None:
    empty_mount_point(folder)
    (folder.path / PATH).write_bytes(Cluster("another", 1).to_json())


def older_copy(folder: Folder) -> None:
    remove(folder)
    shutil.copytree(folder.aside, folder.path)
    (folder.path / RECORD).unlink()


def copy_with_another_record(folder: Folder) -> None:
    remove(folder)
    shutil.copytree(folder.aside, folder.path)
    (folder.path / RECORD).write_bytes(b"another")


def older_copy_of_hard_links(folder: Folder) -> None:
    """The files have the same inodes: only the root differs."""
    remove(folder)
    shutil.copytree(folder.aside, folder.path, copy_function=os.link)
    (folder.path / RECORD).unlink()


def no_cluster_json(folder: Folder) -> None:
    shutil.copytree(folder.path, folder.aside)
    (folder.path / PATH).unlink()


def cluster_json_of_another(folder: Folder) -> None:
    (folder.path / PATH).write_bytes(Cluster("another", 1).to_json())


def damaged_cluster_json(folder: Folder) -> None:
    (folder.path / PATH).write_bytes(b"{")


REPLACED: dict[Callable[[Folder], None], str] = {
    remove: "the folder is gone",
    empty_mount_point: "the folder there is another one, without cluster.json: it is not mounted, or was deleted",
    another_cluster: "it holds cluster another now",
    older_copy: f"it holds this cluster, but not {RECORD} as this process wrote it: it is an older copy",
    older_copy_of_hard_links: f"it holds this cluster, but not {RECORD}",
    copy_with_another_record: f"it holds this cluster, but not {RECORD}",
    no_cluster_json: "its cluster.json is gone. Put it back from the copy",
    cluster_json_of_another: "it holds cluster another now",
    damaged_cluster_json: "not a cluster.json of penstock",
}

CALLS: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda store: store.put("schema/1.json", b"2"),
    "put_if_absent": lambda store: store.put_if_absent("manifest/000/2.json", b"2"),
    "put_if_absent of what exists": lambda store: store.put_if_absent(RECORD, b"2"),
    "get": lambda store: store.get(RECORD),
    "get of nothing": lambda store: store.get("manifest/000/2.json"),
    "list": lambda store: list(store.list("manifest")),
    "delete": lambda store: store.delete(RECORD),
}


@pytest.mark.parametrize("replace", REPLACED)
@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_written_to_what_took_its_place(
    folder: Folder, replace: Callable[[Folder], None], call: str
) -> None:
    """Every call is Unavailable, says what is seen, and leaves the folder as it is; `away` says the same."""
    replace(folder)
    before = folder.objects() if folder.path.exists() else None
    with pytest.raises(Unavailable, match=REPLACED[replace]) as refused:
        CALLS[call](folder.store)
    assert refused.value.written == "no"
    assert (folder.objects() if folder.path.exists() else None) == before
    assert REPLACED[replace] in folder.store.away


@pytest.mark.parametrize("replace", [remove, empty_mount_point, another_cluster, older_copy, older_copy_of_hard_links])
def test_work_goes_on_once_the_right_one_is_back(folder: Folder, replace: Callable[[Folder], None]) -> None:
    """The same folder is recognised, and what it held is there."""
    replace(folder)
    assert folder.store.away
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.aside.rename(folder.path)
    assert folder.store.away == ""
    folder.store.put_if_absent("manifest/000/2.json", b"2")
    assert folder.objects() == [PATH, RECORD, "manifest/000/2.json"]


def test_a_whole_copy_in_its_place_is_accepted(folder: Folder) -> None:
    """A folder that was mounted again may have another device; what counts is that it holds all this process wrote."""
    remove(folder)
    shutil.copytree(folder.aside, folder.path)
    assert folder.store.get(RECORD) == b"1"
    folder.store.put_if_absent("manifest/000/2.json", b"2")


def test_cluster_json_put_back_is_accepted(folder: Folder) -> None:
    """From the copy in a data folder, with another inode."""
    no_cluster_json(folder)
    assert folder.store.away
    (folder.path / PATH).write_bytes(THE_ONE.to_json())
    folder.store.put("a", b"1")


def test_a_folder_replaced_during_a_write_leaves_its_outcome_unknown(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written may be in the one that came or in the one that went: the caller has to read to know."""
    written = LocalStore.put_if_absent

    def put_if_absent(self: LocalStore, path: str, data: bytes) -> None:
        written(self, path, data)
        remove(folder)

    monkeypatch.setattr(LocalStore, "put_if_absent", put_if_absent)
    with pytest.raises(Unavailable) as unknown:
        folder.store.put_if_absent("manifest/000/2.json", b"2")
    assert unknown.value.written == "unknown"


def test_what_was_deleted_again_is_not_missed(folder: Folder) -> None:
    """The last object written may be one that this process removed itself."""
    folder.store.put("probe", b"1")
    folder.store.delete("probe")
    remove(folder)
    assert folder.store.away
    folder.aside.rename(folder.path)
    folder.store.put("probe", b"1")


def test_a_cloud_is_proven_by_its_cluster_json() -> None:
    """A bucket that was emptied, or is another cluster's, is written to no more, and answers no question."""
    raw = DictStore()
    raw.put(PATH, THE_ONE.to_json())
    store = JoinedStore(raw, THE_ONE, structlog.get_logger())
    store.put_if_absent(RECORD, b"1")
    with pytest.raises(NotFound):
        store.get("manifest/000/2.json")
    held, raw.objects = raw.objects, {}
    for call in CALLS.values():
        with pytest.raises(Unavailable, match=r"there is no cluster\.json"):
            call(store)
    raw.objects = {PATH: Cluster("another", 1).to_json()}
    with pytest.raises(Unavailable, match="it holds cluster another now"):
        store.put("a", b"1")
    raw.objects = {PATH: THE_ONE.to_json()}
    with pytest.raises(Unavailable, match=f"but not {RECORD} as this process wrote it"):
        store.put("a", b"1")
    assert "older copy" in store.away
    raw.objects = held
    store.put("a", b"1")
    assert store.away == ""


def test_a_joined_folder_costs_two_looks_a_call(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing changed no file is opened for the proof."""
    opened: list[str] = []
    original = LocalDisk.open
    monkeypatch.setattr(
        LocalDisk, "open", lambda self, path, write=False: (opened.append(path), original(self, path, write=write))[1]
    )
    folder.store.get(RECORD)
    assert opened == [f"{folder.path}/{RECORD}"]


def test_a_folder_that_hangs_is_reported_and_holds_nobody_up(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not away: an end waits for it as for any store that does not answer. Then it is as before."""
    back = threading.Event()
    monkeypatch.setattr(folder.store, "_folder_look", BoundedLook(lambda: back.wait() and None, timeout_s=0.01))
    assert "does not answer" in folder.store.unusable
    assert folder.store.away == ""
    back.set()
    wait_until(lambda: folder.store.unusable, holds=lambda reason: reason == "")
