"""A Disk in memory with a crash model: what was not synced may be lost, kept, torn or reordered.

`crash(rng)` cuts the power. Of each file's unsynced writes any subset survives, each torn at 512-byte sectors; of its
unsynced size changes any survives or not; of each folder's unsynced names any subset survives (a rename as one). What
was synced survives as it was. `fail` makes chosen operations fail; a failed sync drops what it should have made durable
from the disk for ever while reads still see it, as Linux does after EIO. `crash_at` cuts the power inside the nth
operation that changes anything.
"""

import errno
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from common.disk import Buffers, FileStat, Locked

SECTOR_BYTES = 512


class PowerCut(BaseException):
    """The machine stopped in the middle of an operation. No product code may catch and survive it."""


@dataclass
class _Content:
    """A file without its name. pending: what changed since the last sync, in order, each applicable by itself."""

    now: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)

    def write(self, position: int, data: bytes) -> None:
        self._put(self.now, position, data)
        self.pending.append((position, data))

    def resize(self, length: int) -> None:
        self._set_size(self.now, length)
        self.pending.append(length)

    def sync(self) -> None:
        """What an earlier sync failed to write stays unwritten: its pages count as clean."""
        durable = bytearray(self.durable)
        for change in self.pending:
            if isinstance(change, int):
                self._set_size(durable, change)
            else:
                self._put(durable, *change)
        self.durable, self.pending = bytes(durable), []

    def crash(self, rng: random.Random) -> None:
        left = bytearray(self.durable)
        for change in self.pending:
            if isinstance(change, int):
                if rng.random() < 0.5:
                    self._set_size(left, change)
            else:
                self._tear(left, *change, rng)
        self.now, self.durable, self.pending = left, bytes(left), []

    def _tear(self, left: bytearray, position: int, data: bytes, rng: random.Random) -> None:
        fate = rng.choice(("kept", "lost", "torn"))
        at = 0
        while at < len(data):
            length = SECTOR_BYTES - (position + at) % SECTOR_BYTES
            if fate == "kept" or (fate == "torn" and rng.random() < 0.5):
                self._put(left, position + at, data[at : at + length])
            at += length

    @staticmethod
    def _put(content: bytearray, position: int, data: bytes) -> None:
        if position > len(content):
            content.extend(bytes(position - len(content)))
        content[position : position + len(data)] = data

    @staticmethod
    def _set_size(content: bytearray, length: int) -> None:
        if length < len(content):
            del content[length:]
        else:
            content.extend(bytes(length - len(content)))


Names = dict[str, _Content]


@dataclass
class _Folder:
    now: Names = field(default_factory=dict)
    durable: Names = field(default_factory=dict)
    pending: list[Callable[[Names], None]] = field(default_factory=list)

    def change(self, act: Callable[[Names], None]) -> None:
        act(self.now)
        self.pending.append(act)

    def sync(self) -> None:
        self.durable = dict(self.now)
        self.pending.clear()

    def crash(self, rng: random.Random) -> None:
        names = dict(self.durable)
        for act in self.pending:
            if rng.random() < 0.5:
                act(names)
        self.now, self.durable, self.pending = names, dict(names), []


@dataclass
class _Failure:
    act: str
    number: int
    error: int
    kept_bytes: int


