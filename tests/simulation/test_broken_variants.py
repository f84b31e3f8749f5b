"""The simulation can fail: each of these breaks one rule of the design, and is found within SEEDS_MAX seeds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.catalog.manifest import manifest
from common.catalog.manifest.change import Change
from common.catalog.manifest.frontier import TIME_END, Frontier
from common.catalog.manifest.state import ManifestState
from common.store.objects import ObjectStore, Steps, run
from common.values.errors import Fenced
from ingester.buffer.tree import BufferTree
from ingester.core.committing import Committing
from ingester.core.core import IngesterCore
from ingester.core.dead_letters import DeadLetters
from ingester.core.ending import Ending
from ingester.core.events import Action, Event, Finish, Persisted
from ingester.core.jobs import Jobs
from ingester.core.ledger import Ledger
from ingester.core.view import View
from router.core.core import RouterCore
from tests.simulation import ingester_process, reading
from tests.simulation.simulate import SeedFailed, simulate

SEEDS_MAX = 60
Break = Callable[[pytest.MonkeyPatch], None]


def commits_out_of_cut_order(patch: pytest.MonkeyPatch) -> None:
    """A later job's corner covers the rows of an earlier one that is not stored."""

    def committable(self: Jobs) -> tuple[int, ...]:
        return tuple(number for number, running in self._running.items() if running.result is not None)

    patch.setattr(Jobs, "committable", committable)


def replays_from_the_applied_offset(patch: pytest.MonkeyPatch) -> None:
    """Rows in memory are below the replay offset."""
    patch.setattr(Committing, "_replay_offset", lambda self, jobs: self._intake.applied_offset)


def replay_offset_does_not_wait_for_dead_letters(patch: pytest.MonkeyPatch) -> None:
    """A crash leaves neither the record nor its dead letter."""
    patch.setattr(DeadLetters, "first_offset", None)


def producers_as_of_the_applied_offset(patch: pytest.MonkeyPatch) -> None:
    """A replay counts what is in between as duplicates."""

    def settled_at(self: Ledger, replay_offset: Any) -> Any:
        settled = original(self, replay_offset)
        return replace(settled, as_of=replace(settled.as_of, producers=self._producers.copy()))

    original = Ledger.settled_at
    patch.setattr(Ledger, "settled_at", settled_at)


def rows_leave_memory_before_their_commit(patch: pytest.MonkeyPatch) -> None:
    """Until the manifest names the file, a query finds them nowhere."""

    def step(self: IngesterCore, event: Event) -> list[Action]:
        actions = original(self, event)
        if isinstance(event, Persisted):
            left = {key: view for key, view in self.view.partitions.items() if key != event.job.key}
            self.view = replace(self.view, partitions=left)
        return actions

    original = IngesterCore.step
    patch.setattr(IngesterCore, "step", step)


def acknowledges_before_the_append_resolves(patch: pytest.MonkeyPatch) -> None:
    """204 as soon as the append is asked for."""

    def append(self: RouterCore, batch: Any, now_ns: int) -> Any:
        batch.last_offsets = dict.fromkeys(batch.payloads, 10**9)
        actions = list(original(self, batch, now_ns))
        pending, batch.pending = batch.pending, set()
        responses = batch.answer_resolved()
        batch.pending = pending
        return [*responses, *actions]

    original = RouterCore._append
    patch.setattr(RouterCore, "_append", append)


def frontier_corner_one_too_high(patch: pytest.MonkeyPatch) -> None:
    """The first row that the job does not hold counts as durable."""

    def frontiers(self: Jobs, numbers: tuple[int, ...], known: Any) -> dict[Any, Frontier]:
        corners = original(self, numbers, known)
        for number in numbers:
            job = self._running[number].job
            corners[job.key] = corners[job.key].with_corner(job.last_offset + 1, TIME_END)
        return corners

    original = Jobs.frontiers
    patch.setattr(Jobs, "frontiers", frontiers)


def replay_ignores_the_frontier(patch: pytest.MonkeyPatch) -> None:
    """Rows that files hold are applied again."""

    def add(self: BufferTree, entry: Any, offset: Any, arrival_ns: int, frontiers: Any) -> Any:
        return original(self, entry, offset, arrival_ns, {})

    original = BufferTree.add
    patch.setattr(BufferTree, "add", add)


def query_reads_the_newest_manifest(patch: pytest.MonkeyPatch) -> None:
    """Rows that were persisted after the view was taken come too, before rows that memory had over them."""

    def newest(view: View, sequencer: Any, store: ObjectStore) -> ManifestState:
        return run(manifest.load(sequencer), store)

    patch.setattr(reading, "manifest_of", newest)


def duplicates_are_not_dropped(patch: pytest.MonkeyPatch) -> None:
    """A record that occurs twice is applied twice."""
    patch.setattr(Ledger, "is_duplicate", lambda self, record: False)


def a_fenced_ingester_tries_the_next_number(patch: pytest.MonkeyPatch) -> None:
    """Two ingesters write one manifest."""

    def commit(state: ManifestState, change: Change, nonce: str) -> Steps[ManifestState]:
        try:
            return (yield from original(state, change, nonce))
        except Fenced:
            newest = yield from manifest.load(state.sequencer)
            return (yield from original(replace(newest, epoch=state.epoch), change, nonce))

    original = manifest.commit
    patch.setattr(manifest, "commit", commit)


def a_lost_answer_is_mistaken_for_another_s_record(patch: pytest.MonkeyPatch) -> None:
    """The nonce is not looked at: an ingester takes its own record for that of its successor."""
    decode = manifest.decode
    patch.setattr(manifest, "decode", lambda *given: replace(decode(*given), nonce=""))


def unnamed_files_are_those_of_any_lower_epoch(patch: pytest.MonkeyPatch) -> None:
    """A new ingester deletes what its predecessor has committed."""
    original = ingester_process.remove_unnamed_files
    patch.setattr(
        ingester_process, "remove_unnamed_files", lambda state, store: original(replace(state, files={}), store)
    )


def failed_jobs_wait_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Nothing is wrong in what is read, but it never comes to rest."""
    patch.setattr(Jobs, "due_again", lambda self, now_ns: [])


def a_lost_stream_ends_the_ingester_at_once(patch: pytest.MonkeyPatch) -> None:
    """What was applied of it is thrown away: it may be nowhere else."""
    patch.setattr(Ending, "persists", False)
    patch.setattr(Ending, "finish", lambda self, left, now_ns: Finish(self._lost) if self.begun else None)


@pytest.mark.parametrize(
    "broken",
    [
        commits_out_of_cut_order,
        replays_from_the_applied_offset,
        replay_offset_does_not_wait_for_dead_letters,
        producers_as_of_the_applied_offset,
        rows_leave_memory_before_their_commit,
        acknowledges_before_the_append_resolves,
        frontier_corner_one_too_high,
        replay_ignores_the_frontier,
        query_reads_the_newest_manifest,
        duplicates_are_not_dropped,
        a_fenced_ingester_tries_the_next_number,
        a_lost_answer_is_mistaken_for_another_s_record,
        unnamed_files_are_those_of_any_lower_epoch,
        failed_jobs_wait_for_ever,
        a_lost_stream_ends_the_ingester_at_once,
    ],
    ids=lambda broken: broken.__name__,
)
def test_a_broken_variant_is_found(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seed fails, and its message says how to run it again alone."""
    broken(monkeypatch)
    with pytest.raises(SeedFailed, match=r"python -m tests\.simulation\.run --seed \d+"):
        _simulate_all()


def _simulate_all() -> None:
    for seed in range(SEEDS_MAX):
        simulate(seed)
