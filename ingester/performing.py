"""What each action of the core does, and which event comes back: written once, for every driver.

Persist jobs may be performed beside each other, in any order. Commits and dead letters are performed one after another,
in the order the core asked for them.
"""

from common.catalog.manifest import manifest
from common.store.objects import ObjectStore, Steps, run
from common.values.errors import Unavailable
from ingester.core.events import (
    Commit,
    CommitFailed,
    Committed,
    DeadLetter,
    DeadLettered,
    DeadLetterFailed,
    Outcome,
    Persist,
    Persisted,
    PersistFailed,
)
from ingester.persist.dead_letter import put_dead_letter
from ingester.persist.job import persist

StoreAction = Persist | Commit | DeadLetter
"""The actions that call the store. The others are the driver's own: Pause, Resume, Finish."""


def perform(action: StoreAction, store: ObjectStore) -> Outcome:
    """Do it; returns the event to hand back to the core, a failure's too.

    Raises what ends the ingester: Fenced, DataCorrupt.
    """
    return run(perform_steps(action, store), store)


def perform_steps(action: StoreAction, store: ObjectStore) -> Steps[Outcome]:
    """The same, a commit one store call at a time: tests let other things happen between two calls."""
    try:
        match action:
            case Persist(job):
                return Persisted(job, persist(job, store))
            case Commit(state, change, nonce):
                return Committed((yield from manifest.commit(state, change, nonce)))
            case DeadLetter():
                return DeadLettered(action, put_dead_letter(store, action))
    except Unavailable as error:
        return _failed(action, error)


def _failed(action: StoreAction, error: Unavailable) -> Outcome:
    match action:
        case Persist(job):
            return PersistFailed(job, error)
        case Commit():
            return CommitFailed(error)
        case DeadLetter():
            return DeadLetterFailed(action, error)
