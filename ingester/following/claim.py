"""From a configuration to a claimed sequencer: connect, compare the stream with the manifest, claim the next epoch."""

import secrets
import threading
from contextlib import ExitStack
from dataclasses import dataclass

from common.catalog.manifest import manifest
from common.catalog.manifest.change import Instance
from common.catalog.manifest.head import find_head
from common.catalog.manifest.manifest import OnDamaged
from common.catalog.manifest.state import ManifestState
from common.logs import Logger
from common.retrying import keep_trying
from common.store.objects import ObjectStore, Steps, run
from common.values.config import ClusterConfig
from common.values.errors import DataCorrupt, Fenced, Forked, PenstockError
from common.values.ids import Offset, SequencerId
from ingester.following.recovery import claim_change, start
from writebuffer.connect import connect
from writebuffer.contract import Reader
from writebuffer.errors import OffsetTrimmed, RecordsLost
from writebuffer.own_buffer import followed_streams, make_or_compare
from writebuffer.same_stream import find_stream


@dataclass(frozen=True, slots=True)
class Claimed:
    """state: after the claim. next_offset: the buffer's at that time; until it is applied, queries wait."""

    reader: Reader
    state: ManifestState
    next_offset: Offset


def claim_sequencer(
    cluster: ClusterConfig,
    store: ObjectStore,
    sequencer: SequencerId,
    claimant: Instance,
    accept_loss: bool,
    stopped: threading.Event,
    logger: Logger,
) -> Claimed | None:
    """Claim, trying for ever while the buffer or the store is away; None when `stopped` was set meanwhile.

    Raises Forked, OffsetTrimmed, RecordsLost (nothing was claimed), DataCorrupt, Misconfigured.
    """

    def attempt() -> Claimed:
        backend = connect(cluster.write_buffer_url)
        make_or_compare(backend, cluster.sequencers, followed_streams(store, cluster.sequencers))
        with ExitStack() as on_error:
            reader = backend.open_reader()
            on_error.callback(reader.close)
            claimed = claim(reader, store, sequencer, claimant, accept_loss, on_damaged)
            on_error.pop_all()  # the reader is the caller's now
        return claimed

    def on_damaged(error: DataCorrupt) -> None:
        logger.warning("a manifest checkpoint cannot be read; an older one is used", reason=error.message)

    def on_failure(error: PenstockError, pause_s: float) -> None:
        logger.warning("not claimed yet", reason=error.message, retry_in_s=pause_s)

    return keep_trying(attempt, stopped, on_failure)


def claim(
    reader: Reader,
    store: ObjectStore,
    sequencer: SequencerId,
    claimant: Instance,
    accept_loss: bool,
    on_damaged: OnDamaged = lambda error: None,
) -> Claimed:
    """Claim the next epoch. Raises as `claim_steps`."""
    return run(claim_steps(reader, sequencer, claimant, accept_loss, on_damaged), store)


def claim_steps(
    reader: Reader,
    sequencer: SequencerId,
    claimant: Instance,
    accept_loss: bool,
    on_damaged: OnDamaged = lambda error: None,
) -> Steps[Claimed]:
    """Claim the next epoch. Where another process puts a record in between, it is read and all is decided again.

    Raises Forked, OffsetTrimmed, RecordsLost (nothing was claimed), DataCorrupt, Unavailable (try again).
    """
    while True:
        state = yield from manifest.load(sequencer, on_damaged=on_damaged)
        stream = find_stream(reader, sequencer, state.as_of.stream, state.stored_end)
        try:
            begin = start(state, stream, accept_loss)
        except (Forked, OffsetTrimmed, RecordsLost):
            if (yield from find_head(sequencer, state.number)) > state.number:
                continue  # its holder committed, and the buffer was trimmed up to there, after the manifest was read
            raise
        change = claim_change(state, begin, stream, claimant)
        try:
            claimed = yield from manifest.claim(state, change, secrets.token_hex(16))
        except Fenced:
            continue
        return Claimed(reader, claimed, stream.offsets.next_offset)
