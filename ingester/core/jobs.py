"""The persist jobs under way: cut, running, waiting for another try, or finished and not yet committed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from common.catalog.manifest.frontier import Corner, Frontier
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.values.ids import Epoch, Offset, SequencerId
from common.values.schema import ColumnType, TableId
from ingester.buffer.piece import PartitionView
from ingester.persist.job import PersistJob, PersistResult

RETRY_NS = 1_000_000_000
RETRY_NS_MAX = 30_000_000_000

SortKeys = Mapping[TableId, tuple[str, ...]]


@dataclass(slots=True)
class Running:
    """result: None until the job has finished. retry_at_ns: set while a failed job waits."""

    job: PersistJob
    result: PersistResult | None = None
    attempts: int = 0
    retry_at_ns: int | None = None


class Jobs:
    """Jobs by number, in the order they were cut."""

    def __init__(
        self,
        sequencer: SequencerId,
        epoch: Epoch,
        jobs_max: int,
        file_bytes_max: int,
        rng: random.Random,
        small_per_job: int = 1,
    ) -> None:
        """jobs_max: that may be under way at once; so many small ones count as one. rng: for the jitter of retries."""
        self._sequencer = sequencer
        self._epoch = epoch
        self._small_per_job = small_per_job
        self._permits = jobs_max * small_per_job
        self._file_bytes_max = file_bytes_max
        self._random = rng
        self._running: dict[int, Running] = {}
        self._cut = 0

    def __len__(self) -> int:
        return len(self._running)

    def __getitem__(self, number: int) -> Running:
        return self._running[number]

    @property
    def next_number(self) -> int:
        return self._cut + 1

    @property
    def has_permit(self) -> bool:
        """Whether one more may be cut now. One that turns out to be large may go over the limit."""
        return self._permits > 0

    def _weight(self, job: PersistJob) -> int:
        return 1 if job.is_small else self._small_per_job

    @property
    def numbers(self) -> frozenset[int]:
        return frozenset(self._running)

    def start(self, view: PartitionView, corner: Corner, known: SortKeys) -> PersistJob:
        """Make the job of the rows just cut for `next_number`. corner: see PersistJob."""
        self._cut += 1
        job = PersistJob(
            number=self._cut,
            sequencer=self._sequencer,
            epoch=self._epoch,
            view=view,
            last_offset=Offset(corner[0]),
            until_ns=corner[1],
            sort_key=self._sort_key(view, known),
            file_bytes_max=self._file_bytes_max,
        )
        self._running[job.number] = Running(job)
        self._permits -= self._weight(job)
        return job

    def finished(self, number: int, result: PersistResult) -> None:
        self._running[number].result = result

    def failed(self, number: int, now_ns: int) -> None:
        """Try again after a while: doubling, bounded, with jitter."""
        running = self._running[number]
        wait_ns = min(RETRY_NS << min(running.attempts, 10), RETRY_NS_MAX)
        running.attempts += 1
        running.retry_at_ns = now_ns + round(wait_ns * self._random.uniform(0.5, 1.5))

    def wait_no_more(self, now_ns: int) -> None:
        """Failed jobs are due at once, and their waits begin small again."""
        for running in self._running.values():
            running.attempts = 0
            if running.retry_at_ns is not None:
                running.retry_at_ns = now_ns

    def due_again(self, now_ns: int) -> list[PersistJob]:
        """Failed jobs whose wait is over; they count as running from here on."""
        due = [r for r in self._running.values() if r.retry_at_ns is not None and now_ns >= r.retry_at_ns]
        for running in due:
            running.retry_at_ns = None
        return [running.job for running in due]

    def committable(self) -> tuple[int, ...]:
        """Finished jobs that no unfinished job of the same partition was cut before.

        Were a later one committed first, its corner of the frontier would cover the earlier one's rows, and a crash
        would lose them.
        """
        blocked: set[PartitionKey] = set()
        done = []
        for number, running in self._running.items():
            if running.result is None:
                blocked.add(running.job.key)
            elif running.job.key not in blocked:
                done.append(number)
        return tuple(done)

    def frontier_with(self, key: PartitionKey, corner: Corner, state: ManifestState) -> Frontier:
        """The partition's frontier once every job under way, and one with that corner, is committed."""
        known = state.frontiers.get(key) or Frontier()
        corners = [running.job.corner for running in self._running.values() if running.job.key == key]
        return Frontier((*known.above(state.replay_offset), *corners, corner))

    def frontiers(
        self, numbers: tuple[int, ...], known: Mapping[PartitionKey, Frontier]
    ) -> dict[PartitionKey, Frontier]:
        """The frontiers of the partitions that these jobs persist, once they are committed."""
        after: dict[PartitionKey, Frontier] = {}
        for number in numbers:
            job = self._running[number].job
            before = after.get(job.key) or known.get(job.key) or Frontier()
            after[job.key] = before.with_corner(*job.corner)
        return after

    def sort_keys(self, numbers: tuple[int, ...], known: SortKeys) -> dict[TableId, tuple[str, ...]]:
        """The sort keys of the tables these jobs touch: tags new to a table are appended, none is moved."""
        tables = {self._running[number].job.key.table_id for number in numbers}
        return {table: self._table_key(table, known) for table in tables}

    def drop(self, number: int) -> PersistJob:
        """Forget a committed job."""
        job = self._running.pop(number).job
        self._permits += self._weight(job)
        return job

    def _sort_key(self, view: PartitionView, known: SortKeys) -> tuple[str, ...]:
        """The table's order for the tags these rows have; tags new to the table follow, those with few values first."""
        tags = {name for name, column in view.columns.items() if column is ColumnType.TAG}
        ordered = self._table_key(view.key.table_id, known)
        new = sorted(tags - set(ordered), key=lambda tag: (view.tag_values(tag), tag))
        return tuple(tag for tag in ordered if tag in tags) + tuple(new)

    def _table_key(self, table: TableId, known: SortKeys) -> tuple[str, ...]:
        ordered = known.get(table, ())
        for running in self._running.values():
            if running.job.key.table_id == table:
                ordered += tuple(tag for tag in running.job.sort_key if tag not in ordered)
        return ordered
