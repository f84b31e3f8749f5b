"""An ingester core with a driver that does one thing at a time, and a model of what must be read.

The log is a list (rig_stream.py), the store a dict; manifest records, Parquet files and recovery are the real ones.
After every step the accounts are checked, and after every commit what the manifest says against the log.
"""

import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow.parquet as pq

from common.catalog.cursors import Consumed
from common.catalog.manifest import manifest
from common.catalog.manifest.change import Instance
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.store.objects import ObjectStore, run
from common.values.errors import PenstockError
from common.values.ids import Offset, SequencerId
from common.values.schema import DAY_NS
from ingester.core.core import IngesterCore
from ingester.core.events import (
    Action,
    Answer,
    Commit,
    Committed,
    DeadLetter,
    Event,
    Finish,
    Pause,
    Persist,
    Polled,
    Resume,
    StopRequested,
    StreamLost,
    Tick,
)
from ingester.core.lifecycle import Rules, plan
from ingester.core.persisting import Policy
from ingester.following.recovery import claim_change, start
from ingester.performing import perform
from ingester.persist.job import PersistJob, view_batches
from ingester.persist.unnamed import remove_unnamed_files
from tests.support.dict_store import DictStore
from tests.support.records import DAY0_NS, NAMESPACE, Row, row, rows_of
from tests.support.rig_stream import Logged, RigStream

SEQUENCER = SequencerId(3)
SECOND_NS = 1_000_000_000

RULES = Rules(
    late_arrival_window_ns=300 * SECOND_NS,
    persist_row_threshold=1000,
    persist_age_threshold_ns=1800 * SECOND_NS,
    soft_memory_bytes=10**9,
    hard_memory_bytes=2 * 10**9,
    log_bytes_max=10**9,
    log_records_max=10**9,
    stop_timeout_ns=30 * SECOND_NS,
    stop_deadline_ns=1_000 * SECOND_NS,
)

