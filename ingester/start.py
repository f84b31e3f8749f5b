"""From a configuration to a claimed sequencer: connect, compare the stream with the manifest, claim the next epoch."""

import secrets
import threading
from dataclasses import dataclass

from common import manifest_record
from common.config import ClusterConfig
from common.errors import Fenced, Forked, InvalidRequest, Unavailable
from common.ids import Offset, SequencerId
from common.logs import Logger
from common.objectstore import ObjectStore, Steps, run
from ingester.followed import checksum_at
from ingester.persist import manifest
from ingester.persist.manifest_state import Instance, ManifestState
from ingester.recovery import Stream, claim_change, start
from writebuffer.connect import connect
from writebuffer.contract import Reader
from writebuffer.errors import OffsetTrimmed
from writebuffer.own_buffer import followed_streams, make_or_compare

RETRY_S = 0.2
RETRY_S_MAX = 10.0


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

    Raises Forked, OffsetTrimmed (nothing was claimed), DataCorrupt, Misconfigured.
    """
    retry_s = RETRY_S
    while not stopped.is_set():
        try:
            backend = connect(cluster.write_buffer_url)
            make_or_compare(backend, cluster.sequencers, followed_streams(store, cluster.sequencers))
            return claim(backend.open_reader(), store, sequencer, claimant, accept_loss)
        except Unavailable as error:
            logger.warning("not started yet; it is tried again", reason=error.message, retry_s=retry_s)
        stopped.wait(retry_s)
        retry_s = min(2 * retry_s, RETRY_S_MAX)
    return None


def claim(reader: Reader, store: ObjectStore, sequencer: SequencerId, claimant: Instance, accept_loss: bool) -> Claimed:
    """Claim the next epoch. Raises as `claim_steps`."""
    return run(claim_steps(reader, sequencer, claimant, accept_loss), store)


def claim_steps(reader: Reader, sequencer: SequencerId, claimant: Instance, accept_loss: bool) -> Steps[Claimed]:
    """Claim the next epoch. Where another process puts a record in between, it is read and all decided anew.

    Raises Forked, OffsetTrimmed (nothing was claimed), DataCorrupt, Unavailable (try again).
    """
    while True:
        state = yield from manifest.load(sequencer)
        wait_for_proof(reader, sequencer, state.replay_offset)
        offsets = reader.offsets(sequencer)
        stream = Stream(reader.identity(sequencer), offsets, checksum_at(reader, sequencer, state.stream.last_offset))
        try:
            begin = start(state, stream, accept_loss)
        except (Forked, OffsetTrimmed):
            if (yield from manifest_record.find_head(sequencer, state.number)) > state.number:
                continue  # its holder committed, and the buffer was trimmed up to there, after the manifest was read
            raise
        change = claim_change(state, begin, stream, claimant)
        try:
            claimed = yield from manifest.claim(state, change, secrets.token_hex(16))
        except Fenced:
            continue
        return Claimed(reader, claimed, offsets.next_offset)


def wait_for_proof(reader: Reader, sequencer: SequencerId, offset: Offset) -> None:
    """Raise Unavailable where records below `offset` are written but not proven durable yet.

    After a power cut that is so until the buffer's writer was started again; such a stream is no fork.
    """
    cursor = reader.reader(sequencer)
    try:
        cursor.seek(offset)
    except InvalidRequest:
        return  # the stream is another one, or was trimmed: recovery.start says which
    finally:
        cursor.close()
