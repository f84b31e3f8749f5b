"""A cluster's own write buffer: made once, and never mistaken for another.

Records of another stream could never be brought together with what the store holds: who would write them there would
acknowledge what no ingester of the cluster follows. So before a process opens the buffer it compares identities.
"""

from collections.abc import Mapping
from contextlib import closing

from common import manifest_record
from common.errors import Forked, Unavailable
from common.ids import SequencerId
from common.objectstore import ObjectStore, run
from writebuffer.contract import Backend
from writebuffer.errors import BufferNotFound


def followed_streams(store: ObjectStore, sequencers: int) -> dict[SequencerId, str]:
    """The identity of each stream that the store was ever filled from. Raises DataCorrupt, Unavailable."""
    found = {}
    for number in range(sequencers):
        sequencer = SequencerId(number)
        if identity := run(manifest_record.followed_identity(sequencer), store):
            found[sequencer] = identity
    return found


def make_or_compare(backend: Backend, sequencers: int, followed: Mapping[SequencerId, str] | None) -> None:
    """Make the buffer where the store was filled from none yet; else it has to be the one that was followed.

    followed: as `followed_streams` says; None when the store is away: then the buffer has to be there, unproven.
    Raises Forked, Unavailable, and what `Backend.create` raises.
    """
    if followed is not None and not followed:
        backend.create(sequencers)
        return
    try:
        reader = backend.open_reader()
    except BufferNotFound as error:
        raise _gone(backend.url, error, followed) from error
    with closing(reader):
        for sequencer, identity in (followed or {}).items():
            found = reader.identity(sequencer) if sequencer < len(reader.sequencers()) else "none"
            if found != identity:
                raise Forked(
                    f"{backend.url} is not the write buffer this store was filled from: sequencer {sequencer} has "
                    f"identity {found}, the store's manifests followed {identity}. Bring the right buffer back, or "
                    "start a new store (another --data or --store) for this one",
                    sequencer=sequencer,
                )
    backend.create(sequencers)  # it stands: this compares the number of sequencers


def _gone(url: str, error: BufferNotFound, followed: Mapping[SequencerId, str] | None) -> Forked | Unavailable:
    if followed is None:
        return Unavailable(
            f"{url}: there is no write buffer, and the store, which knows whether there was one, cannot be read"
        )
    return Forked(
        f"{url}: there is no write buffer, but this store was filled from one (identity of sequencer "
        f"{min(followed)}: {followed[min(followed)]}). Bring it back, or start a new store (another --data or --store)"
    )
