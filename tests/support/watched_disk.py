"""A real folder whose calls are written down, and of which any call can be made to fail."""

from pathlib import Path

from common.store.disk import Buffers, DiskLock, FileStat, LocalDisk, LocalFile


class WatchedDisk:
    """A Disk over LocalDisk. `calls` holds "act name" in order, paths by their last component."""

    def __init__(self) -> None:
        self._real = LocalDisk()
        self.calls: list[str] = []
        self.failing: dict[str, OSError] = {}
        """What to raise at an act, by the act's name."""

    def note(self, act: str, path: str) -> None:
        self.calls.append(f"{act} {Path(path).name}")
        if act in self.failing:
            raise self.failing[act]

    def create(self, path: str) -> "WatchedFile":
        self.note("create", path)
        return WatchedFile(self, path, self._real.create(path))

    def open(self, path: str, *, write: bool = False) -> "WatchedFile":
        self.note("open", path)
        return WatchedFile(self, path, self._real.open(path, write=write))

    def stat(self, path: str) -> FileStat | None:
        self.note("stat", path)
        return self._real.stat(path)

    def names(self, folder: str) -> list[str]:
        self.note("names", folder)
        return self._real.names(folder)

    def make_folder(self, path: str, root: str = "/") -> None:
        self.note("make_folder", path)
        self._real.make_folder(path, root)

    def link(self, source: str, target: str) -> None:
        self.note("link", target)
        self._real.link(source, target)

    def rename(self, source: str, target: str) -> None:
        self.note("rename", target)
        self._real.rename(source, target)

    def remove(self, path: str) -> None:
        self.note("remove", path)
        self._real.remove(path)

    def sync_folder(self, path: str) -> None:
        self.note("sync_folder", path)
        self._real.sync_folder(path)

    def lock(self, path: str, holder: bytes) -> DiskLock:
        self.note("lock", path)
        return self._real.lock(path, holder)


class WatchedFile:
    """A DiskFile whose calls are noted under its name."""

    def __init__(self, disk: WatchedDisk, path: str, real: LocalFile) -> None:
        self._disk = disk
        self._path = path
        self._real = real

    def read_at(self, position: int, length: int) -> bytes:
        self._disk.note("read_at", self._path)
        return self._real.read_at(position, length)

    def write_at(self, position: int, buffers: Buffers) -> None:
        self._disk.note("write_at", self._path)
        self._real.write_at(position, buffers)

    def allocate(self, length: int) -> None:
        self._disk.note("allocate", self._path)
        self._real.allocate(length)

    def truncate(self, length: int) -> None:
        self._disk.note("truncate", self._path)
        self._real.truncate(length)

    def size(self) -> int:
        return self._real.size()

    def allocated(self) -> int:
        return self._real.allocated()

    def sync_data(self) -> None:
        self._disk.note("sync_data", self._path)
        self._real.sync_data()

    def close(self) -> None:
        self._real.close()
