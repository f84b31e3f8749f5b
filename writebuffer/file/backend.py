"""The file backend: a folder with buffer.json and one log for each sequencer.

buffer.json is made by put-if-absent and synced, so of any number of creators one wins and the others find its file.
"""

import json
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from common.clock import Clock, SystemClock
from common.disk import Disk, DiskLock, FileStat, LocalDisk, Locked
from common.errors import Forked, Misconfigured, Unavailable
from common.ids import Offset, SequencerId
from common.logs import Logger
from writebuffer.checks import check_count, check_found_count
from writebuffer.contract import Durable, Measurable, SeekableByTime, Trimmable
from writebuffer.errors import BufferNotFound, HeldByAnother
from writebuffer.file.buffer_json import NAME, BufferJson, load_buffer_json
from writebuffer.file.committer import Committer
from writebuffer.file.format import Place
from writebuffer.file.log import LogWriter
from writebuffer.file.reader import FileReader
from writebuffer.file.writer import FileWriter
from writebuffer.record import Record

SEGMENT_BYTES = 64 * 2**20
_LEFT_BEHIND = (
    "the buffer was deleted since this writer opened it; start the process again, and with it whoever reads the buffer"
)


class FileBackend:
    """Implements Provable. Only one writer at a time, from any process of this machine; any number of readers."""

    powers: frozenset[type] = frozenset({Durable, Trimmable, Measurable, SeekableByTime})

    def __init__(
        self,
        folder: str,
        disk: Disk | None = None,
        *,
        clock: Clock | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        logger: Logger | None = None,
    ) -> None:
        """folder: absolute. segment_bytes: a segment is rolled before the batch that would make it larger."""
        self.url = f"file://{folder}"
        self._folder = folder
        self._disk = disk or LocalDisk()
        self._clock = clock or SystemClock()
        self._segment_bytes = segment_bytes
        self._logger: Logger = logger or structlog.get_logger()

    def create(self, sequencers: int) -> None:
        check_count(self.url, sequencers)
        with self._translated():
            if not self._disk.stat(self._path()):
                self._put_if_absent(BufferJson(sequencers, uuid.uuid4()).encode())
            buffer = self._load()
            self._disk.sync_folder(self._folder)  # its maker may have died before it did
            check_found_count(self.url, buffer.sequencers, sequencers, "a folder")
            for place in self._places(buffer):
                self._disk.make_folder(place.folder)

    def beside(self, name: str) -> "FileBackend":
        """In a folder beside this one, with what file/proving.py adds."""
        from writebuffer.file.proving import ProofBackend  # made from this class

        return ProofBackend(f"{self._folder}-{name}")

    def delete(self) -> None:
        with self._translated():
            with suppress(OSError):
                Path(self._path()).unlink()  # first: whoever misses another file looks here whether the buffer stands
            shutil.rmtree(self._folder, ignore_errors=True)

    def open_writer(self) -> FileWriter:
        locks = ExitStack()
        committers: list[Committer] = []
        writer = FileWriter(committers, self.url, locks.close, self._logger)
        with self._translated(), ExitStack() as opened:
            opened.callback(writer.close)
            standing = _Standing(self.url, lambda: self._disk.stat(self._path()), self._load)
            places = self._places(standing.buffer)
            for place in places:
                self._disk.make_folder(place.folder)
                locks.callback(self._lock(place).close)
            for place in places:
                committers.append(self._committer(place, standing.check))
            opened.pop_all()
        return writer

    def open_reader(self) -> FileReader:
        with self._translated():
            places = self._places(self._load())
        return FileReader(places, self._clock, self.url)

    def _committer(self, place: Place, check: Callable[[], None]) -> Committer:
        def open_log() -> LogWriter:
            return _OwnLog(place, self._clock, self._segment_bytes, self._logger, check)

        return Committer(place.sequencer, open_log, self._clock, self._logger)

    def _places(self, buffer: BufferJson) -> list[Place]:
        return [
            Place(self._disk, f"{self._folder}/{number:03}", buffer.log_id(number), SequencerId(number))
            for number in range(buffer.sequencers)
        ]

    def _lock(self, place: Place) -> DiskLock:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": _utc(self._clock.now_ns())}
        try:
            return self._disk.lock(place.path("lock"), json.dumps(holder).encode())
        except Locked as error:
            found = {"pid": "unknown", "host": "unknown", "since": "unknown"}
            with suppress(ValueError):
                found |= json.loads(error.holder)
            raise HeldByAnother(
                f"{self.url}: sequencer {place.sequencer} is held by pid {found['pid']} on host {found['host']} since "
                f"{found['since']}: stop that process, or give this one another folder",
                sequencer=place.sequencer,
                **found,
            ) from None

    def _load(self) -> BufferJson:
        return load_buffer_json(self._disk, self._folder)

    def _put_if_absent(self, data: bytes) -> None:
        self._disk.make_folder(self._folder)
        temporary = f"{self._folder}/.{NAME}.{uuid.uuid4().hex}"
        file = self._disk.create(temporary)
        try:
            file.write_at(0, [data])
            file.sync_data()
            with suppress(FileExistsError):  # another was faster; its file decides
                self._disk.link(temporary, self._path())
        finally:
            file.close()
            self._disk.remove(temporary)

    def _path(self) -> str:
        return f"{self._folder}/{NAME}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise Misconfigured(f"{self.url}: {error}; give this user the folder, or choose another") from error
        except OSError as error:
            raise Unavailable(f"{self.url}: {error}", written="unknown") from error


class _Standing:
    """Whether the buffer is still the one that was opened: a writer left behind must not touch what came after it."""

    def __init__(self, url: str, stat: Callable[[], FileStat | None], load: Callable[[], BufferJson]) -> None:
        self._url = url
        self._stat = stat
        self._load = load
        self._seen = stat()
        self.buffer = load()

    def check(self) -> None:
        """One look at the file's time, and at the file where that changed. Raises Forked, Unavailable."""
        try:
            seen = self._stat()
            if seen == self._seen:
                return
            if self._load().buffer_id != self.buffer.buffer_id:
                raise Forked(f"{self._url}: {_LEFT_BEHIND}")
        except BufferNotFound:
            raise Forked(f"{self._url}: {_LEFT_BEHIND}") from None
        except OSError as error:
            raise Unavailable(f"{self._url}: {error}", written="no") from error
        self._seen = seen


class _OwnLog(LogWriter):
    """A log that is not written to, nor trimmed, once its buffer was deleted, or deleted and made again."""

    def __init__(
        self, place: Place, clock: Clock, segment_bytes: int, logger: Logger, check: Callable[[], None]
    ) -> None:
        self._check_standing = check
        super().__init__(place, clock, segment_bytes, logger)

    def commit(self, records: Sequence[Record]) -> Offset:
        self._check_standing()
        return super().commit(records)

    def trim(self, before: Offset) -> Offset:
        self._check_standing()
        return super().trim(before)


def _utc(now_ns: int) -> str:
    return datetime.fromtimestamp(now_ns // 10**9, UTC).isoformat()
