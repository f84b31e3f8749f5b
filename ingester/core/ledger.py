"""What was applied above the committed replay offset, as the manifest needs it once the replay offset has passed it.

The manifest holds producers, column types, log time, stream mark and the duplicate and dead rows *as of the replay
offset*: were they as of the applied offset, a replay would find everything in between to be duplicates. So each record
leaves a mark here until a commit has passed it.

What becomes of a record (applied, repeated or refused) follows from the records before it alone, never from what
happens to be in memory: a replay decides the same. Were a record refused that a restarted ingester applies, a frontier
that reaches over its offset would lose its rows.
"""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat, takewhile
from typing import NamedTuple

import numpy as np

from common.catalog.manifest.change import Accounts, AsOf, StreamMark
from common.catalog.manifest.state import ManifestState
from common.values.ids import Offset
from common.values.schema import Columns, ColumnType, TableId
from ingester.buffer.origins import TableColumns
from ingester.core.run import Run
from ingester.following.decode import Decoded

SETTLED_MAX = 4096
"""Of tables with their columns that are remembered as known. They are forgotten all at once: it only costs a look."""


class Mark(NamedTuple):
    """One applied record. log_time_ns: the greatest append time up to it. log_bytes: the log up to and with it.

    rows: as its entry says. columns: those it brought that were new to their tables.
    """

    offset: Offset
    checksum: int
    producer_id: bytes | None
    producer_sequence: int
    log_time_ns: int
    log_bytes: int
    rows: int
    duplicate_rows: int
    dead_rows: int
    columns: tuple[tuple[TableId, Columns], ...]


_MARK = partial(tuple.__new__, Mark)
"""A Mark of its values in a row: `Mark._make` takes three times as long, and one is made for each record."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The manifest's values as of one replay offset. columns: what the tables gained since the last commit."""

    as_of: AsOf
    columns: dict[TableId, Columns]


