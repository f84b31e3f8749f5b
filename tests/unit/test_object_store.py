"""What every object store keeps, over a local folder and obstore's memory alike, and how a URL chooses one."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.store.cloud import CloudStore
from common.store.local import LocalStore
from common.store.objects import AlreadyExists, NotFound, ObjectStore, StoredObject
from common.store.opening import check_put_if_absent, open_store
from common.values.errors import Misconfigured, Unavailable


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return open_store(f"file://{tmp_path}/store" if request.param == "file" else "memory:")


def test_what_was_put_is_got(store: ObjectStore) -> None:
    """Bytes come back as they went in, empty ones too; a second put replaces."""
    store.put("a/b", b"first and longer")
    store.put("a/b", b"second")
    store.put("a/c", b"")
    assert (store.get("a/b"), store.get("a/c")) == (b"second", b"")


def test_put_if_absent_never_replaces(store: ObjectStore) -> None:
    """The second raises AlreadyExists and leaves the first one's bytes."""
    store.put_if_absent("a/b", b"1")
    with pytest.raises(AlreadyExists) as existing:
        store.put_if_absent("a/b", b"2")
    assert existing.value.path == "a/b"
    assert store.get("a/b") == b"1"


def test_what_was_deleted_is_not_found(store: ObjectStore) -> None:
    """delete of nothing is fine; a path is free again afterwards."""
    store.delete("a/b")
    store.put_if_absent("a/b", b"1")
    store.delete("a/b")
    with pytest.raises(NotFound) as missing:
        store.get("a/b")
    assert missing.value.path == "a/b"
    store.put_if_absent("a/b", b"2")


def test_listing_is_by_folder(store: ObjectStore) -> None:
    """A prefix names a folder at any depth, with or without its slash, never the start of a name."""
    for path in ("data/ns/cpu/1", "data/ns/cpu/2", "data/ns/cpu2/3", "data/ns2/cpu/4", "cluster.json"):
        store.put(path, b"12")
    for prefix in ("data/ns/cpu", "data/ns/cpu/"):
        assert sorted(found.path for found in store.list(prefix)) == ["data/ns/cpu/1", "data/ns/cpu/2"]
    assert len(list(store.list(""))) == 5
    assert list(store.list("cluster")) == []
    assert StoredObject("data/ns2/cpu/4", 2) in list(store.list("data"))


def test_listing_says_when_an_object_was_put(store: ObjectStore) -> None:
    """By the store's clock, which is this machine's here; a file system's may be some milliseconds behind."""
    before_ns = time.time_ns() - 1_000_000_000
    store.put("a/b", b"1")
    (found,) = store.list("a")
    assert before_ns < found.modified_ns <= time.time_ns() + 1_000_000_000


@pytest.mark.parametrize("name", ["na!c3!afve", "a b", "50%", "utc_day=2026-01-01", "x" * 200])
def test_names_are_kept_letter_by_letter(store: ObjectStore, name: str) -> None:
    """What names.py escapes and what paths consist of comes back as it went in."""
    store.put(f"data/{name}/1", b"1")
    assert store.get(f"data/{name}/1") == b"1"
    assert [found.path for found in store.list("data")] == [f"data/{name}/1"]


def test_the_probe_passes_and_leaves_nothing(store: ObjectStore) -> None:
    """A store that keeps put-if-absent is found so, and is as empty as before."""
    check_put_if_absent(store, "nonce")
    assert list(store.list("")) == []


class Careless:
    """A store whose put-if-absent replaces, as some that call themselves S3 do."""

    url = "s3://careless"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, path: str, data: bytes) -> None:
        self.objects[path] = data

    put_if_absent = put

    def get(self, path: str) -> bytes:
        return self.objects[path]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return iter(())

    def delete(self, path: str) -> None:
        del self.objects[path]

    def local_path(self, path: str) -> str | None:
        return None


class CannotDelete(Careless):
    def delete(self, path: str) -> None:
        raise Unavailable("deleting is not allowed", written="no")


@pytest.mark.parametrize("kind", [Careless, CannotDelete])
def test_a_store_without_put_if_absent_is_refused(kind: type[Careless]) -> None:
    """Two writers would overwrite each other; that is found at start, also where the probe cannot be removed."""
    with pytest.raises(Misconfigured, match=r"^object store s3://careless: a put-if-absent replaced an object"):
        check_put_if_absent(kind(), "nonce")


def test_a_url_chooses_the_store(tmp_path: Path) -> None:
    """A local folder has the store that syncs, everything else obstore."""
    assert isinstance(open_store(f"file://{tmp_path}"), LocalStore)
    assert isinstance(open_store("memory:"), CloudStore)
    assert isinstance(open_store("s3://bucket/prefix"), CloudStore)


@pytest.mark.parametrize("name", ["a#b", "a?b", "50%", "a%20b", "a b", "[x"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """A file URL is read letter by letter: the objects are where --data says."""
    open_store(f"file://{tmp_path}/{name}").put("x", b"1")
    assert (tmp_path / name / "x").read_bytes() == b"1"


@pytest.mark.parametrize(
    "url", ["", "store", "/absolute", "http://host/x", "file:relative", "file://host/x", "file://"]
)
def test_a_url_that_names_no_store_is_refused_with_the_forms(url: str) -> None:
    """The message shows what was given, and what may be."""
    with pytest.raises(Misconfigured, match="file://"):
        open_store(url)


def test_what_obstore_refuses_is_misconfigured() -> None:
    """Its message comes through under the URL."""
    with pytest.raises(Misconfigured, match="object store 's3://': "):
        open_store("s3://")
