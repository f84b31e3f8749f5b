"""The local object store: the calls of any object store, and what it syncs before it says yes."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.store.disk import LocalDisk
from common.store.local import LocalStore
from common.store.objects import AlreadyExists, NotFound, StoredObject
from common.values.errors import InvalidRequest, Unavailable
from tests.support.watched_disk import WatchedDisk

DAY_NS = 24 * 3600 * 10**9
WRITES = ("put", "put_if_absent")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(LocalDisk(), f"{tmp_path}/store")


@pytest.fixture
def disk() -> WatchedDisk:
    return WatchedDisk()


@pytest.fixture
def watched(tmp_path: Path, disk: WatchedDisk) -> LocalStore:
    return LocalStore(disk, f"{tmp_path}/store")


def temporaries(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "store" / ".tmp").iterdir()]


def test_the_thread_that_lost_the_race_learns_that_it_lost(store: LocalStore) -> None:
    """Of many put_if_absent of one path exactly one succeeds, and its bytes are the ones stored."""
    racers = 8
    for number in range(20):
        start = threading.Barrier(racers)

        def put(racer: int, path: str = f"manifest/{number}", start: threading.Barrier = start) -> bool:
            start.wait()
            try:
                store.put_if_absent(path, b"%d" % racer)
            except AlreadyExists:
                return False
            return True

        with ThreadPoolExecutor(racers) as pool:
            won = list(pool.map(put, range(racers)))
        assert won.count(True) == 1
        assert store.get(f"manifest/{number}") == b"%d" % won.index(True)


def test_listing_shows_objects_only(store: LocalStore) -> None:
    """Temporary files and folders without objects are no objects; a file or nothing below the prefix is empty."""
    store.put("data/ns/cpu/a.parquet", b"12")
    store.put("data/ns/disk/b.parquet", b"123")
    store.put("cluster.json", b"1")
    store.delete("data/ns/disk/b.parquet")
    assert list(store.list("")) == [StoredObject("cluster.json", 1), StoredObject("data/ns/cpu/a.parquet", 2)]
    assert list(store.list("cluster.json")) == []
    assert list(store.list("elsewhere")) == []


@pytest.mark.parametrize("path", ["data/ns", "cluster.json/x"], ids=["a folder", "through a file"])
def test_what_is_no_object_is_not_found(store: LocalStore, path: str) -> None:
    """A folder, or a path through a file, answers as in any object store."""
    store.put("data/ns/a", b"1")
    store.put("cluster.json", b"1")
    with pytest.raises(NotFound):
        store.get(path)
    store.delete(path)


def test_a_file_in_place_of_a_folder_is_not_mistaken_for_the_object(store: LocalStore) -> None:
    """put_if_absent below a file fails; it does not claim that the object exists."""
    store.put("cluster.json", b"1")
    with pytest.raises(Unavailable):
        store.put_if_absent("cluster.json/x", b"2")


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("error", [NotADirectoryError(errno.ENOTDIR, "no"), FileNotFoundError(errno.ENOENT, "gone")])
def test_a_write_is_never_answered_with_not_found(
    watched: LocalStore, disk: WatchedDisk, write: str, error: OSError
) -> None:
    """A folder that went away or became a file under a write is a fault that may pass, not a missing object."""
    disk.failing |= {"rename": error, "link": error}
    with pytest.raises(Unavailable) as refused:
        getattr(watched, write)("manifest/000/1.json", b"1")
    assert refused.value.written == "unknown"


@pytest.mark.parametrize("act", ["open", "create"])
def test_a_folder_that_this_user_may_not_use_any_more_is_unavailable(
    watched: LocalStore, disk: WatchedDisk, act: str
) -> None:
    """A permission that breaks under a running process may be given back; the message says where and to whom."""
    watched.put("a", b"1")
    disk.failing[act] = PermissionError(errno.EACCES, "Permission denied", "/data/store/a")
    user = rf"give this user \(uid {os.geteuid()}\) the right to read and write the folder"
    message = rf"a: permission denied in /data/store/a; {user}"
    with pytest.raises(Unavailable, match=message):
        watched.get("a") if act == "open" else watched.put("a", b"2")


@pytest.mark.parametrize("path", ["../x", "a/../x", "a//b", "/a", ".tmp/x", "", "a/\0"])
def test_a_path_cannot_leave_the_folder(store: LocalStore, path: str) -> None:
    """Components are neither empty nor start with a dot."""
    for call in (store.get, store.delete, store.local_path, lambda path: store.put(path, b"")):
        with pytest.raises(InvalidRequest, match="a component must not be empty"):
            call(path)


def test_a_file_reader_finds_the_object_at_its_local_path(store: LocalStore) -> None:
    """DuckDB and others read the file itself."""
    store.put("data/a", b"12")
    path = store.local_path("data/a")
    assert path is not None
    assert Path(path).read_bytes() == b"12"


def test_leftovers_go_after_a_day(store: LocalStore, tmp_path: Path) -> None:
    """What a dead process left is removed once it cannot be a living one's."""
    store.put("a", b"1")
    left = tmp_path / "store" / ".tmp" / "123-left"
    left.write_bytes(b"half")
    written_ns = left.stat().st_mtime_ns
    assert store.remove_leftovers(written_ns + DAY_NS) == 0
    assert store.remove_leftovers(written_ns + DAY_NS + 1) == 1
    assert temporaries(tmp_path) == []
    assert store.get("a") == b"1"


