"""An object store in a local folder, durable at each return.

put and put_if_absent: temporary file, fsync, rename or link, fsync of the folder and of each folder that was made.
make_durable: fsync of the folder, for the process that wrote may have been killed before its own.
(obstore's local store never syncs; a power cut could leave a manifest record that names an empty file.)
Temporary files lie in `.tmp` below the root: a crash leaves them there, `remove_leftovers` takes them away after a day.

The root is made by the first put, until `keep_root`: a root that is missing later was moved away or is not mounted, and
a tree made in its place would hide what is there.
"""

import itertools
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath

from common.store.disk import Disk, FileStat
from common.store.disk_errors import plain
from common.store.objects import AlreadyExists, NotFound, StoredObject
from common.values.errors import InvalidRequest, Unavailable, Written

_TEMPORARY = ".tmp"
_COMPONENT = re.compile(r"[^./\0][^/\0]*")
_LEFTOVER_AGE_NS = 24 * 3600 * 1_000_000_000
_NOTHING_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""For a read or a delete, a folder or a path through a file is no object, as in any object store."""
_counter = itertools.count()


class LocalStore:
    """An ObjectStore over a Disk. Implements InFolder."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder
        self._keeps_root = False
        self._synced_folders: set[str] = set()
        self._lock = threading.Lock()
        self.url = f"file://{folder}"

    def keep_root(self) -> None:
        with self._lock:
            self._keeps_root = True
            self._synced_folders = set()  # a new one: who still syncs below the first root adds to that one's

    def stat(self, path: str) -> FileStat | None:
        with self._translated(path, "no"):
            return self._disk.stat(self._target(path) if path else self._folder)

    def put(self, path: str, data: bytes) -> None:
        target = self._target(path)
        folder = str(PurePosixPath(target).parent)
        with self._translated(path, "unknown"):
            temporary = self._write_temporary(data)
            self._make_folder(folder)
            self._disk.rename(temporary, target)
            self._disk.sync_folder(folder)

    def put_if_absent(self, path: str, data: bytes) -> None:
        target = self._target(path)
        folder = str(PurePosixPath(target).parent)
        with self._translated(path, "unknown"):
            if self._disk.stat(target):
                self._disk.sync_folder(folder)
                raise AlreadyExists(f"object {path} exists already", path=path)
            temporary = self._write_temporary(data)
            try:
                self._make_folder(folder)
                exists = self._link(temporary, target)
            finally:
                self._disk.remove(temporary)
            # Also when it exists: its writer may not have synced yet, and the caller acts on "it exists": a power cut
            # must not undo that.
            self._disk.sync_folder(folder)
        if exists:
            raise AlreadyExists(f"object {path} exists already", path=path)

    def get(self, path: str) -> bytes:
        target = self._target(path)
        with self._translated(path, "no"):
            try:
                return self._read(target)
            except _NOTHING_THERE as error:
                raise NotFound(f"no object at {path}", path=path) from error

    def make_durable(self, path: str) -> None:
        """The folders above were synced before the object got its name; its bytes, too."""
        target = self._target(path)
        with self._translated(path, "no"):
            found = self._disk.stat(target)
            if found is None or found.is_folder:
                raise NotFound(f"no object at {path}", path=path)
            self._disk.sync_folder(str(PurePosixPath(target).parent))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        start = self._target(prefix) if prefix else self._folder
        yield from self._walk(prefix.rstrip("/"), start)

    def delete(self, path: str) -> None:
        target = self._target(path)
        with self._translated(path, "unknown"):
            try:
                self._disk.remove(target)
            except _NOTHING_THERE:
                return
            self._disk.sync_folder(str(PurePosixPath(target).parent))

    def remove_leftovers(self, now_ns: int) -> int:
        """Remove temporary files that dead processes left over a day ago; returns how many."""
        folder = f"{self._folder}/{_TEMPORARY}"
        with self._translated(_TEMPORARY, "unknown"):
            names = self._disk.names(folder) if self._disk.stat(folder) else []
            return sum(self._remove_leftover(f"{folder}/{name}", now_ns) for name in names)

    def _remove_leftover(self, name: str, now_ns: int) -> bool:
        found = self._disk.stat(name)
        if found is None or now_ns - found.modified_ns <= _LEFTOVER_AGE_NS:
            return False
        try:
            self._disk.remove(name)
        except FileNotFoundError:
            return False  # the processes of a cluster start together, and another was faster
        return True

    def local_path(self, path: str) -> str | None:
        return self._target(path)

    def _target(self, path: str) -> str:
        components = path.rstrip("/").split("/")
        if not all(map(_COMPONENT.fullmatch, components)):
            raise InvalidRequest(f"object path {path!r}: a component must not be empty or start with a dot", path=path)
        return f"{self._folder}/{'/'.join(components)}"

    def _read(self, target: str) -> bytes:
        file = self._disk.open(target)
        try:
            return file.read_at(0, file.size())
        finally:
            file.close()

    def _link(self, temporary: str, target: str) -> bool:
        """Link `temporary` to `target`, unless something exists there."""
        try:
            self._disk.link(temporary, target)
        except FileExistsError:
            return True
        return False

    def _write_temporary(self, data: bytes) -> str:
        folder = f"{self._folder}/{_TEMPORARY}"
        self._make_folder(folder)
        name = f"{folder}/{os.getpid()}-{threading.get_ident()}-{next(_counter)}-{os.urandom(6).hex()}"
        file = self._disk.create(name)
        try:
            file.write_at(0, [data])
            file.sync_data()
        except OSError:
            self._disk.remove(name)
            raise
        finally:
            file.close()
        return name

    def _make_folder(self, folder: str) -> None:
        """Make what is missing; a folder that exists is synced once, for its maker may have died before it did."""
        with self._lock:
            synced = self._synced_folders
        if folder in synced and self._disk.stat(folder):
            return
        self._disk.make_folder(folder, self._folder if self._keeps_root else "/")
        at, here = folder, []
        while at.startswith(self._folder) and at not in synced:
            # Without the lock: several threads that make folders beside each other wait for the disk together.
            here.append(at)
            at = str(PurePosixPath(at).parent)
            self._disk.sync_folder(at)
        synced.update(here)  # at the end: for others each of them means all folders above it, too

    def _walk(self, path: str, folder: str) -> Iterator[StoredObject]:
        for name, found in self._names(path, folder):
            below = f"{path}/{name}" if path else name
            if found.is_folder:
                yield from self._walk(below, f"{folder}/{name}")
            else:
                yield StoredObject(below, found.size_bytes, found.modified_ns)

    def _names(self, path: str, folder: str) -> Sequence[tuple[str, FileStat]]:
        with self._translated(path, "no"):
            here = self._disk.stat(folder)
            names = self._disk.names(folder) if here and here.is_folder else []
            stats = [(name, self._disk.stat(f"{folder}/{name}")) for name in names if not name.startswith(".")]
        return [(name, found) for name, found in stats if found]

    @contextmanager
    def _translated(self, path: str, written: Written) -> Iterator[None]:
        """The operating system's errors as penstock's: each may pass while the process runs, a permission too."""
        try:
            yield
        except OSError as error:
            message = f"object store: {path}: {plain(error, self._folder)}"
            raise Unavailable(message, written=written, path=path) from error
