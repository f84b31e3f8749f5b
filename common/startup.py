"""What every process does first: open the store, join the cluster, make sure of the write buffer's URL.

A wrong configuration raises, and the process exits with the reason. A store that is merely away is fine once
cluster.json was read: a copy stands in the process's data folder.
"""

import os
import uuid
from pathlib import Path

from common import cluster
from common.cluster import Cluster
from common.config import ClusterConfig
from common.errors import Misconfigured, Unavailable
from common.localstore import LocalStore
from common.objectstore import ObjectStore, check_put_if_absent, open_store, run


def join_cluster(config: ClusterConfig, now_ns: int) -> tuple[ObjectStore, Cluster]:
    """Open the store, prove that it keeps put-if-absent, found or join the cluster.

    Raises Misconfigured, DataCorrupt (exit with the reason), or Unavailable when the store cannot be reached and no
    copy of cluster.json stands in the data folder.
    """
    store = open_store(config.store_url)
    copy = config.data_folder / cluster.PATH
    try:
        check_put_if_absent(store, uuid.uuid4().hex)
        joined = run(cluster.found_or_join(config.sequencers, store.url), store)
        if isinstance(store, LocalStore):
            store.remove_leftovers(now_ns)
    except Unavailable:
        if not copy.exists():
            raise
        joined = cluster.parse(copy.read_bytes(), str(copy))
        if joined.sequencers != config.sequencers:
            raise Misconfigured(
                f"{copy} says {joined.sequencers} sequencers, asked for {config.sequencers}: start with --sequencers "
                f"{joined.sequencers}",
                sequencers=joined.sequencers,
            ) from None
        return store, joined
    _keep_copy(joined, copy)
    return store, joined


def _keep_copy(joined: Cluster, copy: Path) -> None:
    if copy.exists():
        kept = cluster.parse(copy.read_bytes(), str(copy))
        if kept != joined:
            raise Misconfigured(
                f"{copy} belongs to cluster {kept.cluster_id}, the store to {joined.cluster_id}: give each cluster a "
                "data folder of its own (--data), or correct --store"
            )
        return
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(copy, joined.to_json())
    except OSError as error:
        raise Misconfigured(f"data folder {copy.parent}: {error}; give another with --data") from error


def _write_synced(path: Path, data: bytes) -> None:
    """Without the sync a power cut could leave an empty copy, which would keep the process from starting."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