class CrashDisk:
    """Implements Disk. Safe to call from several threads.

    space_bytes: once the files would take more, writes and allocations fail with ENOSPC after filling it up.
    operations: how many changing operations were begun.
    """

    def __init__(self) -> None:
        self.space_bytes: int | None = None
        self.operations = 0
        self.on_sync: Callable[[str], None] = lambda path: None
        """Called at the start of each sync of a file, without the lock: a test may block there."""
        self._crash_at: int | None = None
        self._folders: dict[str, _Folder] = {"/": _Folder()}
        self._failures: list[_Failure] = []
        self._locks: dict[str, tuple[object, bytes]] = {}
        self._powered = object()
        self._lock = threading.RLock()

    def fail(self, act: str, error: int, *, number: int = 1, times: int = 1, kept_bytes: int = 0) -> None:
        """Make the `number`th `act` from now on fail, and those after it, `times` in all.

        act: create, write, allocate, truncate, sync, sync_folder, link, rename or remove. kept_bytes: of a write.
        """
        self._failures += [_Failure(act, number + further, error, kept_bytes) for further in range(times)]

    def crash_at(self, operations: int) -> None:
        """Cut the power once that many more operations were begun; the last may be done, or not, or in part."""
        self._crash_at = self.operations + operations

    def crash(self, rng: random.Random) -> None:
        """Start again after a power cut: open files are dead, locks are free."""
        with self._lock:
            for folder in self._folders.values():
                folder.crash(rng)
            contents = {id(one): one for folder in self._folders.values() for one in folder.now.values()}
            for content in contents.values():
                content.crash(rng)
            self._powered = object()
            self._locks.clear()
            self._failures.clear()
            self._crash_at = None

    def create(self, path: str) -> "CrashFile":
        with self._lock:
            self._begin("create", path)
            folder, name = self._at(path)
            if name in folder.now or path in self._folders:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            content = _Content()
            folder.change(lambda names: names.update({name: content}))
            return CrashFile(self, path, content)

    def open(self, path: str, *, write: bool = False) -> "CrashFile":
        with self._lock:
            return CrashFile(self, path, self._content(path))

    def stat(self, path: str) -> FileStat | None:
        with self._lock:
            if path in self._folders:
                return FileStat(0, 0, True)
            try:
                return FileStat(len(self._content(path).now), 0, False)
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        with self._lock:
            if folder not in self._folders:
                raise _not_found(folder)
            below = [path for path in self._folders if path != "/" and str(PurePosixPath(path).parent) == folder]
            return sorted([*self._folders[folder].now, *(PurePosixPath(path).name for path in below)])

    def make_folder(self, path: str) -> None:
        with self._lock:
            for folder in (*reversed(PurePosixPath(path).parents), PurePosixPath(path)):
                self._folders.setdefault(str(folder), _Folder())

    def link(self, source: str, target: str) -> None:
        with self._lock:
            self._begin("link", target)
            content = self._content(source)
            folder, name = self._at(target)
            if name in folder.now:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
            folder.change(lambda names: names.update({name: content}))

    def rename(self, source: str, target: str) -> None:
        """Across folders the two halves may survive apart, as on a file system without a journal."""
        with self._lock:
            self._begin("rename", target)
            content = self._content(source)
            from_folder, from_name = self._at(source)
            to_folder, to_name = self._at(target)
            if from_folder is to_folder:

                def move(names: Names) -> None:
                    if names.get(from_name) is content:
                        del names[from_name]
                    names[to_name] = content

                to_folder.change(move)
            else:
                to_folder.change(lambda names: names.update({to_name: content}))
                from_folder.change(lambda names: _drop(names, from_name, content))

    def remove(self, path: str) -> None:
        with self._lock:
            self._begin("remove", path)
            content = self._content(path)
            folder, name = self._at(path)
            folder.change(lambda names: _drop(names, name, content))

    def sync_folder(self, path: str) -> None:
        with self._lock:
            self._begin("sync_folder", path)
            if path not in self._folders:
                raise _not_found(path)
            self._folders[path].sync()

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
        """Change stored bytes behind everybody's back, as rot does."""
        with self._lock:
            content = self._content(path)
            content.write(position, data)
            content.sync()

    def used_bytes(self) -> int:
        contents = {id(one): one for folder in self._folders.values() for one in folder.now.values()}
        return sum(len(content.now) for content in contents.values())

    def _begin(self, act: str, path: str) -> None:
        """Count one changing operation. Raises PowerCut, or the OSError asked for."""
        self.operations += 1
        if self._crash_at is not None and self.operations >= self._crash_at:
            raise PowerCut(f"{act} {path}")
        for failure in [one for one in self._failures if one.act == act]:
            failure.number -= 1
            if failure.number == 0:
                self._failures.remove(failure)
                raise _Injected(failure.error, failure.kept_bytes, path)

    def _room(self, growth: int) -> int:
        """How much of `growth` bytes still fits."""
        if self.space_bytes is None:
            return growth
        return max(0, min(growth, self.space_bytes - self.used_bytes()))

    def _at(self, path: str) -> tuple[_Folder, str]:
        pure = PurePosixPath(path)
        if str(pure.parent) not in self._folders:
            raise _not_found(path)
        return self._folders[str(pure.parent)], pure.name

    def _content(self, path: str) -> _Content:
        folder, name = self._at(path)
        if name not in folder.now:
            raise _not_found(path)
        return folder.now[name]


class CrashFile:
    """Implements DiskFile. Dead after a crash, as every descriptor is."""

    def __init__(self, disk: CrashDisk, path: str, content: _Content) -> None:
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
                self._disk._begin("write", self._path)
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
            self._disk._begin("allocate", self._path)
            growth = max(0, length - len(self._content.now))
            room = self._disk._room(growth)
            if growth:
                self._content.resize(len(self._content.now) + room)
            if room < growth:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)

    def truncate(self, length: int) -> None:
        with self._alive():
            self._disk._begin("truncate", self._path)
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
                self._content.pending.clear()  # the pages are clean now, and the disk never got them
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


def _drop(names: Names, name: str, content: _Content) -> None:
    if names.get(name) is content:
        del names[name]


def _not_found(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
