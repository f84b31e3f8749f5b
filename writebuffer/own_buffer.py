"""A cluster's own write buffer: made once, and never mistaken for another.

Records of another stream could never be brought together with what the store holds: who would write them there would
acknowledge what no ingester of the cluster follows. So before a process opens the buffer it compares streams with what
the manifests say, and without the store, which has them, it opens none: a router that has just started needs the store
for every table anyway.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

from common.catalog.manifest.head import Head, head
from common.store.objects import ObjectStore, run
from common.values.errors import Forked, Unavailable
from common.values.ids import SequencerId
from writebuffer.contract import Backend, Reader, Writer
from writebuffer.errors import SALVAGE, BufferNotFound
from writebuffer.same_stream import difference, find_stream

_PARALLEL = 16


def followed_streams(store: ObjectStore, sequencers: int) -> dict[SequencerId, Head]:
    """What the newest record of each manifest says; nothing of those without one. Raises DataCorrupt, Unavailable."""
    known = [SequencerId(number) for number in range(sequencers)]
    with ThreadPoolExecutor(_PARALLEL, "manifest-heads") as pool:
        heads = pool.map(lambda sequencer: run(head(sequencer), store), known)
        return {sequencer: found for sequencer, found in zip(known, heads, strict=True) if found}


def make_or_compare(backend: Backend, sequencers: int, followed: Mapping[SequencerId, Head]) -> None:
    """Make the buffer where the store was filled from none yet; else it has to be the one that was followed.

    Compares identities. Raises Forked, Unavailable, and what `Backend.create` raises.
    """
    if not followed:
        backend.create(sequencers)
        return
    with closing(_existing(backend, followed)) as reader:
        if len(reader.sequencers()) != sequencers:
            backend.create(sequencers)  # which says what to do about another number
        for sequencer, known in followed.items():
            found = reader.identity(sequencer)
            if found != known.stream.identity:
                raise _another(
                    backend.url,
                    sequencer,
                    f"its identity is {found}, the store's manifests followed {known.stream.identity}",
                )


def open_own_writer(backend: Backend, sequencers: int, followed: Mapping[SequencerId, Head]) -> Writer:
    """Open the buffer for writing, made where the store was filled from none yet.

    Each stream that was followed has to be the same, up to where the manifests followed it: one that lost records, or
    was made again, would be written to below the offsets that its ingester asks for. Raises Forked, Unavailable, and
    what `Backend.create` and `open_writer` raise.
    """
    make_or_compare(backend, sequencers, followed)
    with suppress(Unavailable):  # after a power cut the last records are proven only once a writer has opened them
        _compare(backend, followed)
    writer = backend.open_writer()
    try:
        _compare(backend, followed)
    except BaseException:
        writer.close()
        raise
    return writer


def _compare(backend: Backend, followed: Mapping[SequencerId, Head]) -> None:
    if not followed:
        return
    with closing(_existing(backend, followed)) as reader:
        for sequencer, known in followed.items():
            found = find_stream(reader, sequencer, known.stream, known.replay_offset)
            if different := difference(known.stream, known.replay_offset, found):
                raise _another(backend.url, sequencer, different)


def _existing(backend: Backend, followed: Mapping[SequencerId, Head]) -> Reader:
    try:
        return backend.open_reader()
    except BufferNotFound as error:
        first = min(followed)
        raise Forked(
            f"{backend.url}: there is no write buffer, but this store was filled from one (identity of sequencer "
            f"{first}: {followed[first].stream.identity}). {_REMEDY}"
        ) from error


_REMEDY = f"Bring the right one back. If it is lost: {SALVAGE}. Nothing is written until then"


def _another(url: str, sequencer: SequencerId, different: str) -> Forked:
    return Forked(
        f"{url} is not the write buffer this store was filled from: sequencer {sequencer}: {different}. {_REMEDY}",
        sequencer=sequencer,
    )
