"""From finished jobs to the manifest: what they persisted becomes one change, and one commit is under way at a time.

The replay offset of a change is at most the least offset of a row that no commit up to that one names, and of a record
that waits for its dead letter.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from common.catalog.manifest.change import Change
from common.catalog.manifest.state import ManifestState
from common.catalog.manifest.swap import Swap
from common.catalog.partition_key import PartitionKey
from common.values.ids import Offset
from ingester.buffer.origins import TableColumns
from ingester.buffer.tree import BufferTree
from ingester.core.events import Answer, Commit
from ingester.core.intake import Intake
from ingester.core.jobs import Jobs

ADVANCE_RECORDS = 10_000
ADVANCE_NS = 60_000_000_000
"""When nothing is persisted, a commit that only moves the replay offset is worth so many records, or so long a wait."""


class Committing:
    """state: the newest committed one. Whatever finishes while a commit is under way goes into the next."""

    def __init__(self, state: ManifestState, tree: BufferTree, intake: Intake, jobs: Jobs, rng: random.Random) -> None:
        """rng: for the nonces."""
        self.state = state
        self._tree = tree
        self._intake = intake
        self._jobs = jobs
        self._random = rng
        self._commit: Commit | None = None
        self._committing: tuple[int, ...] = ()
        self._asked: list[Swap] = []
        self._swapping: tuple[Swap, ...] = ()
        self._failed = False
        self._committed_at_ns = 0

    @property
    def under_way(self) -> bool:
        return self._commit is not None

    def ask(self, swap: Swap) -> None:
        """It goes into the next commit, where it still fits by then."""
        self._asked.append(swap)

    def begin(self, elapsed_ns: int, *, ending: bool) -> tuple[Commit | None, list[Answer]]:
        """The next commit, where one is worth it now; and swaps that need none. ending: no record comes any more."""
        if self._commit is not None:
            return None, []
        done = self._jobs.committable()
        swaps, answers = self._take_swaps(done)
        replay_offset = self._replay_offset(done)
        if not (done or swaps or self._worth_advancing(replay_offset, elapsed_ns, ending=ending)):
            return None, answers
        change = self._change(done, replay_offset)
        for swap in swaps:
            change = swap.added_to(change, self.state)
        change = self._counted(change)
        self._committing, self._swapping = done, swaps
        self._commit = Commit(self.state, change, f"{self._random.getrandbits(128):032x}")
        return self._commit, answers

    def failed(self) -> None:
        """The outcome of the commit under way is unknown."""
        self._failed = True

    def again(self) -> Commit | None:
        """The commit that failed, to be tried again as it was; once for each failure."""
        commit = self._commit if self._failed else None
        self._failed = False
        return commit

    def committed(self, state: ManifestState, elapsed_ns: int) -> tuple[Sequence[PartitionKey], list[Answer]]:
        """The commit under way is done: its jobs' rows leave memory. Returns their partitions, and swaps' answers."""
        keys = []
        for number in self._committing:
            keys.append(self._jobs.drop(number).key)
            self._tree.drop(keys[-1], number)
        self.state = state
        self._intake.ledger.committed(state)
        self._committed_at_ns = elapsed_ns
        answers = [Answer(swap, state.number) for swap in self._swapping]
        self._commit, self._committing, self._swapping = None, (), ()
        return keys, answers

    def _take_swaps(self, jobs: tuple[int, ...]) -> tuple[tuple[Swap, ...], list[Answer]]:
        """Those for a commit of `jobs`, and answers to those that are done or cannot be.

        One that touches a partition of another one, or of a job, waits: the next commit finds that it is refused.
        """
        if not self._asked:
            return (), []
        touched = {self._jobs[number].job.key for number in jobs}
        asked, self._asked = self._asked, []
        accepted, answers = [], []
        for swap in asked:
            if swap.is_in(self.state):
                answers.append(Answer(swap, self.state.number))
            elif refusal := swap.refusal(self.state) or self._refused_columns(swap):
                answers.append(Answer(swap, refusal=refusal))
            elif touched.isdisjoint(swap.made_from):
                touched.update(swap.made_from)
                self._intake.ledger.learn(_brought(swap))
                accepted.append(swap)
            else:
                self._asked.append(swap)
        return tuple(accepted), answers

    def _refused_columns(self, swap: Swap) -> str | None:
        """Why its columns cannot be added: a record above the replay offset, too, may have given one another type."""
        return self._intake.ledger.refusal(_brought(swap))

    def _replay_offset(self, jobs: tuple[int, ...]) -> Offset:
        """The least offset with rows that are neither committed nor in `jobs`, or that waits for its dead letter."""
        waiting = (self._tree.first_offset(frozenset(jobs)), self._intake.dead_letters.first_offset)
        held_back = [offset for offset in waiting if offset is not None]
        return max(self.state.replay_offset, min([self._intake.applied_offset, *held_back]))

    def _worth_advancing(self, replay_offset: Offset, elapsed_ns: int, *, ending: bool) -> bool:
        advance = replay_offset - self.state.replay_offset
        if advance <= 0:
            return False
        at_the_end = ending and not self._jobs
        waited = elapsed_ns - self._committed_at_ns >= ADVANCE_NS
        return at_the_end or waited or advance >= ADVANCE_RECORDS

    def _counted(self, change: Change) -> Change:
        """Rows taken are counted again from where nothing is stored ahead: there, all that is settled was taken."""
        if change.as_of.rows_taken is not None or self.state.after(change, self.state.epoch).stores_ahead:
            return change
        return replace(change, as_of=replace(change.as_of, rows_taken=change.as_of.accounts.settled))

    def _change(self, done: tuple[int, ...], replay_offset: Offset) -> Change:
        settled = self._intake.ledger.settled_at(replay_offset)
        results = [result for number in done if (result := self._jobs[number].result)]
        files = tuple(file for result in results for file in result.files)
        accounts = settled.as_of.accounts.plus(
            stored=sum(file.rows for file in files), overwritten=sum(result.overwritten for result in results)
        )
        return Change(
            replace(settled.as_of, accounts=accounts),
            columns=settled.columns,
            files_added=files,
            frontiers={
                key: frontier.above(replay_offset)
                for key, frontier in self._jobs.frontiers(done, self.state.frontiers).items()
            },
            sort_keys=self._jobs.sort_keys(done, self.state.sort_keys),
        )


def _brought(swap: Swap) -> list[TableColumns]:
    return [TableColumns(table, columns) for table, columns in swap.columns.items()]
