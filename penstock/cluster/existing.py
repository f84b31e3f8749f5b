"""A cluster that exists already, opened for reading: nothing is made, nothing is written."""

from common.catalog.cluster import Cluster
from common.startup import read_copy, read_existing
from common.store.objects import NotFound, ObjectStore
from common.store.opening import open_store
from common.values.config import ClusterConfig
from common.values.errors import Misconfigured


def open_cluster(config: ClusterConfig) -> tuple[ObjectStore, Cluster]:
    """Raises Misconfigured where no cluster was ever made there, Unavailable where the store is away, or gone."""
    if not config.store and not config.data_folder.is_dir():
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
