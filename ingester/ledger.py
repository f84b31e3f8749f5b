"""What was applied above the committed replay offset, as the manifest needs it once the replay offset has passed it.

The manifest holds producers, column types, log time, stream mark and the duplicate and dead rows *as of the replay
offset*: were they as of the applied offset, a replay would take everything in between for duplicates. So each record
leaves a mark here until a commit has passed it.

What becomes of a record (taken, duplicate or refused) follows from the records before it alone, never from what happens
to be in memory: a replay decides the same. Were a record refused that a restarted ingester takes, a frontier that
reaches over its offset would lose its rows.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

from common.entry import Entry
from common.ids import Offset
from common.schema import Columns, ColumnType, TableId, columns_of
from ingester.decode import Decoded
from ingester.persist.manifest_state import Accounts, ManifestState, StreamMark
from ingester.producers import Producers

RECORD_BYTES_MIN = 4096
"""What a tiny record counts towards log pressure: its mark here costs some 300 bytes, and its replay some time."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One applied record. log_time_ns: the greatest append time up to it. log_bytes: the log up to and with it.

    columns: those it brought that were new to their tables.
    """

    offset: Offset
    checksum: int
    producer_id: bytes | None
    producer_sequence: int
    log_time_ns: int
    log_bytes: int
    duplicate_rows: int
    dead_rows: int
    columns: tuple[tuple[TableId, Columns], ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """The manifest's values as of one replay offset. columns: what the tables gained since the last commit."""

    log_time_ns: int
    stream: StreamMark
    producers: Producers
    accounts: Accounts
    columns: dict[TableId, Columns]


class Ledger:
    """Marks of the records in [committed replay offset, applied offset); producers and column types as of the latter.

    accounts: the committed ones and the duplicate and dead rows above their replay offset; a value that is replaced, so
    that any thread may read it.
    """

    def __init__(self, state: ManifestState) -> None:
        self.log_time_ns = state.log_time_ns
        self.accounts = state.accounts
        self._state = state
        self._marks: deque[Mark] = deque()
        self._producers = state.producers.copy()
        self._columns = {table: dict(columns) for table, columns in state.columns.items()}
        self._log_bytes = 0
        self._committed_log_bytes = 0

    @property
    def log_bytes(self) -> int:
        """Bytes of log between the committed replay offset and the applied one.

        A record counts RECORD_BYTES_MIN at least, so that the bound on the log bounds the marks, too.
        """
        return self._log_bytes - self._committed_log_bytes

    def is_duplicate(self, record: Decoded) -> bool:
        if record.producer_id is None:
            return False
        return self._producers.seen(record.producer_id, record.producer_sequence, self.log_time_ns)

    def observe(self, append_time_ns: int) -> None:
        """The log's time is the greatest append time seen: routers' clocks differ, it never goes back."""
        self.log_time_ns = max(self.log_time_ns, append_time_ns)

    def refusal(self, entry: Entry) -> str | None:
        """Why the entry cannot be taken in: a column has another type than an earlier record gave it; else None."""
        for table, columns in _tables(entry):
            known = self._columns.get(table, {})
            for name, column in columns.items():
                if known.get(name, column) is not column:
                    return f"{table}: column {name!r} is {column.value} in this record and {known[name].value} before"
        return None

    def note_taken(self, record: Decoded, entry: Entry) -> None:
        self._note(record, columns=self.learn(entry))

    def note_duplicate(self, record: Decoded) -> None:
        self.accounts = self.accounts.plus(duplicate=record.rows)
        self._note(record, duplicate_rows=record.rows)

    def note_dead(self, record: Decoded) -> None:
        self.accounts = self.accounts.plus(dead=record.rows)
        self._note(record, dead_rows=record.rows)

    def learn(self, entry: Entry) -> tuple[tuple[TableId, Columns], ...]:
        """Add the entry's columns to those known; returns those that are new."""
        learned = []
        for table, columns in _tables(entry):
            known = self._columns.setdefault(table, {})
            new = {name: column for name, column in columns.items() if name not in known}
            if new:
                known.update(new)
                learned.append((table, new))
        return tuple(learned)

    def _note(
        self,
        record: Decoded,
        duplicate_rows: int = 0,
        dead_rows: int = 0,
        columns: tuple[tuple[TableId, Columns], ...] = (),
    ) -> None:
        """Mark `record` as applied."""
        self._log_bytes += max(record.size, RECORD_BYTES_MIN)
        if record.producer_id is not None:
            self._producers.add(record.producer_id, record.producer_sequence, self.log_time_ns)
        self._marks.append(
            Mark(
                record.offset,
                record.checksum,
                record.producer_id,
                record.producer_sequence,
                self.log_time_ns,
                self._log_bytes,
                duplicate_rows,
                dead_rows,
                columns,
            )
        )

    def settled_at(self, replay_offset: Offset) -> Settled:
        """The manifest's values once its replay offset is `replay_offset`."""
        below = list(takewhile(lambda mark: mark.offset < replay_offset, self._marks))
        state = self._state
        if not below:
            return Settled(state.log_time_ns, state.stream, state.producers, state.accounts, {})
        producers = state.producers.copy()
        for mark in below:
            if mark.producer_id is not None:
                producers.add(mark.producer_id, mark.producer_sequence, mark.log_time_ns)
        last = below[-1]
        producers.expire(last.log_time_ns)
        stream = StreamMark(state.stream.identity, last.offset, last.checksum)
        return Settled(last.log_time_ns, stream, producers, _with_rows(state.accounts, below), _columns_of(below))

    def committed(self, state: ManifestState) -> None:
        """Forget the marks that `state` has passed."""
        while self._marks and self._marks[0].offset < state.replay_offset:
            self._committed_log_bytes = self._marks.popleft().log_bytes
        self._producers.expire(self.log_time_ns)
        self._state = state
        self.accounts = _with_rows(state.accounts, self._marks)


def _tables(entry: Entry) -> Iterable[tuple[TableId, Columns]]:
    return ((TableId(entry.namespace, table), columns_of(batch.schema)) for table, batch in entry.tables.items())


def _columns_of(marks: Iterable[Mark]) -> dict[TableId, Columns]:
    columns: dict[TableId, dict[str, ColumnType]] = {}
    for mark in marks:
        for table, new in mark.columns:
            columns.setdefault(table, {}).update(new)
    return dict(columns)


def _with_rows(accounts: Accounts, marks: Iterable[Mark]) -> Accounts:
    duplicate = dead = 0
    for mark in marks:
        duplicate += mark.duplicate_rows
        dead += mark.dead_rows
    return accounts.plus(duplicate=duplicate, dead=dead)