def test_a_new_store_has_no_leftovers(store: LocalStore) -> None:
    """Nothing was ever written, and nothing is made by looking."""
    assert store.remove_leftovers(DAY_NS) == 0


def test_a_leftover_that_another_process_removed_is_no_error(
    watched: LocalStore, disk: WatchedDisk, tmp_path: Path
) -> None:
    """All processes of a cluster start at once and look at the same leftovers."""
    watched.put("a", b"1")
    (tmp_path / "store" / ".tmp" / "123-left").write_bytes(b"half")
    disk.failing["remove"] = FileNotFoundError(errno.ENOENT, "gone")
    assert watched.remove_leftovers(2**63) == 0


@pytest.mark.parametrize(("write", "act"), [("put", "rename"), ("put_if_absent", "link")])
def test_bytes_are_synced_before_they_get_their_name(
    watched: LocalStore, disk: WatchedDisk, write: str, act: str
) -> None:
    """A power cut never leaves a name without its content; the name itself is durable at the return."""
    getattr(watched, write)("manifest/000/1.json", b"1")
    named = disk.calls.index(f"{act} 1.json")
    synced = next(at for at, call in enumerate(disk.calls) if call.startswith("sync_data"))
    assert synced < named
    assert "sync_folder 000" in disk.calls[named:]


@pytest.mark.parametrize("write", WRITES)
def test_folders_are_durable_before_a_name_in_them_exists(watched: LocalStore, disk: WatchedDisk, write: str) -> None:
    """Each folder on the way was synced into the one above it, also where another process may have made it."""
    (Path(watched.url.removeprefix("file://")) / "manifest" / "000").mkdir(parents=True)
    getattr(watched, write)("manifest/000/1.json", b"1")
    named = next(at for at, call in enumerate(disk.calls) if call.endswith(" 1.json") and call[:4] in ("link", "rena"))
    assert {"sync_folder manifest", "sync_folder store"} <= set(disk.calls[:named])


def test_after_an_answer_that_an_object_exists_it_is_durable(watched: LocalStore, disk: WatchedDisk) -> None:
    """AlreadyExists comes after a sync of the folder: the winner may have died before its own."""
    watched.put("a/b", b"1")
    disk.calls.clear()
    with pytest.raises(AlreadyExists):
        watched.put_if_absent("a/b", b"2")
    assert disk.calls[-1] == "sync_folder a"


def test_the_loser_of_a_race_for_the_name_syncs_too(watched: LocalStore, disk: WatchedDisk, tmp_path: Path) -> None:
    """The same where the other's object appears between the look and the link."""
    disk.failing["link"] = FileExistsError(errno.EEXIST, "just now")
    with pytest.raises(AlreadyExists):
        watched.put_if_absent("a/b", b"2")
    assert disk.calls[-1] == "sync_folder a"
    assert temporaries(tmp_path) == []


def test_a_removal_is_durable(watched: LocalStore, disk: WatchedDisk) -> None:
    """delete returns after the folder was synced."""
    watched.put("a/b", b"1")
    watched.delete("a/b")
    assert disk.calls[-2:] == ["remove b", "sync_folder a"]