Key = tuple[str, str, frozenset[tuple[str, str]], int]
"""Namespace, table, tags, time."""


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
        policy: Policy = plan,
        small_jobs_per_job: int = 1,
        stream: RigStream | None = None,
        now_ns: int = DAY0_NS,
    ) -> None:
        """store: a DictStore of its own where none is given; only on that one can faults be injected.

        stream: another ingester's, which this one supersedes; an empty one where none is given.
        """
        self.store: Any = DictStore() if store is None else store
        self._sequencer_id = sequencer
        self._instance = Instance("rig", "h:1", flight_address)
        self.stream = stream or RigStream()
        self.now_ns = now_ns
        self._rules, self._jobs_max, self._file_bytes_max, self._policy = rules, jobs_max, file_bytes_max, policy
        self._small_jobs_per_job = small_jobs_per_job
        self.checks_rows_taken = True
        self.restart()

    def restart(self, removes_unnamed: bool = True, accept_loss: bool = False) -> None:
        """Begin again from store and log, as the process after a crash does; what was under way is forgotten.

        removes_unnamed: an ingester does so some time after its claim.
        """
        state = run(manifest.load(self._sequencer_id), self.store)
        found = self.stream.found(state.as_of.stream.last_offset)
        begin = start(state, found, accept_loss)
        if begin.gaps:
            self.stream.lose(begin.gaps[0].next_offset, state)
            self.checks_rows_taken = False
        change = claim_change(state, begin, found, self._instance)
        self.claimed = run(manifest.claim(state, change, f"claim-{state.epoch + 1}"), self.store)
        if removes_unnamed:
            remove_unnamed_files(self.claimed, self.store)
        self.core = IngesterCore(
            self.claimed,
            self._rules,
            self._file_bytes_max,
            self._jobs_max,
            random.Random(self.claimed.epoch),
            self._policy,
            self._small_jobs_per_job,
        )
        self.at = self.claimed.replay_offset
        self.persists: list[PersistJob] = []
        self.commits: list[Commit] = []
        self.letters: list[DeadLetter] = []
        self.answers: list[Answer] = []
        self.paused = self.finished = False
        self.pauses = self.bytes_most = 0
        self.ended_with: PenstockError | None = None

    # The log

    @property
    def log(self) -> list[Logged]:
        """Every record there ever was, those that were trimmed included."""
        return self.stream.log

    @property
    def next_offset(self) -> Offset:
        return self.stream.next_offset

    def append(self, tables: Mapping[str, Sequence[Row]], *, skip: int = 0, bad: bool = False, **marks: Any) -> Offset:
        """As RigStream.append; appended now, unless marks say otherwise."""
        return self.stream.append(tables, skip=skip, bad=bad, **{"append_time_ns": self.now_ns, **marks})

    def again(self, offset: int) -> Offset:
        """Append the record at `offset` once more, as a router does whose first answer was lost."""
        return self.stream.again(offset)

    def trim(self) -> None:
        """Remove from the log what the store says that nobody needs any more."""
        self.stream.trim(Consumed(self.store).below(self._sequencer_id, self.stream.identity))

    # Events

    def poll(self, records: int = 1_000_000) -> list[Action]:
        """Hand the next `records` records over."""
        waiting = self.stream.read(self.at)
        batch = tuple(waiting[:records])
        self.at = self.next_offset if len(batch) == len(waiting) else Offset(batch[-1].offset + 1) if batch else self.at
        return self.step(Polled(batch, self.at, caught_up=self.at == self.next_offset))

    def tick(self, seconds: float = 1.0) -> list[Action]:
        self.now_ns += round(seconds * 1e9)
        return self.step(Tick(self.now_ns))

    def persist(self, which: int = 0) -> list[Action]:
        """Run the job that has waited longest, or the `which`-th."""
        return self.step(perform(Persist(self.persists.pop(which)), self.store))

    def commit(self) -> list[Action]:
        outcome = perform(self.commits.pop(0), self.store)
        actions = self.step(outcome)
        if isinstance(outcome, Committed):
            self._check_manifest(outcome.state)
        return actions

    def dead_letter(self, fails: bool = False) -> list[Action]:
        if fails:
            self.store.fail("dead-letter/")
        return self.step(perform(self.letters.pop(0), self.store))

    def stop(self, persist: bool = True) -> list[Action]:
        return self.step(StopRequested(persist))

    def lose(self, error: PenstockError) -> list[Action]:
        """The stream cannot be followed any further."""
        return self.step(StreamLost(error))

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
            case Answer():
                self.answers.append(action)
            case Pause():
                self.paused = True
                self.pauses += 1
            case Resume():
                self.paused = False
            case Finish(error):
                assert not self.finished
                self.finished = True
                self.ended_with = error

    # What must hold

    def _check(self) -> None:
        core = self.core
        self.bytes_most = max(self.bytes_most, core.bytes_buffered)
        settled = core.accounts.settled - self.claimed.accounts.settled
        assert core.counters.rows_applied == settled + core.rows_buffered
        assert core.counters.rows_unaccounted == 0
        assert sum(view.rows for view in core.view.partitions.values()) == core.rows_buffered
        assert core.view.manifest_number == core.state.number
        assert core.view.applied_offset == core.applied_offset
        assert core.state.replay_offset <= core.applied_offset
        assert (core.bytes_buffered == 0) == (core.rows_buffered == 0)

    def _check_manifest(self, state: ManifestState) -> None:
        """Rows settled = all rows below the replay offset, and those above that a frontier covers."""
        below = sum(each.rows for each in self.log if each.record.offset < state.replay_offset)
        covered = sum(
            state.covers(PartitionKey(NAMESPACE, table, row.time_ns // DAY_NS), each.record.offset, row.time_ns)
            for each in self.log
            if each.record.offset >= state.replay_offset and each.fate == "stored"
            for table, rows in each.tables.items()
            for row in rows
        )
        assert state.accounts.settled == below + covered
        assert state.accounts.stored == sum(file.rows for file in state.files.values())
        assert covered == 0 or state.stores_ahead
        if self.checks_rows_taken:
            assert (state.as_of.rows_taken, state.rows_ahead) == (below, covered)

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
            if each.is_read and each.record.offset < self.core.applied_offset:
                for table, rows in each.tables.items():
                    _add(found, NAMESPACE, table, rows)
        return found


def _add(found: dict[Key, dict[str, Any]], namespace: str, table: str, rows: Sequence[Row]) -> None:
    for one in rows:
        found.setdefault((namespace, table, frozenset(one.tags.items()), one.time_ns), {}).update(one.fields)


def a_rig(**rules: int) -> IngesterRig:
    """With some of the RULES replaced."""
    return IngesterRig(replace(RULES, **rules))


def cpu(seconds: int = 0, host: str = "a", **fields: object) -> dict[str, list[Row]]:
    """One row of table cpu."""
    return {"cpu": [row(DAY0_NS + seconds * SECOND_NS, host, **(fields or {"v": 1.0}))]}
