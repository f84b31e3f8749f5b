"""What became of the acknowledged rows when a cluster stopped, by its manifests and its write buffer.

Exit codes do not say it: an ordered stop leaves a long backlog in the buffer, and all of it with on_stop=leave.
"""

from collections.abc import Mapping
from contextlib import closing

from common.catalog.manifest import manifest
from common.store.objects import run
from common.values.config import ClusterConfig
from common.values.errors import PenstockError
from common.values.ids import Offset, SequencerId
from penstock.cluster.existing import open_cluster
from writebuffer.connect import connect

Ends = Mapping[SequencerId, tuple[Offset, Offset]]
"""Of each sequencer: its replay offset, and the buffer's next offset."""


def verdict(cluster: ClusterConfig) -> str:
    """One line. Reads store and write buffer, and changes nothing."""
    try:
        return said_of(_ends(cluster))
    except PenstockError as error:
        return (
            "stopped. What was acknowledged is in the store or in the write buffer; how much is in the store cannot be "
            f"said now: {error}"
        )


def said_of(ends: Ends) -> str:
    left = sorted(sequencer for sequencer, (persisted, next_offset) in ends.items() if persisted < next_offset)
    if not left:
        return "stopped: everything that was acknowledged is in the store"
    which = f"sequencer{'' if len(left) == 1 else 's'} {', '.join(map(str, left))}"
    return (
        f"stopped: nothing that was acknowledged is lost; of {which} a part is in the write buffer alone, and is read "
        "from there at the next start"
    )


def _ends(cluster: ClusterConfig) -> Ends:
    store, joined = open_cluster(cluster)
    with closing(connect(cluster.write_buffer_url).open_reader()) as reader:
        return {
            sequencer: (run(manifest.load(sequencer), store).replay_offset, reader.offsets(sequencer).next_offset)
            for sequencer in map(SequencerId, range(joined.sequencers))
        }
