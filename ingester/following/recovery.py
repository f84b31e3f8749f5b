"""Where an ingester starts to read: a pure decision from the manifest and what the buffer says of its stream.

Reading begins below rows that are persisted already; core/intake.py leaves those out, by the manifest's frontiers.
"""

from dataclasses import dataclass, replace

from common.catalog.manifest.change import Change, Gap, Instance, StreamMark
from common.catalog.manifest.state import ManifestState
from common.values.errors import Forked
from common.values.ids import NO_MANIFEST, Offset
from common.values.shown import counted
from writebuffer.errors import OffsetTrimmed
from writebuffer.same_stream import FoundStream, difference


@dataclass(frozen=True, slots=True)
class Start:
    """Read from `offset`; `gap` is what was lost below it, where the operator accepted that."""

    offset: Offset
    gap: Gap | None = None


def start(state: ManifestState, stream: FoundStream, accept_loss: bool) -> Start:
    """Where to begin.

    Raises Forked when the stream is not the one the manifest followed, OffsetTrimmed when records that were never
    persisted are gone and the loss was not accepted.
    """
    first, replay = stream.offsets.first_offset, state.replay_offset
    if state.number == NO_MANIFEST:
        return Start(first)
    if different := difference(state.as_of.stream, replay, stream):
        raise Forked(
            f"sequencer {state.sequencer}: the write buffer is not the stream this store was filled from: {different}. "
            'Bring the right buffer back; if it is lost, see "A damaged or lost log" in docs/operations.md',
            sequencer=state.sequencer,
        )
    if replay >= first:
        return Start(replay)
    if accept_loss:
        return Start(first, Gap(replay, first))
    error = OffsetTrimmed(state.sequencer, replay, first)
    error.message += (
        f": {counted(first - replay, 'offset')} removed before being persisted. Start with --accept-loss to go on from "
        f"{first} with the gap recorded"
    )
    error.args = (error.message,)
    raise error


def claim_change(state: ManifestState, begin: Start, stream: FoundStream, claimant: Instance) -> Change:
    """What the claim's record says: the new holder, where it begins, and the gap where there is one."""
    resumed = begin.offset == state.replay_offset and state.number != NO_MANIFEST
    return Change(
        replace(
            state.as_of,
            replay_offset=begin.offset,
            stream=state.as_of.stream if resumed else StreamMark(stream.identity),
            rows_taken=None if begin.gap else state.as_of.rows_taken,
        ),
        claim=claimant,
        gaps=(begin.gap,) if begin.gap else (),
    )
