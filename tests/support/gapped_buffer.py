"""The example backend with gaps between its offsets, as a database gives them out that counts for all its tables.

Within one commit offsets are dense; before each there is a gap of 1 to 3. First offset is one past the newest record
that was removed.
"""

from collections.abc import Sequence

from common.values.ids import Offset, SequencerId
from docs.examples.sqlite_buffer import SqliteBackend, SqliteFile, SqliteStream, SqliteWriter
from writebuffer.contract import Dense
from writebuffer.reading import PolledReader
from writebuffer.record import Record


class GappedBackend(SqliteBackend):
    powers = SqliteBackend.powers - {Dense}

    def open_writer(self) -> SqliteWriter:
        return SqliteWriter(self.url, GappedFile(self.url, self._path))

    def open_reader(self) -> PolledReader:
        file = GappedFile(self.url, self._path)
        return PolledReader(self.url, file.streams(), file.close)

    def beside(self, name: str) -> "GappedBackend":
        return GappedBackend(f"{self.url}-{name}")


class GappedFile(SqliteFile):
    def streams(self) -> list[SqliteStream]:
        return [GappedStream(self, SequencerId(number)) for number in range(len(super().streams()))]


class GappedStream(SqliteStream):
    def commit(self, records: Sequence[Record]) -> Offset:
        with self._file.transaction() as db:
            next_offset = self._state(db).next_offset
            first = Offset(next_offset + 1 + next_offset % 3)
            rows = [(self._sequencer, offset, record.to_bytes()) for offset, record in enumerate(records, first)]
            db.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
            db.execute("UPDATE stream SET next_offset = ? WHERE sequencer = ?", [first + len(rows), self._sequencer])
        return first

    def trim(self, before: Offset) -> Offset:
        with self._file.transaction() as db:
            query = "SELECT max(offset) + 1 FROM record WHERE sequencer = ? AND offset < ?"
            (removed_end,) = db.execute(query, [self._sequencer, before]).fetchone()
            first = Offset(removed_end or self._state(db).first_offset)
            db.execute("UPDATE stream SET first_offset = ? WHERE sequencer = ?", [first, self._sequencer])
            db.execute("DELETE FROM record WHERE sequencer = ? AND offset < ?", [self._sequencer, first])
        return first
