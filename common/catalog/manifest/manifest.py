"""A sequencer's manifest: an append-only list of records in the store, the truth about what is persisted.

Records have dense numbers from 1, each written by put-if-absent, never deleted. A record is written under an epoch;
the holder of the highest epoch is the only one whose puts can succeed:
- `claim` writes the next number with the next epoch; if another record has that number, `Fenced`: load again.
- `commit` writes the next number. If it exists already, that record is read: its own nonce = done (the answer was
  lost), another one = Fenced. It never tries the number after.
- An unknown outcome is also decided by reading: no such record = try again.
Before a record is put, the one below it is durable, so that no crash leaves a hole. A record that this process put is
durable; one that it only read may not be: `claim` makes it durable first, and so does a commit that finds its own.
At most RECORDS_MAX records follow the checkpoint that a record names (checkpoint.py), so loading follows the live
files, not the history. All of it is written as store steps (common/store/objects.py), so that tests run every
interleaving.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from common.catalog.manifest import checkpoint
from common.catalog.manifest.change import Change
from common.catalog.manifest.head import missing, search
from common.catalog.manifest.producers import Producers
from common.catalog.manifest.record import ManifestRecord, decode, encode
from common.catalog.manifest.state import ManifestState
from common.catalog.paths import manifest_record
from common.store.objects import AlreadyExists, Get, GetAll, MakeDurable, NotFound, PutIfAbsent, Steps
from common.values.errors import DataCorrupt, Fenced, Unavailable
from common.values.ids import NO_MANIFEST, Epoch, ManifestNumber, SequencerId

TRIES_MAX = 5
"""Puts of one record whose outcome stays unknown before the commit is reported as such; the caller commits it again."""

RECORDS_AT_ONCE = 256

OnDamaged = Callable[[DataCorrupt], None]
"""Called with each checkpoint that cannot be read; an earlier one and more records are read in its place."""


def load(
    sequencer: SequencerId, at_least: ManifestNumber = NO_MANIFEST, on_damaged: OnDamaged = lambda error: None
) -> Steps[ManifestState]:
    """The newest state; `number` 0 where nothing was ever committed. `at_least`: a number known to exist.

    Raises DataCorrupt naming the record that cannot be read or is missing, Unavailable.
    """
    found = yield from search(sequencer, at_least)
    return (yield from _load(sequencer, found.number, found.objects, on_damaged))


def load_at(sequencer: SequencerId, number: ManifestNumber, known: ManifestState | None = None) -> Steps[ManifestState]:
    """The state at exactly `number`, which exists. known: a state of the sequencer, which may save reads."""
    if known is not None and 0 <= number - known.number <= checkpoint.RECORDS_MAX:
        return (yield from _advanced(known, number, {}))
    return (yield from _load(sequencer, number, {}, lambda error: None))


def newer(state: ManifestState) -> Steps[ManifestState]:
    """The newest state, given an earlier one: reads the records written since; where there are none, one call."""
    found = yield from search(state.sequencer, state.number)
    if found.number - state.number > checkpoint.RECORDS_MAX:
        return (yield from _load(state.sequencer, found.number, found.objects, lambda error: None))
    return (yield from _advanced(state, found.number, found.objects))


def claim(state: ManifestState, change: Change, nonce: str) -> Steps[ManifestState]:
    """Claim the next epoch above `state`, the newest one known. `change.claim` names the claimant.

    Returns the state after the claim. Raises Fenced when another record was written above `state` meanwhile: load
    again and decide again; Unavailable.
    """
    if state.number != NO_MANIFEST:
        yield MakeDurable(manifest_record(state.sequencer, state.number))
    return (yield from _append(state, change, Epoch(state.epoch + 1), nonce))


def commit(state: ManifestState, change: Change, nonce: str) -> Steps[ManifestState]:
    """Append `change` under the state's own epoch; the state after it.

    Raises Fenced (stop: a newer ingester claimed the sequencer), or Unavailable (`written: unknown`): call again with
    the same state, change and nonce.
    """
    return (yield from _append(state, change, state.epoch, nonce))


def watch(state: ManifestState) -> Steps[None]:
    """Look for a record above `state`, as an idle holder does. Raises Fenced where a newer epoch wrote it."""
    number = ManifestNumber(state.number + 1)
    try:
        found = yield from _read(state.sequencer, number, {})
    except NotFound:
        return
    if found.epoch > state.epoch:
        raise _fenced(state.sequencer, state.epoch, found)


def _append(state: ManifestState, change: Change, epoch: Epoch, nonce: str) -> Steps[ManifestState]:
    if checkpoint.is_due(state):
        state = replace(state, checkpoint=(yield from checkpoint.put(state)))
    after, data = encode(state, change, epoch, nonce)
    for _ in range(TRIES_MAX):
        try:
            yield PutIfAbsent(manifest_record(state.sequencer, after.number), data)
            return after
        except (AlreadyExists, Unavailable):
            if (yield from _is_own(state.sequencer, after.number, epoch, nonce)):
                return after
    raise Unavailable(
        f"sequencer {state.sequencer}: manifest record {after.number} could not be put", written="unknown"
    )


def _is_own(sequencer: SequencerId, number: ManifestNumber, epoch: Epoch, nonce: str) -> Steps[bool]:
    """Whether the record carries this nonce, and is durable; False where that is not known. Raises Fenced."""
    try:
        found = yield from _read(sequencer, number, {})
        if found.nonce != nonce:
            raise _fenced(sequencer, epoch, found)
        yield MakeDurable(manifest_record(sequencer, number))
    except (NotFound, Unavailable):
        return False
    return True


def _fenced(sequencer: SequencerId, epoch: Epoch, found: ManifestRecord) -> Fenced:
    holder = f"instance {found.change.claim.name}" if found.change.claim else "its holder"
    return Fenced(
        f"sequencer {sequencer}: manifest record {found.number} was written under epoch {found.epoch} by {holder}; "
        f"this process has epoch {epoch}, is superseded and stops",
        sequencer=sequencer,
        epoch=epoch,
        other_epoch=found.epoch,
    )


def _load(
    sequencer: SequencerId, number: ManifestNumber, known: Mapping[str, bytes], on_damaged: OnDamaged
) -> Steps[ManifestState]:
    """The state at `number`. known: objects that were read before, by path."""
    if number == NO_MANIFEST:
        return ManifestState(sequencer)
    up_to = [number]
    state = None
    while state is None:
        newest = yield from _read(sequencer, up_to[-1], known)
        try:
            state = yield from _base(sequencer, newest, known)
        except DataCorrupt as error:
            if newest.checkpoint == NO_MANIFEST:
                raise
            on_damaged(error)
            up_to.append(newest.checkpoint)
    for top in reversed(up_to):
        state = yield from _advanced(state, top, known)
    return state


def _base(sequencer: SequencerId, record: ManifestRecord, known: Mapping[str, bytes]) -> Steps[ManifestState]:
    """The state that the records up to `record` are added to. Raises DataCorrupt."""
    if record.full_state_number != NO_MANIFEST:
        return _restored(sequencer, (yield from _read(sequencer, record.full_state_number, known)))
    if record.checkpoint != NO_MANIFEST:
        return (yield from checkpoint.read(sequencer, record.checkpoint, known))
    return ManifestState(sequencer)


def _restored(sequencer: SequencerId, record: ManifestRecord) -> ManifestState:
    """The state that a record of format 1 carries."""
    if record.full is None:
        where = manifest_record(sequencer, record.number)
        raise DataCorrupt(f"manifest record {where} carries no full state, although another record says so", path=where)
    before = ManifestState(sequencer, ManifestNumber(record.number - 1))
    return before.after(record.full, record.epoch)


def _advanced(state: ManifestState, number: ManifestNumber, known: Mapping[str, bytes]) -> Steps[ManifestState]:
    """`state` with the records after it up to `number`, read together. Raises DataCorrupt."""
    sequencer, first = state.sequencer, state.number + 1
    for start in range(first, number + 1, RECORDS_AT_ONCE):
        numbers = [ManifestNumber(n) for n in range(start, min(start + RECORDS_AT_ONCE, number + 1))]
        unread = tuple(name for n in numbers if (name := manifest_record(sequencer, n)) not in known)
        objects = {**known, **dict(zip(unread, (yield GetAll(unread)) if unread else (), strict=True))}
        for n in numbers:
            data = objects[manifest_record(sequencer, n)]
            if data is None:
                raise missing(sequencer, n, f"one of {first} to {number}, which are needed to read the manifest")
            record = _decoded(sequencer, n, data, state.as_of.producers)
            state = state.after(record.change, record.epoch)
    return state


def _read(sequencer: SequencerId, number: ManifestNumber, known: Mapping[str, bytes]) -> Steps[ManifestRecord]:
    where = manifest_record(sequencer, number)
    data = known.get(where)
    return _decoded(sequencer, number, (yield Get(where)) if data is None else data, None)


def _decoded(
    sequencer: SequencerId, number: ManifestNumber, data: bytes, producers: Producers | None
) -> ManifestRecord:
    where = manifest_record(sequencer, number)
    record = decode(data, where, producers)
    if record.number != number:
        raise DataCorrupt(f"manifest record {where} says it is number {record.number}", path=where)
    return record
