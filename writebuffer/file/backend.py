"""The file backend: a folder with buffer.json and one log for each sequencer.

buffer.json {format, sequencers, buffer_id} is made by put-if-absent and synced, so of any number of creators one wins
and the others find its file. A log's id follows from buffer id and sequencer: a buffer deleted and made again has
other identities.
"""

import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from common.clock import Clock, SystemClock
from common.disk import Disk, DiskLock, LocalDisk, Locked
from common.errors import DataCorrupt, Misconfigured, Unavailable
from common.ids import SequencerId
from common.logs import Logger
from writebuffer.errors import BufferNotFound, HeldByAnother, SequencersDiffer
from writebuffer.file.committer import Committer
from writebuffer.file.format import Place
from writebuffer.file.log import LogWriter
from writebuffer.file.reader import FileReader
from writebuffer.file.writer import FileWriter

SEGMENT_BYTES = 64 * 2**20
_FORMAT = 1
_NAME = "buffer.json"


@dataclass(frozen=True, slots=True)
class _Buffer:
    """What buffer.json says."""

    sequencers: int
    buffer_id: uuid.UUID

    def to_json(self) -> bytes:
        values = {"format": _FORMAT, "sequencers": self.sequencers, "buffer_id": str(self.buffer_id)}
        return json.dumps(values, indent=2).encode() + b"\n"

    def log_id(self, sequencer: int) -> bytes:
        return uuid.uuid5(self.buffer_id, str(sequencer)).bytes


class FileBackend:
    """Implements Backend. Only one writer at a time, from any process of this machine; any number of readers."""

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
        if sequencers < 1:
            raise Misconfigured(f"{self.url}: a write buffer has at least 1 sequencer, asked for {sequencers}")
        with self._translated():
            if not self._disk.stat(self._path()):
                self._put_if_absent(_Buffer(sequencers, uuid.uuid4()).to_json())
            buffer = self._load()
            self._disk.sync_folder(self._folder)  # its maker may have died before it did
            if buffer.sequencers != sequencers:
                raise SequencersDiffer(
                    f"{self.url} was made with {buffer.sequencers} sequencers, asked for {sequencers}: start with "
                    f"--sequencers {buffer.sequencers}, or give the new cluster a folder of its own",
                    sequencers=buffer.sequencers,
                    asked=sequencers,
                )
            for place in self._places(buffer):
                self._disk.make_folder(place.folder)

    def open_writer(self) -> FileWriter:
        locks = ExitStack()
        committers: list[Committer] = []
        writer = FileWriter(committers, self.url, locks.close, self._logger)
        with self._translated(), ExitStack() as opened:
            opened.callback(writer.close)
            places = self._places(self._load())
            for place in places:
                self._disk.make_folder(place.folder)
                locks.callback(self._lock(place).close)
            for place in places:
                committers.append(self._committer(place))
            opened.pop_all()
        return writer

    def open_reader(self) -> FileReader:
        with self._translated():
            places = self._places(self._load())
        return FileReader(places, self._clock, self.url)

    def _committer(self, place: Place) -> Committer:
        def open_log() -> LogWriter:
            return LogWriter(place, self._clock, self._segment_bytes, self._logger)

        return Committer(place.sequencer, open_log, self._clock, self._logger)

    def _places(self, buffer: _Buffer) -> list[Place]:
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

    def _load(self) -> _Buffer:
        try:
            file = self._disk.open(self._path())
        except FileNotFoundError:
            raise BufferNotFound(
                f"{self.url}: there is no write buffer (no {_NAME}); `penstock up` or a router makes it, or "
                "`connect(url).create(sequencers)`",
                url=self.url,
            ) from None
        try:
            return _parse(file.read_at(0, file.size()), self._path())
        finally:
            file.close()

    def _put_if_absent(self, data: bytes) -> None:
        self._disk.make_folder(self._folder)
        temporary = f"{self._folder}/.{_NAME}.{uuid.uuid4().hex}"
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
        return f"{self._folder}/{_NAME}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise Misconfigured(f"{self.url}: {error}; give this user the folder, or choose another") from error
        except OSError as error:
            raise Unavailable(f"{self.url}: {error}", written="unknown") from error


def _parse(data: bytes, where: str) -> _Buffer:
    try:
        values = json.loads(data)
        format_found, buffer = values["format"], _Buffer(int(values["sequencers"]), uuid.UUID(values["buffer_id"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataCorrupt(f"{where}: not a {_NAME} of penstock ({error!r}); restore it from a copy") from None
    if format_found != _FORMAT:
        raise Misconfigured(f"{where}: format {format_found}, this build reads {_FORMAT}; use the release that made it")
    return buffer


def _utc(now_ns: int) -> str:
    return datetime.fromtimestamp(now_ns // 10**9, UTC).isoformat()
