"""The object store of one cluster: every call proves that it is still the one that was joined.

A folder can be moved away, unmounted, deleted or restored from a copy under a running process, a bucket emptied. An
empty or another store in its place would be answered with "no object" and filled again: rows that were acknowledged
would be in neither. So
- around each call it is compared with the one that was joined: a local folder by the device and inode of its root and
  of cluster.json, and where those differ by the cluster id in cluster.json; a cloud by that id, before each write, and
  wherever a read finds nothing
- a store that was away or was replaced must also hold what this process wrote last: a copy of the same cluster that is
  older must not be written to by a process that knows more than it holds
- otherwise the call raises Unavailable (`written: no` before a write), and nothing is made or written. Once the right
  store is back, work goes on by itself.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import xxhash

from common.catalog import cluster as cluster_file
from common.catalog import paths
from common.catalog.bounded_look import LOOK_S, BoundedLook
from common.catalog.cluster import Cluster
from common.logs import Logger
from common.store.disk import FileStat
from common.store.objects import AlreadyExists, InFolder, NotFound, ObjectStore, StoredObject
from common.values.errors import PenstockError, Unavailable

_REMEDY = "Nothing was made or written there. Bring the right one back (move it back, or mount it); work then goes on"


@dataclass(frozen=True, slots=True)
class _Place:
    """Which folder and which cluster.json were seen; both are None for a store that is not in a folder."""

    root: FileStat | None = None
    cluster_json: FileStat | None = None

    def is_same(self, other: "_Place") -> bool:
        """The root's size and time follow what is in it; those of cluster.json never change."""
        return _identity(self.root) == _identity(other.root) and self.cluster_json == other.cluster_json


@dataclass(frozen=True, slots=True)
class _Put:
    path: str
    checksum: int


class JoinedStore:
    """An ObjectStore that wraps another. Safe from any thread. `away` says why it cannot be used, as far as known.

    Calls may hang as long as the wrapped store does; `away` and `unusable` never do.
    """

    def __init__(self, store: ObjectStore, cluster: Cluster, logger: Logger) -> None:
        """The store may be away: it is proven at the first call."""
        self.url = store.url
        self._store = store
        self._folder = store if isinstance(store, InFolder) else None
        self._cluster_id = cluster.cluster_id
        self._logger = logger
        self._proven: _Place | None = None
        """As of the last proof; None before the first one, and while the store is away."""
        self._first: _Place | None = None
        self._last_put: _Put | None = None
        self._away = ""
        self._proving = threading.Lock()
        self._folder_look = BoundedLook(self._look_again)
        if self._folder:
            self._folder.keep_root()

    @property
    def away(self) -> str:
        """Why the store cannot be used; "" if it can, as far as is known.

        A folder is looked at now, if that takes no longer than LOOK_S; a cloud is as of its last call.
        """
        if self._folder:
            self._folder_look.wait()
        return self._away

    @property
    def unusable(self) -> str:
        """The same for people to read, a folder that does not answer included."""
        if self._folder and not self._folder_look.wait():
            return f"object store {self.url} does not answer: a look at its folder has not come back after {LOOK_S:g} s"
        return self._away

    def put(self, path: str, data: bytes) -> None:
        self.prove()
        self._store.put(path, data)
        self._wrote(path, data)

    def put_if_absent(self, path: str, data: bytes) -> None:
        self.prove()
        try:
            self._store.put_if_absent(path, data)
        except AlreadyExists:
            self._prove_after()
            raise
        self._wrote(path, data)

    def get(self, path: str) -> bytes:
        try:
            data = self._store.get(path)
        except NotFound:
            self.prove()
            raise
        if self._folder:  # in a cloud each read would cost two
            self.prove()
        return data

    def make_durable(self, path: str) -> None:
        self.prove()
        self._store.make_durable(path)
        self._prove_after()

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self.prove()
        yield from self._store.list(prefix)
        self.prove()

    def delete(self, path: str) -> None:
        self.prove()
        self._store.delete(path)
        if self._last_put and self._last_put.path == path:
            self._last_put = None

    def local_path(self, path: str) -> str | None:
        return self._store.local_path(path)

    def prove(self) -> None:
        """Raise Unavailable (`written: no`) unless this is the store that was joined."""
        try:
            seen = self._look()
            if self._folder and self._proven and self._proven.is_same(seen):
                return
            with self._proving:
                self._prove_by_content(seen)
        except PenstockError as error:
            self._lost(error.message)
            raise Unavailable(error.message, written="no", store=self.url) from error
        self._found(seen)

    def _look_again(self) -> None:
        with contextlib.suppress(Unavailable):  # it is in `_away`
            self.prove()

    def _wrote(self, path: str, data: bytes) -> None:
        self._prove_after()
        self._last_put = _Put(path, xxhash.xxh3_64_intdigest(data))

    def _prove_after(self) -> None:
        """What was written, or found, may be in a folder that was replaced since it was proven."""
        if self._folder:
            try:
                self.prove()
            except Unavailable as error:
                raise Unavailable(error.message, written="unknown", store=self.url) from error

    def _look(self) -> _Place:
        return _Place(self._folder.stat(""), self._folder.stat(paths.CLUSTER)) if self._folder else _Place()

    def _prove_by_content(self, seen: _Place) -> None:
        if self._folder and seen.root is None:
            raise Unavailable(f"{self._here()}: the folder is gone. {_REMEDY}")
        try:
            found = cluster_file.parse(self._store.get(paths.CLUSTER), f"{self.url}/{paths.CLUSTER}")
        except NotFound:
            raise Unavailable(f"{self._here()}: {self._without_cluster_json(seen)}") from None
        if found.cluster_id != self._cluster_id:
            raise Unavailable(f"{self._here()}: it holds cluster {found.cluster_id} now. {_REMEDY}")
        if self._last_put and (self._folder or not self._proven):
            self._prove_not_older(self._last_put)

    def _prove_not_older(self, last: _Put) -> None:
        try:
            is_there = xxhash.xxh3_64_intdigest(self._store.get(last.path)) == last.checksum
        except NotFound:
            is_there = False
        if not is_there:
            raise Unavailable(
                f"{self._here()}: it holds this cluster, but not {last.path} as this process wrote it: it is an older "
                "copy, or an incomplete one. Nothing was written there. Bring the right one back; to go on with the "
                "copy, stop all processes of the cluster and start them again"
            )

    def _without_cluster_json(self, seen: _Place) -> str:
        first = self._first
        if self._folder and first and _identity(first.root) == _identity(seen.root):
            return (
                f"its {paths.CLUSTER} is gone. Put it back from the copy in a data folder; work then goes on by itself"
            )
        what = "the folder there is another one, without" if self._folder and first else "there is no"
        return f"{what} {paths.CLUSTER}: it is not mounted, or was deleted. {_REMEDY}"

    def _here(self) -> str:
        at = self._first.root if self._first else None
        where = f", device {at.device}, inode {at.inode}" if at else ""
        return f"object store {self.url} is not the one that was joined (cluster {self._cluster_id}{where})"

    def _lost(self, reason: str) -> None:
        if self._away != reason:
            self._logger.warning("object store is away", reason=reason)
        self._proven, self._away = None, reason

    def _found(self, seen: _Place) -> None:
        if self._folder and self._first and not self._first.is_same(seen):
            self._folder.keep_root()
        if self._away:
            self._logger.info("object store is back", store=self.url)
        self._first, self._proven, self._away = seen, seen, ""


def _identity(found: FileStat | None) -> tuple[int, int] | None:
    return (found.device, found.inode) if found else None
