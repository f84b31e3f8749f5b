"""The file system as a small interface, so that crash points and faults are tested without a disk.

The commit log and the local object store do all their I/O through a Disk. LocalDisk is the real one; tests/support has
a twin in memory whose `crash()` drops or tears everything that was not synced. Paths are absolute, of str.

What a Disk promises about a crash: bytes of a file survive once `sync` or `sync_data` of it returned; a name (created,
linked, renamed, removed) survives once `sync_folder` of its folder returned; nothing else is promised.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

Buffers = Sequence[bytes | bytearray | memoryview]

_IOV_MAX = 1024
"""Linux takes at most this many buffers in one pwritev."""


class FileStat(NamedTuple):
    """device and inode say which file or folder it is: another one under the same name has others.

    A tuple: each commit to a log asks for two.
    """

    size_bytes: int
    modified_ns: int
    is_folder: bool
    device: int
    inode: int


class DiskFile(Protocol):
    """An open file. Positions and sizes in bytes. Any call may raise OSError."""

    def read_at(self, position: int, length: int) -> bytes:
        """Up to `length` bytes from `position`; fewer only at the end of the file."""
        ...

    def write_at(self, position: int, buffers: Buffers) -> None:
        """Write all of `buffers` one after another from `position`. After an OSError any part may be written."""
        ...

    def allocate(self, length: int) -> None:
        """Reserve space so that the file is at least `length` bytes long, zeros where nothing was written."""
        ...

    def truncate(self, length: int) -> None: ...

    def size(self) -> int: ...

    def allocated(self) -> int:
        """Bytes used on disk, without holes."""
        ...

    def sync_data(self) -> None:
        """Make the content durable (fdatasync)."""
        ...

    def close(self) -> None: ...


class DiskLock(Protocol):
    """A lock held on a file until it is closed or its process dies."""

    def close(self) -> None: ...


class Locked(Exception):
    """Another holds the lock; `holder` is what it wrote about itself."""

    def __init__(self, holder: bytes) -> None:
        super().__init__(holder)
        self.holder = holder


class Disk(Protocol):
    """A file system. Any call may raise OSError with its errno."""

    def create(self, path: str) -> DiskFile:
        """A new file for reading and writing. Raises FileExistsError."""
        ...

    def open(self, path: str, *, write: bool = False) -> DiskFile:
        """An existing file. Raises FileNotFoundError."""
        ...

    def stat(self, path: str) -> "FileStat | None":
        """What exists at `path`; None where nothing does."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names in `folder`, sorted. Raises FileNotFoundError."""
        ...

    def make_folder(self, path: str, root: str = "/") -> None:
        """Make `path` and what is missing above it: durable at the return, also what another process was making.

        root: exists and is never made, nor anything above it. Raises FileNotFoundError where it is missing.
        """
        ...

    def link(self, source: str, target: str) -> None:
        """Give the file a second name. Raises FileExistsError when `target` exists: the put-if-absent."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move, replacing `target`."""
        ...

    def remove(self, path: str) -> None: ...

    def sync_folder(self, path: str) -> None:
        """Make the folder's names durable."""
        ...

    def lock(self, path: str, holder: bytes) -> DiskLock:
        """Lock the file at `path`, made where missing and never removed, and write `holder` into it. Raises Locked."""
        ...


class LocalFile:
    """A file descriptor with positioned reads and writes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_at(self, position: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, position)
        if len(data) == length or not data:
            return data
        parts = [data]
        got = len(data)
        while got < length and (data := os.pread(self._descriptor, length - got, position + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def write_at(self, position: int, buffers: Buffers) -> None:
        for start in range(0, len(buffers), _IOV_MAX):
            part = buffers[start : start + _IOV_MAX]
            length = sum(map(len, part))
            written = os.pwritev(self._descriptor, part, position)
            if written < length:
                rest = memoryview(b"".join(part))[written:]
                while rest:
                    written += (step := os.pwrite(self._descriptor, rest, position + written))
                    rest = rest[step:]
            position += length

    def allocate(self, length: int) -> None:
        os.posix_fallocate(self._descriptor, 0, length)

    def truncate(self, length: int) -> None:
        os.ftruncate(self._descriptor, length)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def allocated(self) -> int:
        return os.fstat(self._descriptor).st_blocks * 512

    def sync_data(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Only once: even when a close fails, the kernel may give the number to another file at once."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class LocalDisk:
    """The machine's own file system."""

    def create(self, path: str) -> LocalFile:
        return LocalFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))

    def open(self, path: str, *, write: bool = False) -> LocalFile:
        return LocalFile(os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC))

    def stat(self, path: str) -> FileStat | None:
        try:
            found = os.stat(path)  # noqa: PTH116  the paths here are str
        except (FileNotFoundError, NotADirectoryError):
            return None
        is_folder = stat.S_ISDIR(found.st_mode)
        return FileStat(found.st_size, found.st_mtime_ns, is_folder, found.st_dev, found.st_ino)

    def names(self, folder: str) -> list[str]:
        return sorted(os.listdir(folder))  # noqa: PTH208  names, not paths

    def make_folder(self, path: str, root: str = "/") -> None:
        missing = []
        at = Path(path)
        while not at.is_dir():
            if str(at) == root:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), root)
            missing.append(at)
            at = at.parent
        with suppress(PermissionError):  # who may not look into the folder above has not made this one
            self.sync_folder(str(at.parent))  # its maker may have been killed before it did
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self.sync_folder(str(folder.parent))

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def rename(self, source: str, target: str) -> None:
        Path(source).replace(target)

    def remove(self, path: str) -> None:
        Path(path).unlink()

    def sync_folder(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: str, holder: bytes) -> LocalFile:
        """The kernel's lock on the open file, not a pid in it: pids are reused, and every container is pid 1."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder, 0)
        except BlockingIOError:
            held_by = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise Locked(held_by) from None
        except OSError:
            os.close(descriptor)
            raise
        return LocalFile(descriptor)
