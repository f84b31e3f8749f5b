"""Claim, commit, trim, a zombie and unknown put outcomes: all interleavings of two writers, by explicit state."""

from collections.abc import Generator
from dataclasses import replace
from functools import partial

import pytest

from common import manifest_record
from common.errors import Unavailable
from common.ids import ManifestNumber
from common.objectstore import AlreadyExists, PutIfAbsent, StoreCall
from ingester.persist import manifest
from ingester.persist.manifest_state import Change, ManifestState
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


def test_every_interleaving_of_two_writers_and_a_trimmer(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers dense, epochs never decrease along them, what is reported done stands once, nothing needed is trimmed."""
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


def _put(
    state: ManifestState, change: Change, nonce: str
) -> Generator[StoreCall, bytes, tuple[ManifestState, type[Exception] | None]]:
    """One put at the number after `state`'s; the state after it, and what was raised."""
    after, data = manifest.encode(state, change, state.epoch, nonce)
    try:
        yield PutIfAbsent(manifest_record.path(state.sequencer, after.number), data)
    except (AlreadyExists, Unavailable) as error:
        return after, type(error)
    return after, None


def tries_the_next_number(
    state: ManifestState, change: Change, nonce: str
) -> Generator[StoreCall, bytes, ManifestState]:
    """A commit that takes a taken number, or an unknown outcome, for a reason to try the next."""
    while True:
        after, failed = yield from _put(state, change, nonce)
        if failed is None:
            return after
        state = replace(state, number=ManifestNumber(state.number + 1))


def takes_a_taken_number_for_its_own(
    state: ManifestState, change: Change, nonce: str
) -> Generator[StoreCall, bytes, ManifestState]:
    """A commit that believes whatever stands there to be its earlier try."""
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
        (tries_the_next_number, 1, "an epoch decreases|a record stands twice|numbers are not dense"),
        (takes_a_taken_number_for_its_own, 0, "reported done and is not there"),
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
