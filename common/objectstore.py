"""The object store: a few calls, and put-if-absent as the only compare-and-swap.

open_store(url) gives
    file:///path          a local folder through a thin store of our own that really syncs (localstore.py)
    memory:               in this process alone, for tests
    s3://… gs://… az://…  through obstore
Paths are relative, `/` between components, no component empty or starting with a dot.

Store work that must be right under every interleaving (the manifest, the schema) is written as generators of store
calls, `Steps`: `run` performs them against a store; tests perform them one at a time, in any order, with a crash or an
unknown outcome at each.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from common.errors import InvalidRequest, Misconfigured, PenstockError, Unavailable
from common.urls import local_folder


class NotFound(InvalidRequest):
    """No object at that path."""


class AlreadyExists(InvalidRequest):
    """put_if_absent found an object there. It may be one's own, written by a call whose answer was lost."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    path: str
    size_bytes: int


class ObjectStore(Protocol):
    """Synchronous, safe from any thread. What a call returned without an error is durable."""

    url: str

    def put(self, path: str, data: bytes) -> None:
        """Write, replacing what is there. Raises Unavailable (`written: unknown`)."""
        ...

    def put_if_absent(self, path: str, data: bytes) -> None:
        """Write where nothing is. Raises AlreadyExists, or Unavailable (`written: unknown`): then read to know."""
        ...

    def get(self, path: str) -> bytes:
        """Raises NotFound, Unavailable."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Everything below the folder `prefix`, at any depth, in no particular order."""
        ...

    def delete(self, path: str) -> None:
        """Remove; fine when nothing is there. Raises Unavailable."""
        ...

    def local_path(self, path: str) -> str | None:
        """Where `path` stands in this machine's file system, for readers that take files; None where it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Get:
    """A step: answered with the bytes; raises NotFound or Unavailable at the yield."""

    path: str


@dataclass(frozen=True, slots=True)
class PutIfAbsent:
    """A step: answered with b""; raises AlreadyExists or Unavailable at the yield."""

    path: str
    data: bytes


StoreCall = Get | PutIfAbsent
T = TypeVar("T")
Steps = Generator[StoreCall, bytes, T]


def perform(call: StoreCall, store: ObjectStore) -> bytes:
    """One step against a store."""
    match call:
        case Get(path):
            return store.get(path)
        case PutIfAbsent(path, data):
            store.put_if_absent(path, data)
            return b""


def run(steps: Steps[T], store: ObjectStore) -> T:
    """All steps against a store, one after another; what they return, or what they raise."""
    try:
        call = next(steps)
        while True:
            try:
                answer = perform(call, store)
            except PenstockError as error:
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


def open_store(url: str) -> ObjectStore:
    """The store that `url` names; nothing is read or written yet. Raises Misconfigured with the right forms."""
    scheme = url.partition(":")[0]
    if scheme == "file":
        from common.disk import LocalDisk
        from common.localstore import LocalStore

        folder = local_folder(url)
        if folder is None:
            raise Misconfigured(f"object store {url!r}: a local folder is file:// and an absolute path", url=url)
        return LocalStore(LocalDisk(), folder)
    if scheme in ("memory", "s3", "gs", "az"):
        from common.cloudstore import CloudStore

        return CloudStore(url)
    raise Misconfigured(
        f"object store {url!r}: give file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix, "
        "az://container/prefix or memory:",
        url=url,
    )


PROBE = "probe/put-if-absent"


def check_put_if_absent(store: ObjectStore, nonce: str) -> None:
    """Prove at start, with two puts, that the store refuses the second. Raises Misconfigured where it does not."""
    path = f"{PROBE}-{nonce}"
    try:
        store.put_if_absent(path, b"1")
        store.put_if_absent(path, b"2")
    except AlreadyExists:
        return
    else:
        raise Misconfigured(
            f"object store {store.url}: a put-if-absent replaced an object; without it two writers would "
            "overwrite each other. Use a store that keeps conditional puts",
            url=store.url,
        )
    finally:
        _forget(store, path)


def _forget(store: ObjectStore, path: str) -> None:
    try:
        store.delete(path)
    except Unavailable:
        return  # the probe's object is nobody's; `gc` may find it