class Ledger:
    """Marks of the records in [committed replay offset, applied offset); producers and column types as of the latter.

    accounts: the committed ones and the duplicate and dead rows above their replay offset; a value that is replaced, so
    that any thread may read it.
    """

    def __init__(self, state: ManifestState) -> None:
        self.log_time_ns = state.as_of.log_time_ns
        self.accounts = state.accounts
        self._state = state
        self._marks: deque[Mark] = deque()
        self._producers = state.as_of.producers.copy()
        self._columns = {table: dict(columns) for table, columns in state.columns.items()}
        self._settled: set[TableColumns] = set()
        self._log_bytes = 0
        self._committed_log_bytes = 0

    @property
    def log_bytes(self) -> int:
        """Bytes of the records between the committed replay offset and the applied one."""
        return self._log_bytes - self._committed_log_bytes

    @property
    def log_records(self) -> int:
        """How many records there are between the two."""
        return len(self._marks)

    def replay_offset_within(self, log_bytes_max: int, log_records_max: int) -> Offset:
        """The least replay offset that would keep both limits: rows below it hold back more log than they allow."""
        below, bytes_below = self._state.replay_offset, self._committed_log_bytes
        for passed, mark in enumerate(self._marks):
            if self._log_bytes - bytes_below <= log_bytes_max and len(self._marks) - passed <= log_records_max:
                break
            below, bytes_below = Offset(mark.offset + 1), mark.log_bytes
        return below

    def is_duplicate(self, record: Decoded) -> bool:
        if record.producer_id is None:
            return False
        return self._producers.seen(record.producer_id, record.producer_sequence, self.log_time_ns)

    def observe(self, append_time_ns: int) -> None:
        """The log's time is the greatest append time seen: routers' clocks differ, it never goes back."""
        self.log_time_ns = max(self.log_time_ns, append_time_ns)

    def refusal(self, tables: Collection[TableColumns]) -> str | None:
        """Why a record with these tables cannot be applied: a column had another type in an earlier one; else None."""
        if self._settled.issuperset(tables):
            return None
        for brought in tables:
            known = self._columns.get(brought.table, {})
            for name, column in brought.columns.items():
                if known.get(name, column) is not column:
                    before = known[name].value
                    return f"{brought.table}: column {name!r} is {column.value} in this record and {before} before"
        return None

    def are_new(self, run: Run) -> bool:
        """Whether each record of `run` is sure to be no repeat and to bring known columns alone.

        False also where that would take a look at each: a producer's first records, a hole that is filled.
        """
        if not self._settled.issuperset(run.all_tables()):
            return False
        times = run.log_times_ns(self.log_time_ns)
        return all(
            self._producers.are_above(producer, run.sequences[at], int(times[-1])) for producer, at in run.by_producer()
        )

    def note_new(self, run: Run) -> None:
        """Mark records that `are_new` as applied: as observe and note_applied for one after another."""
        times = run.log_times_ns(self.log_time_ns)
        for producer, at in run.by_producer():
            self._producers.add_above(producer, run.sequences[at], int(times[at[-1]]))
        log_bytes = self._log_bytes + np.cumsum(run.sizes)
        self.log_time_ns, self._log_bytes = int(times[-1]), int(log_bytes[-1])
        counted = times.tolist(), log_bytes.tolist(), run.rows, repeat(0), repeat(0), repeat(())
        marks = zip(run.offsets.tolist(), run.checksums, run.producers, run.sequences.tolist(), *counted)  # noqa: B905
        self._marks.extend(map(_MARK, marks))

    def note_applied(self, record: Decoded, tables: Collection[TableColumns]) -> None:
        self._note(record, columns=self.learn(tables))

    def note_duplicate(self, record: Decoded) -> None:
        self.accounts = self.accounts.plus(duplicate=record.rows)
        self._note(record, duplicate_rows=record.rows)

    def note_dead(self, record: Decoded) -> None:
        self.accounts = self.accounts.plus(dead=record.rows)
        self._note(record, dead_rows=record.rows)

    def learn(self, tables: Collection[TableColumns]) -> tuple[tuple[TableId, Columns], ...]:
        """Add the columns to those known; returns those that are new."""
        if self._settled.issuperset(tables):
            return ()
        learned = []
        for brought in tables:
            self._settle(brought)
            known = self._columns.setdefault(brought.table, {})
            new = {name: column for name, column in brought.columns.items() if name not in known}
            if new:
                known.update(new)
                learned.append((brought.table, new))
        return tuple(learned)

    def _settle(self, brought: TableColumns) -> None:
        """Its columns are known: as types never change, they need no look when they come again."""
        if len(self._settled) >= SETTLED_MAX:
            self._settled.clear()
        self._settled.add(brought)

    def _note(
        self,
        record: Decoded,
        duplicate_rows: int = 0,
        dead_rows: int = 0,
        columns: tuple[tuple[TableId, Columns], ...] = (),
    ) -> None:
        """Mark `record` as applied."""
        self._log_bytes += record.size
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
                record.rows,
                duplicate_rows,
                dead_rows,
                columns,
            )
        )

    def settled_at(self, replay_offset: Offset) -> Settled:
        """The manifest's values once its replay offset is `replay_offset`."""
        below = list(takewhile(lambda mark: mark.offset < replay_offset, self._marks))
        as_of = self._state.as_of
        if not below:
            return Settled(replace(as_of, replay_offset=replay_offset), {})
        producers = as_of.producers.copy()
        for mark in below:
            if mark.producer_id is not None:
                producers.add(mark.producer_id, mark.producer_sequence, mark.log_time_ns)
        last = below[-1]
        producers.expire(last.log_time_ns)
        stream = StreamMark(as_of.stream.identity, last.offset, last.checksum)
        accounts = _with_rows(as_of.accounts, below)
        taken = None if as_of.rows_taken is None else as_of.rows_taken + sum(mark.rows for mark in below)
        return Settled(AsOf(replay_offset, last.log_time_ns, stream, producers, accounts, taken), _columns_of(below))

    def committed(self, state: ManifestState) -> None:
        """Forget the marks that `state` has passed."""
        while self._marks and self._marks[0].offset < state.replay_offset:
            self._committed_log_bytes = self._marks.popleft().log_bytes
        self._producers.expire(self.log_time_ns)
        self._state = state
        self.accounts = _with_rows(state.accounts, self._marks)


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
