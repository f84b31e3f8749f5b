"""A cluster that stands already, opened to look at it: nothing is made, nothing is written."""

from common import cluster as cluster_file
from common.cluster import Cluster
from common.config import ClusterConfig
from common.errors import Misconfigured
from common.objectstore import NotFound, ObjectStore, open_store


def open_cluster(config: ClusterConfig) -> tuple[ObjectStore, Cluster]:
    """Raises Misconfigured where no cluster was ever made there, Unavailable where the store is away."""
    store = open_store(config.store_url)
    try:
        data = store.get(cluster_file.PATH)
    except NotFound:
        raise Misconfigured(
            f"no cluster at {store.url}: start one with `penstock up --data {config.data}`, or correct --data"
        ) from None
    return store, cluster_file.parse(data, f"{store.url}/{cluster_file.PATH}")