CAUSES = {
    errno.ENOSPC: "no space left on device in .*store; the disk is full",
    errno.EDQUOT: "disk quota exceeded in .*store; there is no space left for this user",
    errno.EROFS: "read-only file system in .*store; it is mounted read-only: mount it writable",
    errno.EACCES: "permission denied in .*store; give this user",
    errno.EPERM: "operation not permitted in .*store; give this user",
    errno.EIO: "input/output error in .*store; the disk failed",
}


@pytest.mark.parametrize("number", CAUSES)
@pytest.mark.parametrize("act", ["create", "write_at", "sync_data", "make_folder", "name", "sync_folder"])
@pytest.mark.parametrize("write", WRITES)
def test_a_failing_disk_is_unavailable(
    watched: LocalStore, disk: WatchedDisk, write: str, act: str, number: int
) -> None:
    """Any call fails: Unavailable with an unknown outcome, the cause and what to do; a retry then succeeds."""
    if act == "name":
        act = {"put": "rename", "put_if_absent": "link"}[write]
    disk.failing[act] = OSError(number, os.strerror(number))
    with pytest.raises(Unavailable, match=f"^object store: a/b: {CAUSES[number]}") as failed:
        getattr(watched, write)("a/b", b"1")
    assert failed.value.written == "unknown"
    disk.failing.clear()
    watched.put("a/b", b"1")
    assert watched.get("a/b") == b"1"


def test_a_kept_root_is_never_made(store: LocalStore, tmp_path: Path) -> None:
    """A store that is not mounted, or was moved away, is not there; an empty one in its place would hide it."""
    store.put("manifest/000/1.json", b"1")
    store.keep_root()
    (tmp_path / "store").rename(tmp_path / "away")
    for write in (store.put, store.put_if_absent):
        with pytest.raises(Unavailable, match=r"2\.json: no such file or directory in .*store; a folder is missing"):
            write("manifest/000/2.json", b"2")
    assert not (tmp_path / "store").exists()
    (tmp_path / "away").rename(tmp_path / "store")
    store.put("manifest/000/2.json", b"2")


@pytest.mark.parametrize("act", ["write_at", "sync_data"])
def test_a_failed_write_gives_its_space_back(watched: LocalStore, disk: WatchedDisk, tmp_path: Path, act: str) -> None:
    """On a full disk a half-written temporary file would only make it worse."""
    disk.failing[act] = OSError(errno.ENOSPC, "full")
    with pytest.raises(Unavailable):
        watched.put("a/b", b"1")
    assert temporaries(tmp_path) == []


@pytest.mark.parametrize("act", ["open", "read_at"])
def test_a_failing_read_is_unavailable(watched: LocalStore, disk: WatchedDisk, act: str) -> None:
    """A read that failed wrote nothing."""
    watched.put("a/b", b"1")
    disk.failing[act] = OSError(errno.EIO, "broken")
    with pytest.raises(Unavailable) as failed:
        watched.get("a/b")
    assert failed.value.written == "no"


@pytest.mark.parametrize("act", ["names", "stat"])
def test_a_failing_listing_is_unavailable(watched: LocalStore, disk: WatchedDisk, act: str) -> None:
    """A folder that cannot be read is not an empty one."""
    watched.put("a/b", b"1")
    disk.failing[act] = OSError(errno.EIO, "broken")
    with pytest.raises(Unavailable):
        list(watched.list(""))
    with pytest.raises(Unavailable):
        watched.remove_leftovers(0)


def test_a_read_costs_no_sync_and_who_needs_it_durable_asks(watched: LocalStore, disk: WatchedDisk) -> None:
    """Its folder is synced by make_durable alone, each time: nothing says what another process did meanwhile."""
    LocalStore(LocalDisk(), watched.url.removeprefix("file://")).put("a/b", b"1")
    watched.get("a/b")
    assert not [call for call in disk.calls if call.startswith("sync")]
    for _ in range(2):
        watched.make_durable("a/b")
        assert disk.calls[-1] == "sync_folder a"


@pytest.mark.parametrize("path", ["nothing/b", "a/nothing", "a"])
def test_nothing_there_cannot_be_made_durable(store: LocalStore, path: str) -> None:
    """NotFound, as a read of it says; a folder is no object."""
    store.put("a/b", b"1")
    with pytest.raises(NotFound):
        store.make_durable(path)
