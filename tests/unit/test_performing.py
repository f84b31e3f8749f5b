"""What each action does and which event comes back, whether the store answers or not."""

import json

import pytest

from common.values.errors import Fenced
from ingester.core.events import (
    Commit,
    CommitFailed,
    Committed,
    DeadLetter,
    DeadLettered,
    DeadLetterFailed,
    Persist,
    Persisted,
    PersistFailed,
)
from ingester.performing import perform, perform_steps
from tests.support.ingester_rig import IngesterRig
from tests.support.records import DAY0_NS, row


def a_rig() -> IngesterRig:
    """One row and one record that cannot be decoded; a persist and a dead letter are asked for."""
    rig = IngesterRig()
    rig.append({"cpu": [row(DAY0_NS, "a", v=1.0)]})
    rig.append({"cpu": [row(DAY0_NS, "a", v=1.0)]}, bad=True)
    rig.poll()
    rig.tick(301)
    return rig


def test_a_persist_is_answered_with_its_files() -> None:
    """They are in the store by then; a store that is away is a failure with its reason."""
    rig = a_rig()
    job = rig.persists[0]
    rig.store.fail("data/")
    failed = perform(Persist(job), rig.store)
    assert isinstance(failed, PersistFailed)
    assert failed.job is job
    assert "injected" in failed.error.message
    done = perform(Persist(job), rig.store)
    assert isinstance(done, Persisted)
    assert [file.path in rig.store.objects for file in done.result.files] == [True]


def test_a_commit_is_answered_with_the_state_after_it() -> None:
    """Or with a failure of unknown outcome; a newer epoch ends the ingester."""
    rig = a_rig()
    rig.persist()
    commit = rig.commits[0]
    rig.store.fail("manifest/", times=5)
    assert isinstance(perform(commit, rig.store), CommitFailed)
    done = perform(commit, rig.store)
    assert isinstance(done, Committed)
    assert done.state.number == commit.state.number + 1
    with pytest.raises(Fenced):
        perform(Commit(commit.state, commit.change, "another"), rig.store)


def test_a_dead_letter_is_answered_with_its_path() -> None:
    """The bytes and a note that says why."""
    rig = a_rig()
    letter = rig.letters[0]
    rig.store.fail("dead-letter/")
    failed = perform(letter, rig.store)
    assert isinstance(failed, DeadLetterFailed)
    assert failed.letter is letter
    done = perform(letter, rig.store)
    assert isinstance(done, DeadLettered)
    assert json.loads(rig.store.objects[done.path])["reason"] == letter.reason
    assert rig.store.objects[done.path.replace(".json", ".bin")] == letter.data


def test_a_commit_can_be_performed_one_store_call_at_a_time() -> None:
    """Nothing is written before the first call is made."""
    rig = a_rig()
    rig.persist()
    steps = perform_steps(rig.commits[0], rig.store)
    before = dict(rig.store.objects)
    next(steps)
    assert rig.store.objects == before


def test_a_dead_letter_that_is_put_again_is_the_same() -> None:
    """A restart that reads the record again puts the same objects."""
    letter = DeadLetter(IngesterRig().core.state.sequencer, a_rig().letters[0].offset, "why", b"bytes")
    rig = IngesterRig()
    perform(letter, rig.store)
    once = dict(rig.store.objects)
    perform(letter, rig.store)
    assert rig.store.objects == once
