"""The file backend as proofs use it: small segments, syncs that can be held back, threads that can be made to die."""

import threading
from collections.abc import Callable

from common.store.disk import Buffers, Disk, DiskFile, DiskLock, FileStat, LocalDisk
from common.values.errors import Unavailable
from writebuffer.contract import Writer
from writebuffer.file.backend import FileBackend
from writebuffer.file.writer import FileWriter
from writebuffer.proving import Breakable, HoldsBack

SEGMENT_BYTES = 20_000
"""A proof of a few megabytes rolls and trims them."""
CLOSE_S = 2.0
"""A proof of what a close does over a sync that hangs need not wait as long as production does."""


class ProofBackend(FileBackend):
    """Implements HoldsBack and Breakable besides: what was written waits in the sync that would make it durable."""

    powers = FileBackend.powers | {HoldsBack, Breakable}

    def __init__(self, folder: str) -> None:
        self._gate = _Gate()
        self._opened: list[FileWriter] = []
        super().__init__(folder, _ProofDisk(self._gate), segment_bytes=SEGMENT_BYTES, close_s=CLOSE_S)

    def open_writer(self) -> FileWriter:
        self._gate.cause = None  # was for the writer before this one: there is one at a time
        self._opened.append(writer := super().open_writer())
        return writer

    def delete(self) -> None:
        """Also waits for writers whose close gave up: what they still write would be there after the deletion."""
        for writer in self._opened:
            if writer.is_closed:
                writer.await_end(CLOSE_S)
        super().delete()

    def hold(self) -> None:
        self._gate.held.clear()
        self._gate.open.clear()

    def await_held(self, timeout_s: float) -> None:
        if not self._gate.held.wait(timeout_s):
            raise Unavailable(f"{self.url}: nothing that was appended reached its sync in {timeout_s} s")

    def release(self) -> None:
        self._gate.open.set()

    def break_writer(self, writer: Writer, cause: Exception) -> None:
        self._gate.cause = cause


class _Gate:
    """What every sync passes: it waits while the gate is shut, and dies where a cause is given."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.held = threading.Event()
        """The sync of a log, with records in it, has come to the gate since it was shut."""
        self.cause: Exception | None = None

    def pass_through(self, path: str) -> None:
        if path.endswith(".log") and not self.open.is_set():
            self.held.set()
        self.open.wait()
        if self.cause is not None:
            raise self.cause


class _ProofDisk:
    """A Disk over LocalDisk whose files sync through the gate."""

    def __init__(self, gate: _Gate) -> None:
        self._gate = gate
        real = LocalDisk()
        self._real: Disk = real
        self.stat: Callable[[str], FileStat | None] = real.stat
        self.names: Callable[[str], list[str]] = real.names
        self.make_folder: Callable[..., None] = real.make_folder
        self.link: Callable[[str, str], None] = real.link
        self.rename: Callable[[str, str], None] = real.rename
        self.remove: Callable[[str], None] = real.remove
        self.sync_folder: Callable[[str], None] = real.sync_folder
        self.lock: Callable[[str, bytes], DiskLock] = real.lock

    def create(self, path: str) -> DiskFile:
        return _ProofFile(path, self._real.create(path), self._gate)

    def open(self, path: str, *, write: bool = False) -> DiskFile:
        return _ProofFile(path, self._real.open(path, write=write), self._gate)


class _ProofFile:
    """A DiskFile."""

    def __init__(self, path: str, real: DiskFile, gate: _Gate) -> None:
        self._path = path
        self._gate = gate
        self._real = real
        self.read_at: Callable[[int, int], bytes] = real.read_at
        self.write_at: Callable[[int, Buffers], None] = real.write_at
        self.allocate: Callable[[int], None] = real.allocate
        self.truncate: Callable[[int], None] = real.truncate
        self.size: Callable[[], int] = real.size
        self.allocated: Callable[[], int] = real.allocated
        self.close: Callable[[], None] = real.close

    def sync_data(self) -> None:
        self._gate.pass_through(self._path)
        self._real.sync_data()
