"""A cluster that exists already, opened for reading: nothing is made, nothing is written."""

from collections.abc import Iterable, Sequence

import structlog

from common.catalog.cluster import Cluster
from common.catalog.joined_store import JoinedStore
from common.startup import read_copy, read_existing
from common.store.objects import NotFound, ObjectStore
from common.store.opening import open_store
from common.values.config import ClusterConfig
from common.values.errors import InvalidRequest, Misconfigured
from common.values.ids import SequencerId
from common.values.schema import TableId
from common.values.shown import counted
from penstock.cluster.data_folder import is_there


def open_cluster(config: ClusterConfig) -> tuple[ObjectStore, Cluster]:
    """Raises Misconfigured where no cluster was ever made there, Unavailable where the store is away, or gone."""
    if not config.store and not is_there(config.data_folder):
        raise Misconfigured(
            f"data folder {config.data_folder} does not exist: start a cluster with `penstock up --data "
            f"{config.data}`, or correct --data",
            data=config.data,
        )
    store = open_store(config.store_url)
    try:
        return store, read_existing(store, config, read_copy(config))
    except NotFound:
        raise Misconfigured(
            f"there is no cluster in {store.url}; start one with `penstock up --data {config.data}`, or correct --data"
        ) from None


def open_joined(config: ClusterConfig) -> tuple[JoinedStore, Cluster]:
    """The same for longer work: each call proves that the store is still that cluster's, or raises Unavailable."""
    store, cluster = open_cluster(config)
    return JoinedStore(store, cluster, structlog.get_logger()), cluster


def chosen(cluster: Cluster, sequencer: int | None) -> Sequence[SequencerId]:
    """What --sequencer asks for; all sequencers for None. Raises InvalidRequest for one that there is not."""
    if sequencer is None:
        return [SequencerId(number) for number in range(cluster.sequencers)]
    if sequencer >= cluster.sequencers:
        raise InvalidRequest(
            f"--sequencer {sequencer}: the cluster has {counted(cluster.sequencers, 'sequencer')} "
            f"(0..{cluster.sequencers - 1})",
            sequencers=cluster.sequencers,
        )
    return [SequencerId(sequencer)]


def tables_chosen(tables: Iterable[TableId], namespace: str | None, table: str | None) -> list[TableId]:
    """What --namespace and --table ask for; None asks for all. Raises InvalidRequest for names that no table has."""
    found = [one for one in tables if namespace in (None, one.namespace) and table in (None, one.table)]
    if not found and (namespace or table):
        where = f"namespace {namespace!r} has no table" if namespace else "no namespace has a table"
        named = f" {table!r}" if table else ""
        raise InvalidRequest(f"{where}{named}: `penstock schema show` lists all")
    return found
