"""An ingester core with a driver that does one thing at a time, and a model of what must be read.

The log is a list, the store a dict; manifest records, Parquet files and recovery are the real ones. After every step
the accounts are checked, and after every commit what the manifest says against the log.
"""

import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from common.entry import Entry
from common.errors import Unavailable
from common.ids import Offset, SequencerId
from common.objectstore import ObjectStore, run
from common.schema import DAY_NS, ColumnType, TableId
from ingester.core import IngesterCore
from ingester.decode import Decoded
from ingester.events import (
    Action,
    Commit,
    CommitFailed,
    Committed,
    DeadLetter,
    DeadLettered,
    DeadLetterFailed,
    Event,
    Finish,
    Pause,
    Persist,
    Persisted,
    PersistFailed,
    Polled,
    Resume,
    StopRequested,
    Tick,
)
from ingester.lifecycle import Rules
from ingester.partition_key import PartitionKey
from ingester.persist import manifest
from ingester.persist.job import PersistJob, persist, view_batches
from ingester.persist.manifest_state import Instance, ManifestState
from ingester.persist.unnamed import remove_unnamed_files
from ingester.recovery import Stream, claim_change, start
from tests.support.dict_store import DictStore
from tests.support.records import DAY0_NS, NAMESPACE, Row, columns, decoded, poison, rows_of
from writebuffer.contract import Offsets

SEQUENCER = SequencerId(3)
SECOND_NS = 1_000_000_000

RULES = Rules(
    late_arrival_window_ns=300 * SECOND_NS,
    persist_row_threshold=1000,
    persist_age_threshold_ns=1800 * SECOND_NS,
    soft_memory_bytes=10**9,
    hard_memory_bytes=2 * 10**9,
    log_bytes_max=10**9,
)

Key = tuple[str, str, frozenset[tuple[str, str]], int]
"""Namespace, table, tags, time."""


@dataclass
class Logged:
    """A record of the log and what it must come to, by the records before it. fate: stored, duplicate or dead."""

    record: Decoded
    tables: Mapping[str, Sequence[Row]]
    fate: str


@dataclass
class Model:
    """What the log comes to: repeats are left out, and a column keeps the type that its first record gave it."""

    seen: set[tuple[bytes | None, int]] = field(default_factory=set)
    types: dict[TableId, dict[str, ColumnType]] = field(default_factory=dict)

    def fate(self, record: Decoded) -> str:
        marks = (record.producer_id, record.producer_sequence)
        if marks in self.seen:
            return "duplicate"
        self.seen.add(marks)
        if not isinstance(record.content, Entry):
            return "dead"
        brought = {
            TableId(record.content.namespace, table): columns(rows_of(batch))
            for table, batch in record.content.tables.items()
        }
        for table, found in brought.items():
            if any(self.types.get(table, {}).get(name, kind) is not kind for name, kind in found.items()):
                return "dead"
        for table, found in brought.items():
            self.types.setdefault(table, {}).update(found)
        return "stored"


