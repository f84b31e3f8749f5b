"""What the core is handed, and what it asks of its driver: all values."""

from dataclasses import dataclass

from common.ids import Offset
from ingester.decode import Decoded
from ingester.persist.job import PersistJob, PersistResult
from ingester.persist.manifest_state import Change, ManifestState


@dataclass(frozen=True, slots=True)
class Polled:
    """Records in order of offsets; next_offset: where the cursor stands; caught_up: it stands at the durable end."""

    records: tuple[Decoded, ...]
    next_offset: Offset
    caught_up: bool


@dataclass(frozen=True, slots=True)
class Tick:
    now_ns: int


@dataclass(frozen=True, slots=True)
class Persisted:
    job: PersistJob
    result: PersistResult


@dataclass(frozen=True, slots=True)
class PersistFailed:
    job: PersistJob


@dataclass(frozen=True, slots=True)
class Committed:
    state: ManifestState


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """The outcome stays unknown; the same commit is tried again."""


@dataclass(frozen=True, slots=True)
class DeadLettered:
    offset: Offset


@dataclass(frozen=True, slots=True)
class DeadLetterFailed:
    offset: Offset


@dataclass(frozen=True, slots=True)
class StopRequested:
    """persist: make all that is buffered durable first; else leave it to the log."""

    persist: bool


Event = (
    Polled
    | Tick
    | Persisted
    | PersistFailed
    | Committed
    | CommitFailed
    | DeadLettered
    | DeadLetterFailed
    | StopRequested
)


@dataclass(frozen=True, slots=True)
class Persist:
    job: PersistJob


@dataclass(frozen=True, slots=True)
class Commit:
    """Append `change` to the manifest whose newest state is `state`; the same nonce whenever it is tried again."""

    state: ManifestState
    change: Change
    nonce: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Put aside what cannot be taken in; the replay offset waits for it. data: the record's bytes."""

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
    """Nothing is left to do: stop serving and exit."""


Action = Persist | Commit | DeadLetter | Pause | Resume | Finish
