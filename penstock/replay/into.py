"""A store made anew from the log alone: after the loss of a store, or as a copy beside the live one.

Each sequencer is read by an ingester of its own, without a process, from the oldest offset on, with the rules and the
memory of any other. The new store belongs to the same cluster and follows the same streams, so that a cluster can go on
from it. Interrupted, it is continued by the next run. The live store is not read, and nothing is written to the buffer.
"""

import random
import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from common.catalog import cluster as cluster_file
from common.catalog import paths
from common.catalog.cluster import Cluster
from common.catalog.joined_store import JoinedStore
from common.catalog.manifest import manifest
from common.catalog.manifest.change import Instance
from common.catalog.manifest.state import ManifestState
from common.catalog.schema_store import SchemaStore
from common.catalog.table_schema import NO_SCHEMA
from common.logs import Logger
from common.store.objects import NotFound, run
from common.store.opening import check_put_if_absent, open_store
from common.values.clock import SystemClock
from common.values.config import IngesterConfig
from common.values.errors import Misconfigured
from common.values.ids import NO_MANIFEST, Offset, SequencerId
from ingester.core.core import IngesterCore
from ingester.core.lifecycle import Rules
from ingester.following.claim import claim
from ingester.service import SMALL_JOBS_PER_JOB, IngesterService
from ingester.serving.published import Published
from writebuffer.contract import Reader

LOOK_S = 0.2
"""How often progress is shown."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One sequencer of the new store. from_offset: the least that a file has; rows trimmed before are not in it."""

    sequencer: int
    from_offset: int
    next_offset: int
    files: int
    stored: int
    overwritten: int
    duplicate: int
    dead: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def open_target(url: str, cluster: Cluster, logger: Logger) -> JoinedStore:
    """The store at `url`, made to belong to `cluster` where nothing is there.

    Raises Misconfigured where it is in use, or another cluster's; Unavailable.
    """
    store = open_store(url)
    try:
        found = cluster_file.parse(store.get(paths.CLUSTER), f"{url}/{paths.CLUSTER}")
        if found != cluster:
            raise Misconfigured(f"--into {url}: there is cluster {found.cluster_id}: give a store that is empty")
    except NotFound:
        check_put_if_absent(store, secrets.token_hex(16))
        store.put_if_absent(paths.CLUSTER, cluster.to_json())
    for number in range(cluster.sequencers):
        state = run(manifest.load(SequencerId(number)), store)
        if state.flight_address:
            raise Misconfigured(
                f"--into {url}: an ingester has claimed sequencer {number} there ({state.instance.name}): give a store "
                "that is empty, or that an earlier run of this command began"
            )
    return JoinedStore(store, cluster, logger)


def rebuild(
    reader: Reader,
    store: JoinedStore,
    sequencer: SequencerId,
    progress: Callable[[int], None],
    logger: Logger,
    config: IngesterConfig | None = None,
) -> Rebuilt:
    """Read all that the log has now into `store`. progress: called with the number of offsets passed.

    Raises what an ingester ends with: Forked, OffsetTrimmed, DataCorrupt, Fenced, Unavailable.
    """
    config = config or IngesterConfig()
    claimed = claim(reader, store, sequencer, Instance("penstock replay --into"), accept_loss=False)
    state = claimed.state
    core = IngesterCore(
        state,
        Rules.of(config),
        config.file_bytes_max,
        2 * config.persist_workers,
        random.Random(secrets.randbits(128)),
        small_jobs_per_job=SMALL_JOBS_PER_JOB,
    )
    service = IngesterService(core, reader, store, Published(sequencer), config, SystemClock(), logger)
    _follow(service, core, claimed.next_offset, state.replay_offset, progress)
    _settle_columns(core.state, store)
    accounts = core.state.accounts
    return Rebuilt(
        sequencer=sequencer,
        from_offset=_began(core.state, reader),
        next_offset=core.state.replay_offset,
        files=len(core.state.files),
        stored=accounts.stored,
        overwritten=accounts.overwritten,
        duplicate=accounts.duplicate,
        dead=accounts.dead,
    )


def _follow(
    service: IngesterService, core: IngesterCore, end: Offset, start: Offset, progress: Callable[[int], None]
) -> None:
    """Until all below `end` is persisted. Ctrl-C ends it at once: what is committed stays."""
    ended: list[BaseException] = []

    def work() -> None:
        try:
            service.run()
        except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
            ended.append(error)

    thread = threading.Thread(target=work, name="replay-into", daemon=True)
    thread.start()
    shown, asked = start, False
    while thread.is_alive():
        applied = min(core.applied_offset, end)
        progress(applied - shown)
        shown = applied
        if applied >= end and not asked:
            asked = True
            service.stop()
        thread.join(LOOK_S)
    progress(min(core.applied_offset, end) - shown)
    if ended:
        raise ended[0]


def _settle_columns(state: ManifestState, store: JoinedStore) -> None:
    """The schema files that routers ask, as the records had the columns."""
    schemas = SchemaStore(nonce=lambda: secrets.token_hex(16))
    for table, columns in sorted(state.columns.items()):
        known = run(schemas.look(table.namespace, table.table, NO_SCHEMA), store)
        run(schemas.settle(table.namespace, table.table, known, columns), store)


def _began(state: ManifestState, reader: Reader) -> Offset:
    """The least offset that any file has; where there is none, where the log begins."""
    assert state.number != NO_MANIFEST
    first = min((file.first_offset for file in state.files.values()), default=None)
    return reader.offsets(state.sequencer).first_offset if first is None else first