class IngesterRig:
    """Drives one core. `persists`, `commits` and `letters` hold what it asked for and was not done yet."""

    def __init__(
        self,
        rules: Rules = RULES,
        jobs_max: int = 4,
        file_bytes_max: int = 10**9,
        store: ObjectStore | None = None,
        sequencer: SequencerId = SEQUENCER,
        flight_address: str = "h:2",
    ) -> None:
        """store: a DictStore of its own where none is given; only on that one can faults be injected."""
        self.store: Any = DictStore() if store is None else store
        self._sequencer_id = sequencer
        self._instance = Instance("rig", "h:1", flight_address)
        self.log: list[Logged] = []
        self.next_offset = Offset(0)
        self.first_offset = Offset(0)
        self.now_ns = DAY0_NS
        self._rules, self._jobs_max, self._file_bytes_max = rules, jobs_max, file_bytes_max
        self._model = Model()
        self._sequence = 0
        self.restart()

    def restart(self) -> None:
        """Begin anew from store and log, as the process after a crash does; what was under way is forgotten."""
        state = run(manifest.load(self._sequencer_id), self.store)
        last = next((each.record for each in self.log if each.record.offset == state.stream.last_offset), None)
        stream = Stream("stream", Offsets(self.first_offset, self.next_offset), last.checksum if last else None)
        change = claim_change(state, start(state, stream, accept_loss=False), stream, self._instance)
        self.claimed = run(manifest.claim(state, change, f"claim-{state.epoch + 1}"), self.store)
        remove_unnamed_files(self.claimed, self.store)
        self.core = IngesterCore(
            self.claimed, self._rules, self._file_bytes_max, self._jobs_max, random.Random(self.claimed.epoch)
        )
        self.at = self.claimed.replay_offset
        self.persists: list[PersistJob] = []
        self.commits: list[Commit] = []
        self.letters: list[DeadLetter] = []
        self.paused = self.finished = False

    # The log

    def append(self, tables: Mapping[str, Sequence[Row]], *, skip: int = 0, bad: bool = False, **marks: Any) -> Offset:
        """Append a record, `skip` offsets further on than need be; a new sequence of producer 1 unless marks say."""
        offset = Offset(self.next_offset + skip)
        if "sequence" not in marks:
            marks["sequence"], self._sequence = self._sequence, self._sequence + 1
        marks.setdefault("append_time_ns", self.now_ns)
        record = (poison if bad else decoded)(offset, tables, **marks)
        self.log.append(Logged(record, tables, self._model.fate(record)))
        self.next_offset = Offset(offset + 1)
        return offset

    def again(self, offset: int) -> Offset:
        """Append the record at `offset` once more, as a router does whose first answer was lost."""
        first = next(each for each in self.log if each.record.offset == offset)
        record = Decoded(
            self.next_offset,
            first.record.record,
            first.record.checksum,
            first.record.append_time_ns,
            first.record.producer_id,
            first.record.producer_sequence,
            first.record.content,
        )
        self.log.append(Logged(record, first.tables, self._model.fate(record)))
        self.next_offset = Offset(self.next_offset + 1)
        return record.offset

    # Events

    def poll(self, records: int = 1_000_000) -> list[Action]:
        """Hand the next `records` records over."""
        waiting = [each.record for each in self.log if each.record.offset >= self.at]
        batch = tuple(waiting[:records])
        self.at = self.next_offset if len(batch) == len(waiting) else Offset(batch[-1].offset + 1) if batch else self.at
        return self.step(Polled(batch, self.at, caught_up=self.at == self.next_offset))

    def tick(self, seconds: float = 1.0) -> list[Action]:
        self.now_ns += round(seconds * 1e9)
        return self.step(Tick(self.now_ns))

    def persist(self, which: int = 0) -> list[Action]:
        """Run the job that has waited longest, or the `which`-th."""
        job = self.persists.pop(which)
        try:
            result = persist(job, self.store)
        except Unavailable:
            return self.step(PersistFailed(job))
        return self.step(Persisted(job, result))

    def commit(self) -> list[Action]:
        action = self.commits.pop(0)
        try:
            state = run(manifest.commit(action.state, action.change, action.nonce), self.store)
        except Unavailable:
            return self.step(CommitFailed())
        actions = self.step(Committed(state))
        self._check_manifest(state)
        return actions

    def dead_letter(self, fails: bool = False) -> list[Action]:
        letter = self.letters.pop(0)
        return self.step(DeadLetterFailed(letter.offset) if fails else DeadLettered(letter.offset))

    def stop(self, persist: bool = True) -> list[Action]:
        return self.step(StopRequested(persist))

    def settle(self) -> None:
        """Do everything that was asked for, and what that leads to."""
        while self.persists or self.commits or self.letters:
            if self.persists:
                self.persist()
            elif self.letters:
                self.dead_letter()
            else:
                self.commit()

    def go_cold(self) -> None:
        """Everything applied so far becomes durable."""
        self.tick(301)
        self.settle()
        while self.core.rows_buffered:
            self.tick(1)
            self.settle()

    def step(self, event: Event) -> list[Action]:
        actions = self.core.step(event)
        for action in actions:
            self._file(action)
        self._check()
        return actions

    def _file(self, action: Action) -> None:
        match action:
            case Persist(job):
                self.persists.append(job)
            case Commit():
                assert not self.commits, "two commits under way"
                self.commits.append(action)
            case DeadLetter():
                self.letters.append(action)
            case Pause():
                self.paused = True
            case Resume():
                self.paused = False
            case Finish():
                assert not self.finished
                self.finished = True

    # What must hold

    def _check(self) -> None:
        core = self.core
        settled = core.accounts.settled - self.claimed.accounts.settled
        assert core.counters.rows_taken == settled + core.rows_buffered
        assert sum(view.rows for view in core.view.partitions.values()) == core.rows_buffered
        assert core.view.manifest_number == core.state.number
        assert core.view.applied_offset == core.applied_offset
        assert core.state.replay_offset <= core.applied_offset
        assert (core.bytes_buffered == 0) == (core.rows_buffered == 0)

    def _check_manifest(self, state: ManifestState) -> None:
        """Rows settled = all rows below the replay offset, and those above that a frontier covers."""
        below = sum(each.record.rows for each in self.log if each.record.offset < state.replay_offset)
        covered = sum(
            state.covers(PartitionKey(NAMESPACE, table, row.time_ns // DAY_NS), each.record.offset, row.time_ns)
            for each in self.log
            if each.record.offset >= state.replay_offset and each.fate == "stored"
            for table, rows in each.tables.items()
            for row in rows
        )
        assert state.accounts.settled == below + covered
        assert state.accounts.stored == sum(file.rows for file in state.files.values())

    def read(self) -> dict[Key, dict[str, Any]]:
        """What a reader sees: the manifest's files in order of their commits, then memory, field by field."""
        found: dict[Key, dict[str, Any]] = {}
        for file in self.core.state.files.values():
            table = pq.read_table(io.BytesIO(self.store.get(file.path)))
            _add(found, file.partition.namespace, file.partition.table, rows_of(table))
        for key, view in self.core.view.partitions.items():
            for batch in view_batches(view):
                _add(found, key.namespace, key.table, rows_of(batch))
        return found

    def expected(self) -> dict[Key, dict[str, Any]]:
        """What it must see: every record applied, in order."""
        found: dict[Key, dict[str, Any]] = {}
        for each in self.log:
            if each.fate == "stored" and each.record.offset < self.core.applied_offset:
                for table, rows in each.tables.items():
                    _add(found, NAMESPACE, table, rows)
        return found


def _add(found: dict[Key, dict[str, Any]], namespace: str, table: str, rows: Sequence[Row]) -> None:
    for row in rows:
        found.setdefault((namespace, table, frozenset(row.tags.items()), row.time_ns), {}).update(row.fields)
