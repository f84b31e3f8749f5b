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

from common.logs import Logger
from common.store.disk import Disk, DiskLock, LocalDisk, Locked
from common.store.disk_errors import NO_FOLDER_TO_BE, is_setting, no_folder_to_be, plain
from common.values.clock import Clock, SystemClock
from common.values.errors import Forked, Misconfigured, Unavailable
from common.values.ids import SequencerId
from writebuffer.checks import check_count, check_found_count
from writebuffer.contract import Dense, Durable, Measurable, Salvageable, SeekableByTime, Trimmable
from writebuffer.errors import HeldByAnother
from writebuffer.file.buffer_json import NAME, BufferJson, load_buffer_json
from writebuffer.file.committer import Committer
from writebuffer.file.format import Place
from writebuffer.file.log import LogWriter
from writebuffer.file.own_log import OpenedBuffer, OwnLog
from writebuffer.file.reader import FileReader
from writebuffer.file.salvage import Known, Remains, Salvaged, examine, salvage
from writebuffer.file.writer import FileWriter
from writebuffer.waiting import CLOSE_S

SEGMENT_BYTES = 64 * 2**20


class FileBackend:
    """Implements Provable. Only one writer at a time, from any process of this machine; any number of readers."""

    powers: frozenset[type] = frozenset({Dense, Durable, Trimmable, Measurable, Salvageable, SeekableByTime})

    def __init__(
        self,
        folder: str,
        disk: Disk | None = None,
        *,
        clock: Clock | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        close_s: float = CLOSE_S,
        logger: Logger | None = None,
    ) -> None:
        """folder: absolute. segment_bytes: a segment is rolled before the batch that would make it larger.

        close_s: how long a writer that is closed waits for a disk that hangs.
        """
        self.url = f"file://{folder}"
        self._folder = folder
        self._disk = disk or LocalDisk()
        self._clock = clock or SystemClock()
        self._segment_bytes = segment_bytes
        self._close_s = close_s
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
                Path(self._path()).unlink()  # first: whoever misses another file looks here whether the buffer exists
            shutil.rmtree(self._folder, ignore_errors=True)

    def open_writer(self) -> FileWriter:
        locks = ExitStack()
        committers: list[Committer] = []
        writer = FileWriter(committers, self.url, locks.close, self._logger, self._close_s)
        with self._translated(), ExitStack() as opened:
            opened.callback(writer.close)
            buffer = OpenedBuffer(self.url, lambda: self._disk.stat(self._path()), self._load)
            places = self._places(buffer.json)
            for place in places:
                self._disk.make_folder(place.folder)
                locks.callback(self._lock(place).close)
            for place in places:
                committers.append(self._committer(place, buffer.check))
            opened.pop_all()
        return writer

    def examine(self, sequencer: SequencerId, identities: Sequence[str], known: Known) -> Remains:
        """What is left of a sequencer's log (salvage.py). Nothing is changed.

        identities: of each sequencer's stream, "" where none is known. Raises Forked where the buffer is not of these
        identities, Unavailable.
        """
        with self._translated():
            exists = self._disk.stat(self._path()) is not None
            return examine(
                self._own_place(self._load() if exists else _named(identities), sequencer, identities), known
            )

    def salvage(self, sequencer: SequencerId, identities: Sequence[str], known: Known) -> Salvaged:
        """Make a damaged or lost log whole again; a lost buffer.json is made again with `identities`, too.

        Raises HeldByAnother while a writer is open, and what `examine` raises.
        """
        with self._translated(), ExitStack() as held:
            if not self._disk.stat(self._path()):
                self._put_if_absent(_named(identities).encode())
            place = self._own_place(self._load(), sequencer, identities)
            if self._disk.stat(place.folder):
                held.callback(self._lock(place).close)
            return salvage(place, known, self._segment_bytes, self._clock)

    def _own_place(self, buffer: BufferJson, sequencer: SequencerId, identities: Sequence[str]) -> Place:
        check_found_count(self.url, buffer.sequencers, len(identities), "a folder")
        place = self._places(buffer)[sequencer]
        if place.log_id.hex() != identities[sequencer]:
            raise Forked(
                f"{self._path()} is of another buffer: sequencer {sequencer} has identity {place.log_id.hex()}, "
                f"the store's manifests followed {identities[sequencer]}. Move it away first",
                sequencer=sequencer,
            )
        return place

    def open_reader(self) -> FileReader:
        with self._translated():
            places = self._places(self._load())
        return FileReader(places, self._clock, self.url)

    def _committer(self, place: Place, check: Callable[[], None]) -> Committer:
        def open_log() -> LogWriter:
            return OwnLog(place, self._clock, self._segment_bytes, self._logger, check)

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
            with suppress(ValueError, TypeError, RecursionError):
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
        self._make_folder()
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

    def _make_folder(self) -> None:
        try:
            self._disk.make_folder(self._folder)
        except NO_FOLDER_TO_BE as error:
            message = no_folder_to_be(self.url, error, "--write-buffer, or --data")
            raise Misconfigured(f"write buffer {message}") from error

    def _path(self) -> str:
        return f"{self._folder}/{NAME}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"write buffer {self.url}: {plain(error, self._folder)}"
            if is_setting(error):
                raise Misconfigured(message) from error
            raise Unavailable(message, written="unknown") from error


def _named(identities: Sequence[str]) -> BufferJson:
    logs = tuple(bytes.fromhex(known) if known else uuid.uuid4().bytes for known in identities)
    return BufferJson(len(logs), uuid.uuid4(), logs)


def _utc(now_ns: int) -> str:
    return datetime.fromtimestamp(now_ns // 10**9, UTC).isoformat()
