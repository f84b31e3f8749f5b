"""Claim, commit, trim, a zombie and unknown put outcomes: all interleavings of two writers, by explicit state."""

from collections.abc import Generator
from dataclasses import replace
from functools import partial

import pytest

from common.catalog.manifest import checkpoint, head, manifest
from common.catalog.manifest.change import Change
from common.catalog.manifest.hint import encode_hint
from common.catalog.manifest.state import ManifestState
from common.catalog.paths import manifest_hint, manifest_record
from common.store.objects import AlreadyExists, PutAll, PutIfAbsent, StoreCall
from common.values.errors import Unavailable
from common.values.ids import ManifestNumber
from tests.support.interleavings import (
    ROWS_PER_COMMIT,
    SEQUENCER,
    Actor,
    Broken,
    Commit,
    Explorer,
    Trim,
    trimmer,
    writer,
)
from tests.support.single_calls import single_calls


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint for every two records, looked for in windows of two."""
    monkeypatch.setattr(checkpoint, "RECORDS_MAX", 2)
    monkeypatch.setattr(head, "WINDOW", 2)


def test_every_interleaving_of_two_writers_and_a_trimmer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers dense, epochs never decrease along them, what is reported done exists once, nothing needed is trimmed."""
    monkeypatch.setattr(checkpoint, "RECORDS_MAX", 3)
    monkeypatch.setattr(head, "WINDOW", 3)
    explorer = Explorer(
        {
            "old": partial(writer, "old", commits=2),
            "new": partial(writer, "new", commits=1),
            "trimmer": partial(trimmer, rounds=1),
        },
        lost=1,
    )
    schedules = explorer.explore()
    with capsys.disabled():
        print(f"\nmanifest: {explorer.states:,} states, {schedules:.3g} interleavings explored")
    assert explorer.states > 1000


def test_two_writers_with_two_lost_answers() -> None:
    """Without the trimmer, more may go wrong: two puts of unknown outcome anywhere."""
    explorer = Explorer({"old": partial(writer, "old", commits=1), "new": partial(writer, "new", commits=1)}, lost=2)
    assert explorer.explore() > explorer.states > 1000


def test_two_writers_whose_reads_and_puts_are_made_one_by_one() -> None:
    """Reads of a window and puts of a checkpoint are many calls: others come in between, or a crash."""

    def alone(name: str) -> Actor:
        return single_calls(writer(name, commits=1))

    explorer = Explorer({"old": partial(alone, "old"), "new": partial(alone, "new")}, lost=1)
    assert explorer.explore() > explorer.states > 1000


@pytest.mark.parametrize("hint", [1, 2, 3, 1_000_000])
def test_a_hint_that_lies_misleads_nobody(hint: int) -> None:
    """Too low, too high, or of a record that comes later: put at any instant, it changes no outcome."""

    def liar() -> Actor:
        yield PutAll(((manifest_hint(SEQUENCER), encode_hint(ManifestNumber(hint))),))

    actors = {"old": partial(writer, "old", commits=2), "new": partial(writer, "new", commits=1), "liar": liar}
    explorer = Explorer(actors, lost=0)
    assert explorer.explore() > explorer.states > 100


def _put(
    state: ManifestState, change: Change, nonce: str
) -> Generator[StoreCall, bytes, tuple[ManifestState, type[Exception] | None]]:
    """One put at the number after `state`'s; the state after it, and what was raised."""
    after, data = manifest.encode(state, change, state.epoch, nonce)
    try:
        yield PutIfAbsent(manifest_record(state.sequencer, after.number), data)
    except (AlreadyExists, Unavailable) as error:
        return after, type(error)
    return after, None


def tries_the_next_number(
    state: ManifestState, change: Change, nonce: str
) -> Generator[StoreCall, bytes, ManifestState]:
    """A commit that tries the next number after one that exists, or after an unknown outcome."""
    while True:
        after, failed = yield from _put(state, change, nonce)
        if failed is None:
            return after
        state = replace(state, number=ManifestNumber(state.number + 1))


def believes_an_existing_number_to_be_its_own(
    state: ManifestState, change: Change, nonce: str
) -> Generator[StoreCall, bytes, ManifestState]:
    """A commit that believes any record there to be its earlier try."""
    while True:
        after, failed = yield from _put(state, change, nonce)
        if failed is not Unavailable:
            return after


def takes_unknown_for_done(
    state: ManifestState, change: Change, nonce: str
) -> Generator[StoreCall, bytes, ManifestState]:
    """A commit that does not read after a lost answer."""
    after, failed = yield from _put(state, change, nonce)
    if failed is AlreadyExists:
        return (yield from manifest.commit(state, change, nonce))
    return after


@pytest.mark.parametrize(
    ("commit", "lost", "what"),
    [
        (tries_the_next_number, 0, "an epoch decreases"),
        (tries_the_next_number, 1, "an epoch decreases|a record occurs twice|numbers are not dense"),
        (believes_an_existing_number_to_be_its_own, 0, "reported done and is not there"),
        (takes_unknown_for_done, 1, "reported done and is not there"),
    ],
)
def test_the_check_finds_a_wrong_commit(commit: Commit, lost: int, what: str) -> None:
    """A mutated commit is caught, with the schedule that shows it."""
    actors = {
        "old": partial(writer, "old", commits=2, commit=commit),
        "new": partial(writer, "new", commits=1, commit=commit),
    }
    with pytest.raises(Broken, match=what) as raised:
        Explorer(actors, lost).explore()
    assert "old puts" in str(raised.value)


def test_the_check_finds_a_trim_that_goes_too_far() -> None:
    """A trimmer that trusts what is applied, not what is committed, is caught."""

    def hasty() -> Actor:
        state = yield from manifest.load(SEQUENCER)
        yield Trim(state.replay_offset + ROWS_PER_COMMIT)

    actors = {"old": partial(writer, "old", commits=1), "trimmer": hasty}
    with pytest.raises(Broken, match="trimmed up to"):
        Explorer(actors, lost=0).explore()
