"""The object store: a few calls, and put-if-absent as the only compare-and-swap.

Paths are relative, `/` between components, no component empty or starting with a dot.

Store work that must be right under every interleaving (the manifest, the schema) is written as generators of store
calls, `Steps`: `run` performs them against a store; tests perform them one at a time, in any order, with a crash or an
unknown outcome at each.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from common.store.disk import FileStat
from common.values.errors import InvalidRequest, PenstockError


class NotFound(InvalidRequest):
    """No object at that path."""


class AlreadyExists(InvalidRequest):
    """put_if_absent found an object there. It may be one's own, written by a call whose answer was lost."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """modified_ns: when it was put, since 1970, by the store's clock; not compared."""

    path: str
    size_bytes: int
    modified_ns: int = field(default=0, compare=False)


class ObjectStore(Protocol):
    """Synchronous, safe from any thread. What a put or delete returned without an error is durable.

    What a get returned may not be: its writer may have died, or met an error, between the object and its durability.
    Before an action that relies on it and that a crash does not undo (trim a log, write the next number, answer that
    it is settled), call `make_durable`.
    """

    url: str

    def put(self, path: str, data: bytes) -> None:
        """Write, replacing what is there. Raises Unavailable (`written: unknown`)."""
        ...

    def put_if_absent(self, path: str, data: bytes) -> None:
        """Write where nothing is.

        Raises AlreadyExists (what is there is durable), or Unavailable (`written: unknown`): then read to know.
        """
        ...

    def get(self, path: str) -> bytes:
        """Raises NotFound, Unavailable."""
        ...

    def make_durable(self, path: str) -> None:
        """Make sure that what is at `path` survives a crash. Raises NotFound, Unavailable."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Everything below the folder `prefix`, at any depth, in no particular order."""
        ...

    def delete(self, path: str) -> None:
        """Remove; fine when nothing is there. Raises Unavailable."""
        ...

    def local_path(self, path: str) -> str | None:
        """Where `path` is in this machine's file system, for readers that take files; None in a cloud."""
        ...


@runtime_checkable
class InFolder(Protocol):
    """A store in a local folder, which may be moved away or replaced while processes use it."""

    def keep_root(self) -> None:
        """The root exists from now on, and is never made: where it is missing, puts raise Unavailable.

        Called again when another root is in its place: what is known to be synced below the first one is forgotten.
        """
        ...

    def stat(self, path: str) -> FileStat | None:
        """Which file or folder `path` is ("" is the root); None where there is none. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Get:
    """A step: answered with the bytes; raises NotFound or Unavailable at the yield."""

    path: str


@dataclass(frozen=True, slots=True)
class GetAll:
    """A step: answered with the bytes at each path, None where nothing is; raises Unavailable at the yield.

    The reads are made at the same time, in any order.
    """

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PutAll:
    """A step: each path gets its bytes, replacing what is there; raises Unavailable: any of them may be written.

    The writes are made at the same time, in any order.
    """

    objects: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class List:
    """A step: answered with the paths of everything below the folder `prefix`; raises Unavailable at the yield."""

    prefix: str


@dataclass(frozen=True, slots=True)
class MakeDurable:
    """A step: answered once what is at `path` is durable; raises NotFound or Unavailable at the yield."""

    path: str


@dataclass(frozen=True, slots=True)
class PutIfAbsent:
    """A step: answered with b""; raises AlreadyExists or Unavailable at the yield."""

    path: str
    data: bytes


StoreCall = Get | GetAll | List | PutIfAbsent | PutAll | MakeDurable
Item = TypeVar("Item")
T = TypeVar("T")
Steps = Generator[StoreCall, Any, T]

PARALLEL = 32
"""Calls of one step at the same time: a window of manifest records takes three times as long as one of them."""


def perform(call: StoreCall, store: ObjectStore) -> Any:
    """One step against a store; what it is answered with: b"" where the call gives nothing."""
    match call:
        case Get(path):
            return store.get(path)
        case GetAll(paths):
            return tuple(_together(lambda path: _get_or_none(store, path), paths))
        case List(prefix):
            return tuple(found.path for found in store.list(prefix))
        case PutIfAbsent(path, data):
            store.put_if_absent(path, data)
        case PutAll(objects):
            _together(lambda pair: store.put(*pair), objects)
        case MakeDurable(path):
            store.make_durable(path)
    return b""


def _get_or_none(store: ObjectStore, path: str) -> bytes | None:
    try:
        return store.get(path)
    except NotFound:
        return None


def _together(act: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
    """What `act` returns for each, in order; at the same time where they are several. Raises the first error."""
    if len(items) < 2:
        return [act(item) for item in items]
    with ThreadPoolExecutor(min(len(items), PARALLEL)) as pool:
        return list(pool.map(act, items))


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
