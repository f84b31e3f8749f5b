"""What the core is handed, and what it asks of its driver: all values.

What the actions that call the store do, and which outcome comes back: ingester/performing.py.
"""

from dataclasses import dataclass

from common.catalog.manifest.change import Change
from common.catalog.manifest.state import ManifestState
from common.catalog.manifest.swap import Swap
from common.values.errors import PenstockError, Unavailable
from common.values.ids import ManifestNumber, Offset, SequencerId
from ingester.following.decode import Decoded
from ingester.following.joining import JoinedRows
from ingester.persist.job import PersistJob, PersistResult

# Actions


@dataclass(frozen=True, slots=True)
class Persist:
    """Make the job's rows durable as files; any number at once, in any order."""

    job: PersistJob


@dataclass(frozen=True, slots=True)
class Commit:
    """Append `change` to the manifest whose newest state is `state`; the same nonce whenever it is tried again."""

    state: ManifestState
    change: Change
    nonce: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Keep a record that cannot be applied; the replay offset waits for it. data: the record's bytes."""

    sequencer: SequencerId
    offset: Offset
    reason: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop polling."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Poll again."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to do: stop serving and exit. error: what ends the process, where it is no ordered stop."""

    error: PenstockError | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a swap: committed in record `number`, or why it cannot be."""

    swap: Swap
    number: ManifestNumber | None = None
    refusal: str = ""


Action = Persist | Commit | DeadLetter | Pause | Resume | Finish | Answer


# Events


@dataclass(frozen=True, slots=True)
class Polled:
    """Records in order of offsets; next_offset: the cursor's position; caught_up: it is at the durable end.

    joined: the rows of those whose content is Joined.
    """

    records: tuple[Decoded, ...]
    next_offset: Offset
    caught_up: bool
    joined: tuple[JoinedRows, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    now_ns: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """persist: make all that is buffered durable first; else leave it to the log."""

    persist: bool


@dataclass(frozen=True, slots=True)
class SwapAsked:
    """Somebody else made files of this sequencer; they are to be named by its next record. Answered by an Answer."""

    swap: Swap


@dataclass(frozen=True, slots=True)
class StreamLost:
    """The stream cannot be followed any further: it is another one, or records are gone or corrupt.

    Every batch that was polled before comes before this event.
    """

    error: PenstockError


@dataclass(frozen=True, slots=True)
class StoreAway:
    """The object store that was joined is not there: a stop does not wait for it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Persisted:
    job: PersistJob
    result: PersistResult


@dataclass(frozen=True, slots=True)
class PersistFailed:
    """The core asks for it again after a while."""

    job: PersistJob
    error: Unavailable


@dataclass(frozen=True, slots=True)
class Committed:
    """state: after the commit."""

    state: ManifestState


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """Its outcome is unknown; the core asks for the same commit again."""

    error: Unavailable


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """path: of the note in the store."""

    letter: DeadLetter
    path: str


@dataclass(frozen=True, slots=True)
class DeadLetterFailed:
    """The core asks for it again at the next tick."""

    letter: DeadLetter
    error: Unavailable


Outcome = Persisted | PersistFailed | Committed | CommitFailed | DeadLettered | DeadLetterFailed
Event = Polled | Tick | SwapAsked | StopRequested | StreamLost | StoreAway | Outcome
