"""What the processes of a cluster share must lie outside of each: a buffer or store in memory is one process's own."""

from common.config import ClusterConfig
from common.errors import Misconfigured

_MEMORY = "memory"


def require_shared(cluster: ClusterConfig) -> None:
    """Raises Misconfigured for `memory:`: writes would be acknowledged and never seen by another process."""
    if _scheme(cluster.write_buffer) == _MEMORY:
        raise Misconfigured(
            f"write buffer {cluster.write_buffer!r} is each process's own: what a router acknowledges, no ingester "
            "sees. Give --write-buffer file:///absolute/path, or leave it out for one below --data",
            write_buffer=cluster.write_buffer,
        )
    if _scheme(cluster.store) == _MEMORY:
        raise Misconfigured(
            f"object store {cluster.store!r} is each process's own: it ends with the process, and no query sees it. "
            "Give --store file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, or "
            "leave it out for one below --data",
            store=cluster.store,
        )


def _scheme(url: str) -> str:
    return url.partition(":")[0]
