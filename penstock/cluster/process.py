"""A router or an ingester as one process of a cluster: what all must share, and how one ends with its supervisor.

The supervisor of `penstock up` holds the write end of a child's stdin and never writes: end of file means that it died,
however it died. The child then stops in its own ordered way, as after SIGTERM, and has as long for it as the supervisor
would give it; after that it ends at once, which loses nothing that was acknowledged.
"""

import os
import signal
import threading
import time

from common.values.config import ClusterConfig
from common.values.errors import Misconfigured
from penstock.terminal import exit_codes

SUPERVISED = "PENSTOCK_SUPERVISED_STOP_TIMEOUT_S"
"""The variable that the supervisor sets for its children: how long their ordered stop may take."""

_MEMORY = "memory"


def require_shared(cluster: ClusterConfig) -> None:
    """Raises Misconfigured for `memory:`: writes would be acknowledged and never seen by another process."""
    if _scheme(cluster.write_buffer) == _MEMORY:
        raise Misconfigured(
            f"write buffer {cluster.write_buffer!r} is each process's own, in its memory: no ingester sees a router's "
            "writes. "
            "Give --write-buffer file:///absolute/path, or leave it out for one below --data",
            write_buffer=cluster.write_buffer,
        )
    if _scheme(cluster.store) == _MEMORY:
        raise Misconfigured(
            f"object store {cluster.store!r} is each process's own, in its memory: it ends with the process, and no "
            "query sees it. "
            "Give --store file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, or "
            "leave it out for one below --data",
            store=cluster.store,
        )


def stop_with_supervisor() -> None:
    """Watch stdin from a thread of its own, when this process was started by a supervisor."""
    if stop_timeout_s := os.environ.get(SUPERVISED):
        threading.Thread(
            target=_end_with_stdin, args=[float(stop_timeout_s)], name="supervisor-watch", daemon=True
        ).start()


def _end_with_stdin(stop_timeout_s: float) -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(stop_timeout_s)
    os._exit(exit_codes.FAILED)


def _scheme(url: str) -> str:
    return url.partition(":")[0]
