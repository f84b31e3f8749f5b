"""Where an ingester starts to read: a pure decision from the manifest and what the buffer says of itself."""

from dataclasses import dataclass

from common.errors import Forked
from common.ids import NO_MANIFEST, Offset
from ingester.persist.manifest_state import Change, Gap, Instance, ManifestState, StreamMark
from writebuffer.contract import Offsets
from writebuffer.errors import OffsetTrimmed


@dataclass(frozen=True, slots=True)
class Start:
    """Read from `offset`; `gap` is what was lost below it, where the operator accepted that."""

    offset: Offset
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """What the buffer says: identity, offsets, and the checksum of the record that the manifest remembers as the last
    one below its replay offset (None where the buffer no longer has it or none is remembered)."""

    identity: str
    offsets: Offsets
    last_checksum: int | None


def start(state: ManifestState, stream: Stream, accept_loss: bool) -> Start:
    """Where to begin.

    Raises Forked when the stream is not the one the manifest followed, OffsetTrimmed when records that were never
    persisted are gone and the loss was not accepted.
    """
    first, replay = stream.offsets.first_offset, state.replay_offset
    if state.number == NO_MANIFEST:
        return Start(first)
    _same_stream(state, stream)
    if replay >= first:
        return Start(replay)
    if accept_loss:
        return Start(first, Gap(replay, first))
    error = OffsetTrimmed(state.sequencer, replay, first)
    error.message += (
        f": {first - replay} offsets were removed before they were persisted. Start with --accept-loss to go on from "
        f"{first} with the gap on record"
    )
    error.args = (error.message,)
    raise error


def _same_stream(state: ManifestState, stream: Stream) -> None:
    known, where = state.stream, f"sequencer {state.sequencer}"
    if known.identity != stream.identity:
        difference = f"its identity is {stream.identity}, the manifest followed {known.identity}"
    elif stream.offsets.next_offset < state.replay_offset:
        difference = f"its next offset {stream.offsets.next_offset} is below the replay offset {state.replay_offset}"
    elif stream.last_checksum is not None and stream.last_checksum != known.last_checksum:
        difference = f"the record at {known.last_offset} is not the one that was persisted from there"
    else:
        return
    raise Forked(
        f"{where}: the write buffer is not the stream this store was filled from: {difference}. Bring the right buffer "
        "back, or start a new store (another --data or --store) for this one",
        sequencer=state.sequencer,
    )


def claim_change(state: ManifestState, begin: Start, stream: Stream, claimant: Instance) -> Change:
    """What the claim's record says: the new holder, where it begins, and the gap where there is one."""
    resumed = begin.offset == state.replay_offset and state.number != NO_MANIFEST
    return Change(
        replay_offset=begin.offset,
        log_time_ns=state.log_time_ns,
        stream=state.stream if resumed else StreamMark(stream.identity),
        producers=state.producers,
        accounts=state.accounts,
        claim=claimant,
        gaps=(begin.gap,) if begin.gap else (),
    )
