"""`penstock log salvage`: what is left of a damaged or lost log, what of the rest is persisted, and the log made whole.

What an operator does, step by step, is in docs/operations.md, "A damaged or lost log".

The manifest covers rows above its replay offset, too: those of partitions persisted before others. A record at an
offset that was used before would count as durable already, and its rows would be lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from common.catalog import cursors
from common.catalog.manifest import manifest
from common.catalog.manifest.state import ManifestState
from common.store.objects import ObjectStore, run
from common.values.config import ClusterConfig
from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from penstock.buffers.log_text import problem_text
from penstock.cluster.existing import chosen, open_cluster
from writebuffer.own_buffer import followed_streams
from writebuffer.salvaging import Known, Remains, Salvaged, Stretch, file_backend


@dataclass(frozen=True, slots=True)
class Found:
    """A sequencer's manifest and what is left of its log; `salvaged` once that was made whole."""

    state: ManifestState
    remains: Remains
    salvaged: Salvaged | None = None

    @property
    def persisted(self) -> list[Stretch]:
        """Of the offsets that cannot be read, those whose rows are all in the store."""
        end = self.state.replay_offset
        return [Stretch(first, min(next_offset, end)) for first, next_offset in self.remains.lost if first < end]

    @property
    def unpersisted(self) -> list[Stretch]:
        """Of the offsets that cannot be read, those whose rows are lost, but for some that `stored_ahead` tells of."""
        start = self.state.replay_offset
        return [Stretch(max(first, start), end) for first, end in self.remains.lost if end > start]

    @property
    def stored_ahead(self) -> Offset | None:
        """Below it the store may have rows of what is unpersisted: of partitions that were persisted before others."""
        end = self.state.stored_end
        return end if any(stretch.first_offset < end for stretch in self.unpersisted) else None

    def to_json(self) -> dict[str, Any]:
        remains = self.remains
        return {
            "sequencer": self.state.sequencer,
            "identity": self.state.as_of.stream.identity,
            "whole": remains.is_whole,
            "another": remains.another,
            "persisted_offset": self.state.replay_offset,
            "readable": remains.readable,
            "lost": remains.lost,
            "lost_and_persisted": self.persisted,
            "lost_for_good": self.unpersisted,
            "stored_ahead_below": self.stored_ahead,
            "next_offset": remains.next_offset,
            "problems": [asdict(problem) for problem in remains.problems],
            "kept": self.salvaged.kept if self.salvaged else None,
            "kept_in": self.salvaged.kept_in if self.salvaged else None,
        }


def look(cluster: ClusterConfig, number: int | None, *, salvage: bool) -> Iterator[Found]:
    """Each sequencer that was followed, or the one asked for. salvage: make its log whole where it is not.

    Raises InvalidRequest for a sequencer without a manifest, and what the backend's `examine` and `salvage` raise.
    """
    backend = file_backend(cluster.write_buffer_url)
    store, joined = open_cluster(cluster)
    followed = followed_streams(store, joined.sequencers)
    asked = chosen(joined, number)
    if number is not None and asked[0] not in followed:
        raise InvalidRequest(
            f"sequencer {number} has no manifest in {store.url}: no ingester has read anything of it yet. Start the "
            "cluster as it is"
        )
    identities = [
        followed[SequencerId(one)].stream.identity if one in followed else "" for one in range(joined.sequencers)
    ]
    for sequencer in asked:
        if sequencer in followed:
            state = run(manifest.load(sequencer), store)
            known = _known(store, state)
            if salvage:
                done = backend.salvage(sequencer, identities, known)
                yield Found(state, done.remains, done)
            else:
                yield Found(state, backend.examine(sequencer, identities, known))


def text(found: Found) -> str:
    """What a person reads of one sequencer: what is left and what is lost, and what was done or will be."""
    state, remains = found.state, found.remains
    persisted = f"persisted below offset {state.replay_offset}"
    if remains.is_whole:
        return f"sequencer {state.sequencer}: nothing is damaged or lost; {persisted}"
    lines = [f"sequencer {state.sequencer}: {_trouble(remains)}; {persisted}"]
    lines += [f"  {problem_text(problem)}" for problem in remains.problems]
    lines += [
        f"  readable             {_offsets(remains.readable)}",
        f"  cannot be read       {_offsets(remains.lost)}",
        f"  of that, persisted   {_offsets(found.persisted)}",
        f"  of that, lost        {_offsets(found.unpersisted)}",
    ]
    if found.stored_ahead is not None:
        lines.append(f"                       (below {found.stored_ahead} the store has the rows of some partitions)")
    return "\n".join([*lines, *_outcome(found)])


def _outcome(found: Found) -> list[str]:
    goes_on = f"the log goes on at offset {found.remains.next_offset}"
    if found.salvaged is None:
        return [f"  With --accept-loss what is readable and not persisted is kept at its offsets, and {goes_on}."]
    lines = [f"  salvaged: kept {_offsets(found.salvaged.kept)}; {goes_on}"]
    return [*lines, f"  the old files are in {found.salvaged.kept_in}"] if found.salvaged.kept_in else lines


def next_step(found: Sequence[Found]) -> str:
    """What to do once all of `found` are salvaged."""
    if any(one.unpersisted or _skips(one) for one in found):
        return "Start the cluster once with --accept-loss: what is lost is recorded in the manifest as a gap."
    return "Nothing is lost: start the cluster."


def _skips(found: Found) -> bool:
    return not found.remains.is_whole and found.remains.next_offset > found.remains.end


def _trouble(remains: Remains) -> str:
    if not remains.exists:
        return "its log is not there"
    if remains.another:
        return f"its log is not the one that was followed: {remains.another}"
    if remains.problems:
        return "its log is damaged"
    return f"its log ends at offset {remains.reaches}, and was followed up to {remains.end}"


def _offsets(stretches: Sequence[Stretch]) -> str:
    shown = [f"{first}" if end - first == 1 else f"{first} to {end - 1}" for first, end in stretches]
    return ", ".join(shown) if shown else "none"


def _known(store: ObjectStore, state: ManifestState) -> Known:
    identity = state.as_of.stream.identity
    read = cursors.furthest(store, state.sequencer, identity)
    return Known(
        state.as_of.stream,
        state.replay_offset,
        cursors.Consumed(store).below(state.sequencer, identity),
        max(state.stored_end, read),
    )
