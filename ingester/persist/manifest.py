"""A sequencer's manifest: an append-only list of records in the store, the truth about what is persisted.

Records stand under dense numbers (common/manifest_record.py), each written by put-if-absent, never deleted. A record is
written under an epoch; the holder
of the highest epoch is the only one whose puts can succeed:
- `claim` writes the next number with the next epoch; a number taken meanwhile is read and the claim made above it.
- `commit` writes the next number. Finding it taken it reads that number: its own nonce = done (the answer was lost), a
  higher epoch = Fenced. It never tries the number after.
- An unknown outcome is settled by reading, too: absent = try again.
Every record names the newest one with a full state, so loading follows the live files, not the history. All of it is
written as store steps (common/objectstore.py), so that tests run every interleaving.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from common.errors import DataCorrupt, Fenced, Unavailable
from common.ids import NO_MANIFEST, Epoch, ManifestNumber, SequencerId
from common.manifest_record import FORMAT, find_head, incomplete, path, sealed, unsealed
from common.objectstore import AlreadyExists, Get, NotFound, PutIfAbsent, Steps
from ingester.persist.manifest_state import Change, ManifestState

TRIES_MAX = 5
"""Puts of one record whose outcome stays unknown before the commit is reported as such; the caller commits it again."""


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """One record as stored. full: the state after it, where it carries one. size: its bytes in the store."""

    number: ManifestNumber
    epoch: Epoch
    nonce: str
    full_state_number: ManifestNumber
    change: Change
    full: Change | None
    size: int


def load(sequencer: SequencerId, at_least: ManifestNumber = NO_MANIFEST) -> Steps[ManifestState]:
    """The newest state; `number` 0 where nothing was ever committed. `at_least`: a number known to exist.

    Raises DataCorrupt naming the record that cannot be read, Unavailable.
    """
    number = yield from find_head(sequencer, at_least)
    return (yield from load_at(sequencer, number))


def load_at(sequencer: SequencerId, number: ManifestNumber) -> Steps[ManifestState]:
    """The state at exactly `number`."""
    state = ManifestState(sequencer)
    if number == NO_MANIFEST:
        return state
    newest = yield from _read(sequencer, number)
    if newest.full_state_number != number:
        first = yield from _read(sequencer, newest.full_state_number)
        state = _restored(state, first)
        for between in range(first.number + 1, number):
            state = _applied(state, (yield from _read(sequencer, ManifestNumber(between))))
        return _applied(state, newest)
    return _restored(state, newest)


def claim(state: ManifestState, change: Change, nonce: str) -> Steps[ManifestState]:
    """Claim the next epoch above `state`, the newest one known. `change.claim` names the claimant.

    Returns the state after the claim. Raises Fenced when another record was written above `state` meanwhile: load
    again and decide anew; Unavailable.
    """
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
        found = yield from _read(state.sequencer, number)
    except NotFound:
        return
    if found.epoch > state.epoch:
        raise _fenced(state.sequencer, state.epoch, found)


def encode(state: ManifestState, change: Change, epoch: Epoch, nonce: str) -> tuple[ManifestState, bytes]:
    """The state after `change` and the record's bytes.

    The record carries a full state whenever those since the last one, itself included, outweigh it.
    """
    after = state.after(change, epoch)
    values = {
        "format": FORMAT,
        "number": after.number,
        "sequencer": state.sequencer,
        "epoch": epoch,
        "nonce": nonce,
        "full_state": state.full_state_number,
        **change.to_json(),
    }
    data = sealed(values)
    grown = state.bytes_since_full + len(data)
    if state.full_state_number != NO_MANIFEST and grown <= state.full_bytes:
        return replace(after, bytes_since_full=grown), data
    full = after.as_change().to_json()
    whole = sealed({**values, "full_state": after.number, "full": full})
    if state.full_state_number != NO_MANIFEST and grown <= len(whole) - len(data):
        return replace(after, bytes_since_full=grown), data
    return replace(after, full_state_number=after.number, full_bytes=len(whole), bytes_since_full=0), whole


def decode(data: bytes, where: str) -> ManifestRecord:
    """The inverse of one record's bytes. Raises DataCorrupt with what does not fit."""
    values = unsealed(data, where)
    try:
        return _record(values, len(data))
    except (KeyError, TypeError, ValueError) as error:
        raise incomplete(where, error) from None


def _record(values: Mapping[str, Any], size: int) -> ManifestRecord:
    return ManifestRecord(
        number=ManifestNumber(values["number"]),
        epoch=Epoch(values["epoch"]),
        nonce=values["nonce"],
        full_state_number=ManifestNumber(values["full_state"]),
        change=Change.from_json(values),
        full=Change.from_json(values["full"]) if "full" in values else None,
        size=size,
    )


def _append(state: ManifestState, change: Change, epoch: Epoch, nonce: str) -> Steps[ManifestState]:
    after, data = encode(state, change, epoch, nonce)
    for _ in range(TRIES_MAX):
        try:
            yield PutIfAbsent(path(state.sequencer, after.number), data)
            return after
        except (AlreadyExists, Unavailable):
            try:
                found = yield from _read(state.sequencer, after.number)
            except NotFound:
                continue
            if found.nonce == nonce:
                return after
            raise _fenced(state.sequencer, epoch, found) from None
    raise Unavailable(
        f"sequencer {state.sequencer}: manifest record {after.number} could not be put", written="unknown"
    )


def _fenced(sequencer: SequencerId, epoch: Epoch, found: ManifestRecord) -> Fenced:
    holder = f"instance {found.change.claim.name}" if found.change.claim else "its holder"
    return Fenced(
        f"sequencer {sequencer}: manifest record {found.number} was written under epoch {found.epoch} by {holder}; "
        f"this process has epoch {epoch}, is superseded and stops",
        sequencer=sequencer,
        epoch=epoch,
        other_epoch=found.epoch,
    )


def _read(sequencer: SequencerId, number: ManifestNumber) -> Steps[ManifestRecord]:
    where = path(sequencer, number)
    record = decode((yield Get(where)), where)
    if record.number != number:
        raise DataCorrupt(f"manifest record {where} says it is number {record.number}", path=where)
    return record


def _restored(state: ManifestState, record: ManifestRecord) -> ManifestState:
    if record.full is None:
        raise DataCorrupt(f"manifest record {path(state.sequencer, record.number)} carries no full state")
    before = replace(state, number=ManifestNumber(record.number - 1))
    return replace(before.after(record.full, record.epoch), full_state_number=record.number, full_bytes=record.size)


def _applied(state: ManifestState, record: ManifestRecord) -> ManifestState:
    after = state.after(record.change, record.epoch)
    return replace(after, bytes_since_full=state.bytes_since_full + record.size)
