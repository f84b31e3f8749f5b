"""Joining the cluster at start: what is wrong exits with the reason, what is away is fine once a copy is here."""

import errno
import os
from pathlib import Path

import pytest

from common import startup
from common.catalog.cluster import Cluster
from common.startup import join_cluster
from common.store.local import LocalStore
from common.store.objects import ObjectStore
from common.values.config import ClusterConfig
from common.values.errors import DataCorrupt, Misconfigured, Unavailable
from tests.support.watched_disk import WatchedDisk


def config(data: Path, **changes: object) -> ClusterConfig:
    return ClusterConfig(data=str(data), **changes)  # type: ignore[arg-type]


def test_the_first_process_makes_the_cluster_and_the_next_joins_it(tmp_path: Path) -> None:
    """A missing data folder is made; both have the same cluster, and a copy is in the folder."""
    data = tmp_path / "deep" / "data"
    _, made = join_cluster(config(data), 0)
    _, joined = join_cluster(config(data), 0)
    assert made == joined
    assert (data / "cluster.json").read_bytes() == (data / "store" / "cluster.json").read_bytes()


@pytest.fixture
def store_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From now on every call of the store fails."""
    disk = WatchedDisk()
    for act in ("stat", "create", "open", "make_folder"):
        disk.failing[act] = OSError(5, "away")

    def open_away(url: str) -> ObjectStore:
        return LocalStore(disk, url.removeprefix("file://"))

    monkeypatch.setattr(startup, "open_store", open_away)


@pytest.mark.usefixtures("store_away")
def test_a_process_without_a_copy_cannot_start_while_the_store_is_away(tmp_path: Path) -> None:
    """What the cluster is cannot be known; the caller tries again."""
    with pytest.raises(Unavailable):
        join_cluster(config(tmp_path), 0)


@pytest.mark.usefixtures("store_away")
def test_a_process_with_a_copy_starts_while_the_store_is_away(tmp_path: Path) -> None:
    """The copy says what every process of the cluster agreed on, the number of sequencers included."""
    made = Cluster("id", 4)
    (tmp_path / "cluster.json").write_bytes(made.to_json())
    assert join_cluster(config(tmp_path), 0)[1] == made
    with pytest.raises(Misconfigured, match="says 4 sequencers, asked for 2: start with --sequencers 4"):
        join_cluster(config(tmp_path, sequencers=2), 0)


def test_a_data_folder_of_another_cluster_is_refused(tmp_path: Path) -> None:
    """Mixing two clusters' logs and files would lose rows; the message names both and the way out."""
    join_cluster(config(tmp_path), 0)
    (tmp_path / "cluster.json").write_bytes(Cluster("other", 4).to_json())
    with pytest.raises(Misconfigured, match=r"cluster\.json belongs to cluster other, the store to .*: give each"):
        join_cluster(config(tmp_path), 0)


def test_where_a_cluster_was_joined_no_other_is_founded(tmp_path: Path) -> None:
    """A store that was deleted, or is an empty mount point, is away: nothing is made in it, and it may come back."""
    _, made = join_cluster(config(tmp_path), 0)
    (tmp_path / "store").rename(tmp_path / "away")
    store, joined = join_cluster(config(tmp_path), 0)
    assert joined == made
    for is_mount_point in (False, True):
        if is_mount_point:
            (tmp_path / "store").mkdir()
        with pytest.raises(Unavailable, match=f"not the one that was joined.*{made.cluster_id}"):
            store.put("a", b"1")
    assert list((tmp_path / "store").iterdir()) == []
    (tmp_path / "store").rmdir()
    (tmp_path / "away").rename(tmp_path / "store")
    store.put("a", b"1")


def test_a_process_that_is_to_join_one_cluster_founds_no_other(tmp_path: Path) -> None:
    """The children of `up` are given its id: where the whole data folder went, they make no new one."""
    with pytest.raises(Unavailable, match=r"there is no cluster\.json, but cluster the-one was joined"):
        join_cluster(config(tmp_path, cluster_id="the-one"), 0)
    assert list(tmp_path.iterdir()) == []
    join_cluster(config(tmp_path), 0)
    with pytest.raises(Misconfigured, match="asked for the-one: correct --store or --data"):
        join_cluster(config(tmp_path, cluster_id="the-one"), 0)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
@pytest.mark.parametrize("known", [False, True])
def test_a_store_that_this_user_may_not_write_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, known: bool
) -> None:
    """No retry would help; under a running process the same is Unavailable (test_local_store.py)."""
    disk = WatchedDisk()
    monkeypatch.setattr(startup, "open_store", lambda url: LocalStore(disk, url.removeprefix("file://")))
    if known:
        join_cluster(config(tmp_path), 0)
    disk.failing["create"] = OSError(number, os.strerror(number))
    with pytest.raises(Misconfigured, match=os.strerror(number)[1:]):
        join_cluster(config(tmp_path), 0)


def test_a_store_that_cannot_be_made_is_refused_at_start(tmp_path: Path) -> None:
    """Nothing was ever there, so nothing can come back; the message names the folder and the settings."""
    (tmp_path / "file").write_bytes(b"")
    for folder in ("/proc/x/store", f"{tmp_path}/file/store"):
        with pytest.raises(Misconfigured, match=rf"^object store file://{folder}: its folder cannot be made .*--store"):
            join_cluster(config(tmp_path / "data", store=f"file://{folder}"), 0)


def test_a_damaged_copy_is_corrupt(tmp_path: Path) -> None:
    """It is not silently replaced: something wrote there that is not penstock."""
    (tmp_path / "cluster.json").write_bytes(b"")
    with pytest.raises(DataCorrupt, match=r"cluster\.json: not a cluster\.json"):
        join_cluster(config(tmp_path), 0)


def test_a_data_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The message names the folder and the setting."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Misconfigured, match=r"^data folder .*/file/data: .* --data"):
        join_cluster(config(tmp_path / "file" / "data", store=f"file://{tmp_path}/store"), 0)


def test_starting_removes_what_dead_processes_left(tmp_path: Path) -> None:
    """Temporary files over a day old go at the next start of any process."""
    join_cluster(config(tmp_path), 0)
    left = tmp_path / "store" / ".tmp" / "123-left"
    left.write_bytes(b"half")
    join_cluster(config(tmp_path), left.stat().st_mtime_ns + 2 * 24 * 3600 * 10**9)
    assert not left.exists()


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The message names the folder and the setting, not an object in a store below it."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Misconfigured, match=r"^data folder .*/file: it is a file.* --data"):
        join_cluster(config(tmp_path / "file"), 0)
