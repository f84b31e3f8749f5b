"""A Disk in memory that loses power: what was not synced is lost, kept, torn or reordered (crash_model.py).

`crash(rng)` cuts the power and draws what is left; `Image` (crash_model.py) has all that may be left, to be enumerated
(crash_states.py). `kill` ends the process alone. `fail` makes chosen operations fail; what a failed sync was to write
may never reach the disk while reads still see it, as on Linux after EIO. `crash_at` cuts the power inside the nth
operation that changes anything.
"""

import errno
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from common.store.disk import Buffers, FileStat, Locked
from tests.support.crash_model import SECTOR_BYTES, Act, Content, Folder, Image, files


class PowerCut(BaseException):
    """The machine stopped in the middle of an operation. No product code may catch and survive it."""


@dataclass
class _Failure:
    act: str
    number: int
    error: int
    kept_bytes: int


class CrashDisk:
    """Implements Disk. Safe to call from several threads.

    space_bytes: once the files would take more, writes and allocations fail with ENOSPC after filling it up.
    operations: how many changing operations were begun. failed: those that were made to fail.
    """

    def __init__(self, root: Folder | None = None) -> None:
        """root: what is on it, as an Image left it."""
        self.space_bytes: int | None = None
        self.operations = 0
        self.failed: list[str] = []
        self.on_sync: Callable[[str], None] = lambda path: None
        """Called at the start of each sync of a file, without the lock: a test may block there."""
        self.on_change: Callable[[str], None] = lambda what: None
        """Called before each changing operation, with its description."""
        self._crash_at: int | None = None
        self._root = root or Folder()
        self._failures: list[_Failure] = []
        self._locks: dict[str, tuple[object, bytes]] = {}
        self._powered = object()
        self._lock = threading.RLock()

    def fail(self, act: str, error: int, *, number: int = 1, times: int = 1, kept_bytes: int = 0) -> None:
        """Make the `number`th `act` from now on fail, and those after it, `times` in all.

        act: create, write, allocate, truncate, sync, sync_folder, link, rename, remove or make_folder. kept_bytes: of a
        write.
        """
        self._failures += [_Failure(act, number + further, error, kept_bytes) for further in range(times)]

    def heal(self) -> None:
        """Nothing fails any more, and there is room."""
        self._failures.clear()
        self.space_bytes = None

    def crash_at(self, operations: int) -> None:
        """Cut the power once that many more operations were begun; the last may be done, or not, or in part."""
        self._crash_at = self.operations + operations

    def image(self) -> Image:
        with self._lock:
            return Image(self._root)

    def crash(self, rng: random.Random) -> None:
        """Start again after a power cut: open files are dead, locks are free."""
        with self._lock:
            image = self.image()
            self._root = image.left(image.drawn(rng))
            self.kill()

    def kill(self) -> None:
        """End the process that uses it: as `crash`, but what was not synced stays as it is, and unsynced."""
        with self._lock:
            self._powered = object()
            self._locks.clear()
            self._failures.clear()
            self._crash_at = None

    def create(self, path: str) -> "CrashFile":
        with self._lock:
            self._begin("create", path)
            folder, name = self._at(path)
            if name in folder.now:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            content = Content()
            folder.change(Act(content, new=name))
            return CrashFile(self, path, content)

    def open(self, path: str, *, write: bool = False) -> "CrashFile":
        with self._lock:
            return CrashFile(self, path, self._content(path))

    def stat(self, path: str) -> FileStat | None:
        with self._lock:
            try:
                found = self._node(path)
            except (FileNotFoundError, NotADirectoryError):
                return None
            is_folder = isinstance(found, Folder)
            return FileStat(0 if is_folder else len(found.now), 0, is_folder, device=0, inode=id(found))

    def names(self, folder: str) -> list[str]:
        with self._lock:
            return sorted(self._folder(folder).now)

    def make_folder(self, path: str, root: str = "/") -> None:
        """As LocalDisk does it: one folder and one sync after another."""
        with self._lock:
            missing = []
            at = PurePosixPath(path)
            while (found := self.stat(str(at))) is None or not found.is_folder:
                if str(at) == root:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), root)
                missing.append(at)
                at = at.parent
            self.sync_folder(str(at.parent))
            for folder in reversed(missing):
                self._begin("make_folder", str(folder))
                above, name = self._at(str(folder))
                above.change(Act(Folder(), new=name))
                self.sync_folder(str(folder.parent))

    def link(self, source: str, target: str) -> None:
        with self._lock:
            self._begin("link", target)
            content = self._content(source)
            folder, name = self._at(target)
            if name in folder.now:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
            folder.change(Act(content, new=name))

    def rename(self, source: str, target: str) -> None:
        """Across folders the two halves may survive apart, as on a file system without a journal."""
        with self._lock:
            self._begin("rename", target)
            content = self._content(source)
            from_folder, from_name = self._at(source)
            to_folder, to_name = self._at(target)
            if from_folder is to_folder:
                to_folder.change(Act(content, gone=from_name, new=to_name))
            else:
                to_folder.change(Act(content, new=to_name))
                from_folder.change(Act(content, gone=from_name))

    def remove(self, path: str) -> None:
        with self._lock:
            self._begin("remove", path)
            content = self._content(path)
            folder, name = self._at(path)
            folder.change(Act(content, gone=name))

    def sync_folder(self, path: str) -> None:
        with self._lock:
            self._begin("sync_folder", path)
            self._folder(path).sync()

    def lock(self, path: str, holder: bytes) -> "CrashLock":
        with self._lock:
            if path in self._locks:
                raise Locked(self._locks[path][1])
            lock = CrashLock(self, path)
            self._locks[path] = (lock, holder)
            return lock

    def unlock(self, path: str, lock: object) -> None:
        with self._lock:
            if path in self._locks and self._locks[path][0] is lock:
                del self._locks[path]

    def corrupt(self, path: str, position: int, data: bytes) -> None:
        """Change stored bytes with no operation on the disk, as rot does."""
        with self._lock:
            content = self._content(path)
            content.write(position, data)
            content.sync()

    def used_bytes(self) -> int:
        contents = {id(one): one for _, one in files(self._root) if one is not None}
        return sum(len(content.now) for content in contents.values())

    def _begin(self, act: str, path: str, detail: str = "") -> None:
        """Count one changing operation. Raises PowerCut, or the OSError asked for."""
        self.on_change(f"{act} {path}{detail}")
        self.operations += 1
        if self._crash_at is not None and self.operations >= self._crash_at:
            raise PowerCut(f"{act} {path}")
        counting = [one for one in self._failures if one.act == act]
        for failure in counting:
            failure.number -= 1
        due = [one for one in counting if one.number == 0]
        if due:
            self._failures = [one for one in self._failures if one not in due]
            self.failed.append(f"{act} {path}")
            raise _Injected(due[0].error, due[0].kept_bytes, path)

    def _room(self, growth: int) -> int:
        """How much of `growth` bytes still fits."""
        if self.space_bytes is None:
            return growth
        return max(0, min(growth, self.space_bytes - self.used_bytes()))

    def _node(self, path: str) -> Content | Folder:
        node: Content | Folder = self._root
        for name in path.split("/"):
            if not name:
                continue
            if not isinstance(node, Folder):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            if name not in node.now:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            node = node.now[name]
        return node

    def _folder(self, path: str) -> Folder:
        node = self._node(path)
        if isinstance(node, Content):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return node

    def _at(self, path: str) -> tuple[Folder, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def _content(self, path: str) -> Content:
        node = self._node(path)
        if isinstance(node, Folder):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return node


class CrashFile:
    """Implements DiskFile. Dead after a crash, as every descriptor is."""

    def __init__(self, disk: CrashDisk, path: str, content: Content) -> None:
        self._disk = disk
        self._path = path
        self._content = content
        self._powered: object | None = disk._powered

    def read_at(self, position: int, length: int) -> bytes:
        with self._alive():
            return bytes(self._content.now[position : position + length])

    def write_at(self, position: int, buffers: Buffers) -> None:
        with self._alive():
            data = b"".join(buffers)
            try:
                self._disk._begin("write", self._path, f" {position}+{len(data)}")
            except PowerCut:
                self._content.write(position, data)
                raise
            except _Injected as error:
                self._content.write(position, data[: error.kept_bytes])
                raise
            growth = max(0, position + len(data) - len(self._content.now))
            missing = growth - self._disk._room(growth)
            if missing:
                self._content.write(position, data[: max(0, len(data) - missing)])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
            self._content.write(position, data)

    def allocate(self, length: int) -> None:
        with self._alive():
            self._disk._begin("allocate", self._path, f" {length}")
            growth = max(0, length - len(self._content.now))
            room = self._disk._room(growth)
            if room:
                self._content.resize(len(self._content.now) + room)
            if room < growth:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)

    def truncate(self, length: int) -> None:
        with self._alive():
            self._disk._begin("truncate", self._path, f" {length}")
            self._content.resize(length)

    def size(self) -> int:
        with self._alive():
            return len(self._content.now)

    def allocated(self) -> int:
        with self._alive():
            return -(-len(self._content.now) // SECTOR_BYTES) * SECTOR_BYTES

    def sync_data(self) -> None:
        self._disk.on_sync(self._path)
        with self._alive():
            try:
                self._disk._begin("sync", self._path)
            except _Injected:
                self._content.sync_failed()
                raise
            self._content.sync()

    def close(self) -> None:
        self._powered = None

    def _alive(self) -> threading.RLock:  # type: ignore[valid-type]
        if self._powered is not self._disk._powered:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self._path)
        return self._disk._lock


class CrashLock:
    def __init__(self, disk: CrashDisk, path: str) -> None:
        self._disk = disk
        self._path = path

    def close(self) -> None:
        self._disk.unlock(self._path, self)


class _Injected(OSError):
    def __init__(self, error: int, kept_bytes: int, path: str) -> None:
        super().__init__(error, os.strerror(error), path)
        self.kept_bytes = kept_bytes
