"""A write buffer in one SQLite file, sqlite:///absolute/path: a whole backend. docs/write-a-backend.md explains it."""

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from common.store.disk import LocalDisk
from common.values.errors import Forked, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.checks import check_count, check_found_count
from writebuffer.contract import Dense, Durable, SequencedRecord, Trimmable
from writebuffer.errors import BufferNotFound
from writebuffer.grouping import GroupCommit, GroupedWriter
from writebuffer.reading import PolledReader, StreamState
from writebuffer.record import Record

TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE stream (sequencer INTEGER PRIMARY KEY, identity TEXT, first_offset INTEGER, next_offset INTEGER);
CREATE TABLE record (sequencer INTEGER, offset INTEGER, bytes BLOB, PRIMARY KEY (sequencer, offset));
"""


class SqliteBackend:
    powers = frozenset({Dense, Durable, Trimmable})

    def __init__(self, url: str) -> None:
        self.url, self._path = url, url.removeprefix("sqlite://")

    def create(self, sequencers: int) -> None:
        check_count(self.url, sequencers)
        made = f"{self._path}.{uuid.uuid4().hex}"  # whole before it has its name: of many creators one wins
        with closing(sqlite3.connect(made, isolation_level=None)) as db:
            db.executescript(TABLES)
            rows = [(number, uuid.uuid4().hex) for number in range(sequencers)]
            db.executemany("INSERT INTO stream VALUES (?, ?, 0, 0)", rows)
        with suppress(FileExistsError):
            os.link(made, self._path)
        Path(made).unlink()
        LocalDisk().sync_folder(str(Path(self._path).parent))
        with closing(self.open_reader()) as reader:
            check_found_count(self.url, len(reader.sequencers()), sequencers, "a file")

    def open_writer(self) -> "SqliteWriter":
        return SqliteWriter(self.url, SqliteFile(self.url, self._path))

    def open_reader(self) -> PolledReader:
        file = SqliteFile(self.url, self._path)
        return PolledReader(self.url, file.streams(), file.close, dense=True)

    def beside(self, name: str) -> "SqliteBackend":
        return SqliteBackend(f"{self.url}-{name}")

    def delete(self) -> None:
        with suppress(BufferNotFound), closing(SqliteFile(self.url, self._path)) as file, file.transaction() as db:
            db.execute("DELETE FROM stream")  # whoever still has it open finds its stream gone
        for suffix in ("", "-wal", "-shm"):
            Path(self._path + suffix).unlink(missing_ok=True)


class SqliteFile:
    """A connection, used by one thread at a time."""

    def __init__(self, url: str, path: str) -> None:
        self.url, self._turn = url, threading.Lock()
        try:
            uri = f"{Path(path).as_uri()}?mode=rw"  # opening makes nothing
            self._db = sqlite3.connect(uri, timeout=30, isolation_level=None, check_same_thread=False, uri=True)
        except sqlite3.OperationalError:
            raise BufferNotFound(f"{url}: there is no write buffer; make it by create(sequencers)", url=url) from None
        self._db.execute("PRAGMA synchronous = FULL")

    def streams(self) -> "list[SqliteStream]":
        with self.transaction("DEFERRED") as db:
            (count,) = db.execute("SELECT count(*) FROM stream").fetchone()
        return [SqliteStream(self, SequencerId(number)) for number in range(count)]

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """All of it or nothing; errors in the words of the contract."""
        try:
            with self._turn, self._db:
                self._db.execute(f"BEGIN {kind}")
                yield self._db
        except sqlite3.Error as error:
            raise Unavailable(f"{self.url}: {error}", written="unknown") from error

    def close(self) -> None:
        with self._turn:
            self._db.close()


class SqliteStream:
    """One sequencer."""

    def __init__(self, file: SqliteFile, sequencer: SequencerId) -> None:
        self._file, self._sequencer = file, sequencer

    def look(self) -> StreamState:
        with self._file.transaction("DEFERRED") as db:
            return self._state(db)

    def read(self, offset: Offset, max_records: int) -> Iterator[SequencedRecord]:
        query = "SELECT offset, bytes FROM record WHERE sequencer = ? AND offset >= ? ORDER BY offset LIMIT ?"
        with self._file.transaction("DEFERRED") as db:
            for at, data in db.execute(query, [self._sequencer, offset, max_records]):
                yield SequencedRecord(Offset(at), Record.from_bytes(data))

    def commit(self, records: Sequence[Record]) -> Offset:
        with self._file.transaction() as db:
            first = self._state(db).next_offset
            rows = [(self._sequencer, offset, record.to_bytes()) for offset, record in enumerate(records, first)]
            db.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
            db.execute("UPDATE stream SET next_offset = ? WHERE sequencer = ?", [first + len(rows), self._sequencer])
        return first

    def trim(self, before: Offset) -> Offset:
        with self._file.transaction() as db:
            state = self._state(db)
            first = max(state.first_offset, min(before, state.next_offset))
            db.execute("UPDATE stream SET first_offset = ? WHERE sequencer = ?", [first, self._sequencer])
            db.execute("DELETE FROM record WHERE sequencer = ? AND offset < ?", [self._sequencer, first])
        return first

    def _state(self, db: sqlite3.Connection) -> StreamState:
        query = "SELECT identity, first_offset, next_offset FROM stream WHERE sequencer = ?"
        if (found := db.execute(query, [self._sequencer]).fetchone()) is None:
            raise Forked(f"{self._file.url}: the buffer was deleted since it was opened; open it again")
        return StreamState(*found)


class SqliteWriter(GroupedWriter):
    def __init__(self, url: str, file: SqliteFile) -> None:
        self._streams = file.streams()
        commits = [GroupCommit(SequencerId(number), stream.commit) for number, stream in enumerate(self._streams)]
        super().__init__(url, commits, file.close)

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        self.check(sequencer)
        return self._streams[sequencer].trim(before)

    def durability(self) -> str:
        return "SQLite syncs its log at each commit (synchronous=FULL)"
