"""Where an ingester starts to read: a pure decision from the manifest and what the buffer says of its stream.

Reading begins below rows that are persisted already; core/intake.py leaves those out, by the manifest's frontiers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from common.catalog.manifest.change import Change, Gap, Instance, StreamMark
from common.catalog.manifest.state import ManifestState
from common.values.errors import Forked
from common.values.ids import NO_MANIFEST, Offset
from common.values.shown import counted
from writebuffer.errors import SALVAGE, OffsetTrimmed, RecordsLost
from writebuffer.same_stream import FoundStream, difference


@dataclass(frozen=True, slots=True)
class Start:
    """Read from `offset`. gaps: what was lost below or above it, where the operator accepted that just now."""

    offset: Offset
    gaps: tuple[Gap, ...] = ()


def start(state: ManifestState, stream: FoundStream, accept_loss: bool) -> Start:
    """Where to begin.

    Raises Forked when the stream is not the one the manifest followed; OffsetTrimmed, or RecordsLost, when records that
    were never persisted are gone and the loss was not accepted.
    """
    first, replay = stream.offsets.first_offset, state.replay_offset
    if state.number == NO_MANIFEST:
        return Start(first)
    # Rows above the replay offset may be persisted, too: those of other records there would count as durable.
    if different := difference(state.as_of.stream, state.stored_end, stream):
        raise Forked(
            f"sequencer {state.sequencer}: the write buffer is not the stream this store was filled from: {different}. "
            f"Bring the right buffer back. If it is lost: {SALVAGE}",
            sequencer=state.sequencer,
        )
    begin = max(replay, first)
    gaps = ((Gap(replay, first),) if replay < first else ()) + _lost_since(state, stream, begin)
    if accept_loss or not gaps:
        return Start(begin, gaps)
    if replay == begin:
        raise RecordsLost(
            f"sequencer {state.sequencer}: {_shown(gaps)} were lost before being persisted. Start with --accept-loss "
            f"to go on with {'the gap' if len(gaps) == 1 else 'each gap'} recorded",
            sequencer=state.sequencer,
        )
    error = OffsetTrimmed(state.sequencer, replay, first)
    error.message += (
        f": {counted(first - replay, 'offset')} removed before being persisted. Start with --accept-loss to go on from "
        f"{first} with the gap recorded"
    )
    if len(gaps) > 1:
        error.message += f", and so with those that were lost since: {_shown(gaps[1:])}"
    error.args = (error.message,)
    raise error


def _lost_since(state: ManifestState, stream: FoundStream, begin: Offset) -> tuple[Gap, ...]:
    """What the buffer lost at or above `begin` and no record of the manifest says yet."""
    above = (Gap(max(first, begin), next_offset) for first, next_offset in stream.lost if next_offset > begin)
    return tuple(gap for gap in above if not any(known.holds(gap) for known in state.gaps))


def _shown(gaps: Sequence[Gap]) -> str:
    return ", ".join(f"offsets {gap.first_offset} to {gap.next_offset - 1}" for gap in gaps)


def claim_change(state: ManifestState, begin: Start, stream: FoundStream, claimant: Instance) -> Change:
    """What the claim's record says: the new holder, where it begins, and the gap where there is one."""
    resumed = begin.offset == state.replay_offset and state.number != NO_MANIFEST
    return Change(
        replace(
            state.as_of,
            replay_offset=begin.offset,
            stream=state.as_of.stream if resumed else StreamMark(stream.identity),
            rows_taken=None if begin.gaps else state.as_of.rows_taken,
        ),
        claim=claimant,
        gaps=begin.gaps,
    )
