"""A file buffer of one sequencer on a CrashDisk, opened at the level below threads, so that tests are deterministic."""

import structlog
from structlog.testing import CapturingLogger

from common.values.clock import FakeClock
from tests.support.crash_disk import CrashDisk
from writebuffer.file import FileBackend
from writebuffer.file.format import Place
from writebuffer.file.log import LogWriter
from writebuffer.waiting import CLOSE_S

ROOT = "/data/log"
FOLDER = f"{ROOT}/000"
SEGMENT_BYTES = 4096


class OneLog:
    """`disk` and `backend` see the same buffer. `logged`: what the log logged."""

    def __init__(self, segment_bytes: int = SEGMENT_BYTES, disk: CrashDisk | None = None) -> None:
        """disk: with or without a buffer on it already; by default a new disk with a new buffer."""
        self.disk = disk or CrashDisk()
        self.clock = FakeClock()
        self.logged = CapturingLogger()
        self.segment_bytes = segment_bytes
        self._logger = structlog.wrap_logger(self.logged, processors=[])
        self.backend = self.another_backend()
        if disk is None:
            self.backend.create(1)

    def another_backend(self, *, close_s: float = CLOSE_S) -> FileBackend:
        return FileBackend(
            ROOT,
            self.disk,
            clock=self.clock,
            segment_bytes=self.segment_bytes,
            close_s=close_s,
            logger=self._logger,
        )

    def place(self) -> Place:
        reader = self.backend.open_reader()
        return Place(self.disk, FOLDER, bytes.fromhex(reader.identity(0)), reader.sequencers()[0])

    def open(self) -> LogWriter:
        """Without the lock and the thread."""
        return LogWriter(self.place(), self.clock, self.segment_bytes, self._logger)

    def segments(self) -> list[str]:
        return [name for name in self.disk.names(FOLDER) if name.endswith(".log")]

    def content(self, name: str) -> bytes:
        file = self.disk.open(f"{FOLDER}/{name}")
        return file.read_at(0, file.size())

    def offsets(self) -> tuple[int, int]:
        found = self.backend.open_reader().offsets(0)
        return found.first_offset, found.next_offset
