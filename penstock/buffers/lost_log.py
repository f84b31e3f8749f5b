"""`penstock log restart`: a lost log begins again, above every offset that the store and its consumers know.

What an operator does, step by step, is in docs/operations.md, "A damaged or lost log".

The manifest covers rows above its replay offset, too: those of partitions persisted before others. A record at an
offset that was used before would count as durable already, and its rows would be lost.
"""

from common.catalog import cursors
from common.catalog.manifest import manifest
from common.catalog.manifest.state import ManifestState
from common.store.objects import ObjectStore, run
from common.values.config import ClusterConfig
from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from penstock.cluster.existing import open_cluster
from writebuffer.own_buffer import followed_streams
from writebuffer.restarting import restart_log


def begin_again(cluster: ClusterConfig, number: int) -> str:
    """Restart the log of sequencer `number`; returns what was done, and what to do next."""
    store, joined = open_cluster(cluster)
    followed = followed_streams(store, joined.sequencers)
    sequencer = SequencerId(number)
    if sequencer not in followed:
        raise InvalidRequest(
            f"sequencer {number} has no manifest in {store.url}: the cluster has {joined.sequencers} (0 to "
            f"{joined.sequencers - 1}), and no ingester has read anything of this one yet. Correct the number, or "
            "start the cluster as it is"
        )
    identities = [followed[one].stream.identity if one in followed else "" for one in _all(joined.sequencers)]
    state = run(manifest.load(sequencer), store)
    known_end = above_all_known(store, state)
    done = restart_log(cluster.write_buffer_url, sequencer, identities, known_end)
    return _report(state, done.first_offset, done.kept_in)


def above_all_known(store: ObjectStore, state: ManifestState) -> Offset:
    """One past the greatest offset that the manifest or a registered cursor mentions."""
    covered = [offset for frontier in state.frontiers.values() for offset, _ in frontier.corners]
    persisted = [file.last_offset for file in state.files.values()]
    read = cursors.furthest(store, state.sequencer, state.as_of.stream.identity)
    return Offset(max([state.replay_offset, read, *(offset + 1 for offset in (*covered, *persisted))]))


def _all(sequencers: int) -> list[SequencerId]:
    return [SequencerId(number) for number in range(sequencers)]


def _report(state: ManifestState, first_offset: Offset, kept_in: str) -> str:
    kept = f"; the old files are in {kept_in}" if kept_in else ""
    lost = first_offset - state.replay_offset
    begin = f"sequencer {state.sequencer}: an empty log begins at offset {first_offset}{kept}.\n"
    if not lost:
        return f"{begin}Everything that was in it is persisted: start the cluster."
    return (
        f"{begin}Offsets {state.replay_offset} to {first_offset - 1} are given up, as far as there were records. Start "
        "the cluster once with --accept-loss: the gap is recorded in the manifest."
    )
