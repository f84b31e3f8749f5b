"""What every process does first: open the store, join the cluster.

A wrong configuration raises, and the process exits with the reason. A store that is away is fine once
cluster.json was read: a copy is kept in the process's data folder. With it a cluster is known, and no process makes
another one in its place: an empty store then means that the store is not mounted, or was deleted.
"""

import os
import uuid
from pathlib import Path

import structlog

from common.catalog import cluster as cluster_file
from common.catalog import paths
from common.catalog.cluster import Cluster
from common.catalog.joined_store import JoinedStore
from common.logs import Logger
from common.store.disk_errors import NO_FOLDER_TO_BE, is_setting, no_folder_to_be, plain
from common.store.local import LocalStore
from common.store.objects import NotFound, ObjectStore, run
from common.store.opening import check_put_if_absent, open_store
from common.values.config import ClusterConfig
from common.values.errors import Misconfigured, Unavailable
from common.values.shown import counted


def join_cluster(config: ClusterConfig, now_ns: int, logger: Logger | None = None) -> tuple[JoinedStore, Cluster]:
    """Open the store, prove that it keeps put-if-absent, make or join the cluster.

    Raises Misconfigured, DataCorrupt (exit with the reason), or Unavailable when the store cannot be reached and the
    data folder has no copy of cluster.json. With a copy a store that is away is returned: its calls raise Unavailable.
    """
    store, log = open_store(config.store_url), logger or structlog.get_logger()
    known = read_copy(config)
    if known and known.sequencers != config.sequencers:
        raise Misconfigured(
            f"{_copy(config)} says {counted(known.sequencers, 'sequencer')}, asked for {config.sequencers}: start with "
            f"--sequencers {known.sequencers}",
            sequencers=known.sequencers,
        )
    try:
        found = _found_or_join(store, config, known)
        _keep_copy(found, _copy(config))
        joined = JoinedStore(store, found, log)
        check_put_if_absent(joined, uuid.uuid4().hex)
        if isinstance(store, LocalStore):
            store.remove_leftovers(now_ns)
    except Unavailable as error:
        if is_setting(error.__cause__):
            raise Misconfigured(f"{error.message} (--data or --store says where)", store=store.url) from error
        if known is None:
            if isinstance(error.__cause__, NO_FOLDER_TO_BE):
                message = no_folder_to_be(store.url, error.__cause__, "--data, or --store")
                raise Misconfigured(f"object store {message}", store=store.url) from error
            raise
        log.warning("object store is away", reason=error.message)
        return JoinedStore(store, known, log), known
    return joined, found


def read_copy(config: ClusterConfig) -> Cluster | None:
    """The cluster that this data folder belongs to; None where it has no copy of cluster.json yet.

    Raises Misconfigured where it is not the one that is asked for, DataCorrupt.
    """
    copy = _copy(config)
    try:
        data = copy.read_bytes()
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise Misconfigured(
            f"data folder {copy.parent}: it is a file, or below a file; give a folder with --data"
        ) from None
    except OSError as error:
        raise Misconfigured(f"data folder: {plain(error, str(copy.parent))} (--data says where)") from error
    known = cluster_file.parse(data, str(copy))
    _check_asked(known, config, str(copy))
    return known


def read_existing(store: ObjectStore, config: ClusterConfig, known: Cluster | None) -> Cluster:
    """The cluster in `store`. known: the one that this data folder belongs to.

    Raises NotFound where there is none and none is expected, Unavailable where it is not there any more, Misconfigured
    where there is another one, DataCorrupt.
    """
    expected = known.cluster_id if known else config.cluster_id
    try:
        data = store.get(paths.CLUSTER)
    except NotFound:
        if expected:
            raise _gone(store, config, expected) from None
        raise
    found = cluster_file.parse(data, f"{store.url}/{paths.CLUSTER}")
    if known and known != found:
        raise Misconfigured(
            f"{_copy(config)} belongs to cluster {known.cluster_id}, the store to {found.cluster_id}: give each "
            "cluster a data folder of its own (--data), or correct --store"
        )
    _check_asked(found, config, store.url)
    return found


def _found_or_join(store: ObjectStore, config: ClusterConfig, known: Cluster | None) -> Cluster:
    try:
        read_existing(store, config, known)
    except NotFound:
        check_put_if_absent(store, uuid.uuid4().hex)  # before there is a cluster that could not keep its promises
    return run(cluster_file.found_or_join(config.sequencers, store.url), store)


def _gone(store: ObjectStore, config: ClusterConfig, expected: str) -> Unavailable:
    return Unavailable(
        f"object store {store.url}: there is no {paths.CLUSTER}, but cluster {expected} was joined here before: the "
        "store is not mounted, or was moved or deleted. Bring it back; no new cluster is made in its place. If it is "
        "lost, `penstock replay --into URL` makes one of what the log still has. To begin "
        f"a new cluster give another data folder (--data); {config.data_folder} belongs to this one",
        store=store.url,
    )


def _check_asked(found: Cluster, config: ClusterConfig, where: str) -> None:
    if config.cluster_id and found.cluster_id != config.cluster_id:
        raise Misconfigured(
            f"{where} belongs to cluster {found.cluster_id}, asked for {config.cluster_id}: correct --store or "
            "--data, or leave out --cluster-id",
            cluster_id=found.cluster_id,
        )


def _copy(config: ClusterConfig) -> Path:
    return config.data_folder / paths.CLUSTER


def _keep_copy(joined: Cluster, copy: Path) -> None:
    if copy.exists():
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
