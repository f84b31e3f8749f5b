"""A write buffer in one SQLite file, sqlite:///absolute/path: a whole backend. docs/write-a-backend.md explains it."""

import os
import sqlite3
import threading
import time
import uuid
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from common.disk import LocalDisk
from common.errors import Forked, Misconfigured, Unavailable
from writebuffer.checks import check_append, check_limits, check_sequencer
from writebuffer.contract import Appended, AppendedRange, Batch, Durable, Offsets, SequencedRecord, Trimmable
from writebuffer.errors import BufferNotFound, Closed, OffsetInFuture, OffsetTrimmed, SequencersDiffer
from writebuffer.record import Record

TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE stream (sequencer INTEGER PRIMARY KEY, identity TEXT, first_offset INTEGER, next_offset INTEGER);
CREATE TABLE record (sequencer INTEGER, offset INTEGER, bytes BLOB, PRIMARY KEY (sequencer, offset));
"""


class SqliteBackend:
    powers = frozenset({Durable, Trimmable})

    def __init__(self, url):
        self.url, self._path = url, url.removeprefix("sqlite://")

    def create(self, sequencers):
        if sequencers < 1:
            raise Misconfigured(f"{self.url}: a write buffer has at least 1 sequencer, asked for {sequencers}")
        made = f"{self._path}.{uuid.uuid4().hex}"  # whole before it has its name: of many creators one wins
        with closing(sqlite3.connect(made, isolation_level=None)) as connection:
            connection.executescript(TABLES)
            streams = [(number, uuid.uuid4().hex) for number in range(sequencers)]
            connection.executemany("INSERT INTO stream VALUES (?, ?, 0, 0)", streams)
        with suppress(FileExistsError):
            os.link(made, self._path)
        Path(made).unlink()
        LocalDisk().sync_folder(str(Path(self._path).parent))
        with closing(self.open_reader()) as reader:
            if (found := len(reader.sequencers())) != sequencers:
                what = f"{self.url} was made with {found} sequencers, asked for {sequencers}"
                raise SequencersDiffer(what, sequencers=found, asked=sequencers)

    def open_writer(self):
        return Writer(self.url, self._path)

    def open_reader(self):
        return Reader(self.url, self._path)

    def beside(self, name):
        return SqliteBackend(f"{self.url}-{name}")

    def delete(self):
        with suppress(BufferNotFound), closing(self.open_reader()) as reader, reader.transaction() as run:
            run("DELETE FROM stream")  # whoever still has it open finds its identity gone
        for suffix in ("", "-wal", "-shm"):
            Path(self._path + suffix).unlink(missing_ok=True)


class Connection:
    def __init__(self, url, path):
        self._url, self._path, self._turn, self.closing = url, path, threading.RLock(), threading.Event()
        try:
            self._db = sqlite3.connect(f"file:{path}?mode=rw", 30, 0, None, False, uri=True)
            self._db.execute("PRAGMA synchronous = FULL")
            self._identities = self._db.execute("SELECT identity FROM stream ORDER BY sequencer").fetchall()
        except sqlite3.OperationalError:
            raise BufferNotFound(f"{url}: there is no write buffer; make it by create(sequencers)", url=url) from None

    @contextmanager
    def transaction(self, sequencer=0, kind="IMMEDIATE"):
        """All of it or nothing; errors in the words of the contract."""
        self._check_open()
        check_sequencer(sequencer, len(self._identities))
        try:
            with self._turn, self._db:
                self._db.execute(f"BEGIN {kind}")
                if self._db.execute("SELECT identity FROM stream ORDER BY sequencer").fetchall() != self._identities:
                    raise Forked(f"{self._url}: the buffer was deleted since it was opened; open it anew")
                yield self._db.execute
        except sqlite3.Error as error:
            raise Unavailable(f"{self._url}: {error}", written="unknown") from error

    def sequencers(self):
        return range(len(self._identities))

    def offsets(self, sequencer):
        with self.transaction(sequencer, "DEFERRED") as run:
            return _offsets(run, sequencer)

    def close(self):
        self.closing.set()

    def _check_open(self):
        if self.closing.is_set():
            raise Closed(f"{self._url}: the writer or reader was closed")


class Writer(Connection):
    def __init__(self, url, path):
        super().__init__(url, path)
        self._queue, self._thread = deque(), ThreadPoolExecutor(1)

    def append(self, sequencer, record):
        return self._submit(sequencer, [record], lambda first, last: first)

    def append_many(self, sequencer, records):
        return self._submit(sequencer, list(records), AppendedRange)

    def _submit(self, sequencer, records, result):
        self._check_open()
        check_append(sequencer, len(self.sequencers()), records)
        future = Future()
        future.set_running_or_notify_cancel()  # so that cancel() changes nothing
        with self._turn:
            self._queue.append((sequencer, records, result, future))
            self._thread.submit(self._commit)
        return future

    def _commit(self):
        """One transaction for all that was queued meanwhile: a sync costs the same for one record and for many."""
        calls = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            with self.transaction() as run:
                spans = [self._insert(run, sequencer, records) for sequencer, records, _, _ in calls]
        except Exception as error:  # noqa: BLE001  whatever it is, no future may hang
            for *_, future in calls:
                future.set_exception(error)
        else:
            for (*_, result, future), span in zip(calls, spans, strict=True):
                future.set_result(result(*span))

    def _insert(self, run, sequencer, records):
        first = _offsets(run, sequencer).next_offset
        for offset, record in enumerate(records, first):
            run("INSERT INTO record VALUES (?, ?, ?)", [sequencer, offset, record.to_bytes()])
        last = first + len(records) - 1
        run("UPDATE stream SET next_offset = ? WHERE sequencer = ?", [last + 1, sequencer])
        return Appended(first, records[0].append_time_ns), Appended(last, records[-1].append_time_ns)

    def flush(self, timeout_s):
        self._check_open()
        try:
            self._thread.submit(lambda: None).result(timeout_s)
        except TimeoutError:
            raise Unavailable(
                f"{self._url}: appends are still pending after {timeout_s} s", written="unknown"
            ) from None

    def trim(self, sequencer, before):
        with self.transaction(sequencer) as run:
            stands = _offsets(run, sequencer)
            first = max(stands.first_offset, min(before, stands.next_offset))
            run("UPDATE stream SET first_offset = ? WHERE sequencer = ?", [first, sequencer])
            run("DELETE FROM record WHERE sequencer = ? AND offset < ?", [sequencer, first])
            return first

    def durability(self):
        return "SQLite syncs its log at each commit (synchronous=FULL)"

    def close(self):
        self._thread.shutdown()
        super().close()


class Reader(Connection):
    def reader(self, sequencer):
        check_sequencer(sequencer, len(self.sequencers()))
        self._check_open()
        return Cursor(self, sequencer)

    def identity(self, sequencer):
        with self.transaction(sequencer, "DEFERRED"):
            return self._identities[sequencer][0]


class Cursor:
    def __init__(self, reader, sequencer):
        self._reader, self._sequencer, self._closed = reader, sequencer, False
        self.seek_to_first()

    def seek(self, offset):
        stands = self._offsets()
        if offset < stands.first_offset:
            raise OffsetTrimmed(self._sequencer, offset, stands.first_offset)
        if offset > stands.next_offset:
            raise OffsetInFuture(self._sequencer, offset, stands.next_offset)
        self._offset = offset

    def seek_to_first(self):
        self._offset = self._offsets().first_offset

    def seek_to_next(self):
        self._offset = self._offsets().next_offset

    def poll(self, max_records, max_bytes, timeout_s):
        check_limits(max_records, max_bytes)
        deadline_s = time.monotonic() + timeout_s
        while not (records := self._take(max_records, max_bytes)) and time.monotonic() < deadline_s:
            self._reader.closing.wait(0.005)
        return Batch(records, self._offset)

    def _take(self, max_records, max_bytes):
        taken, left_bytes = [], max_bytes
        with self._reading() as run:
            first_offset = _offsets(run, self._sequencer).first_offset
            if self._offset < first_offset:
                raise OffsetTrimmed(self._sequencer, self._offset, first_offset)
            found = run(
                "SELECT offset, bytes FROM record WHERE sequencer = ? AND offset >= ? ORDER BY offset LIMIT ?",
                [self._sequencer, self._offset, max_records],
            )
            for offset, data in found:
                left_bytes -= len(data)
                if taken and left_bytes < 0:
                    break
                taken.append(SequencedRecord(offset, Record.from_bytes(data)))
        if taken:
            self._offset = taken[-1].offset + 1
        return taken

    def _offsets(self):
        with self._reading() as run:
            return _offsets(run, self._sequencer)

    def _reading(self):
        if self._closed:
            raise Closed(f"sequencer {self._sequencer}: the cursor was closed")
        return self._reader.transaction(self._sequencer, "DEFERRED")

    def close(self):
        self._closed = True


def _offsets(run, sequencer):
    return Offsets(*run("SELECT first_offset, next_offset FROM stream WHERE sequencer = ?", [sequencer]).fetchone())
