"""The embedded cluster as values: which processes, with which settings, ready at which URLs, stopped in which order."""

import os
import sys
from collections.abc import Mapping

from common.values.addresses import Address, reachable_here
from common.values.config import ClusterConfig, IngesterConfig, RetentionConfig, RouterConfig, to_environment
from penstock.cluster.child import ChildSpec
from writebuffer.waiting import CLOSE_S_MAX, TRIM_STOP_S

_ROUTER_GRACE_S = TRIM_STOP_S + CLOSE_S_MAX + 5.0
"""Beyond the router's own shutdown_timeout_s: the end of trimming, and the close of a write buffer that hangs."""
_INGESTER_GRACE_S = 30.0
"""Beyond an ingester's own stop_deadline_s: what it reads on first, and store calls that hang at its end."""


def stages(
    cluster: ClusterConfig,
    router: RouterConfig,
    ingester: IngesterConfig,
    retention: RetentionConfig,
    environ: Mapping[str, str] = os.environ,
) -> list[list[ChildSpec]]:
    """The router, then the ingesters: the order in which they stop. Ports are already settled."""
    inherited = {name: value for name, value in environ.items() if name != "PENSTOCK_CONFIG"}
    penstock = [sys.executable, "-m", "penstock"]
    routers = [
        ChildSpec(
            "router",
            [*penstock, "router"],
            {**inherited, **to_environment(cluster, router, retention)},
            f"{router_url(router)}/ready",
            router.shutdown_timeout_s + _ROUTER_GRACE_S,
        )
    ]
    ingesters = [
        ChildSpec(
            f"ingester-{sequencer}",
            [*penstock, "ingester", "--sequencer", str(sequencer)],
            {**inherited, **to_environment(cluster, ingester, retention)},
            f"http://{Address(reachable_here(ingester.listen_host), ingester.http_port + sequencer)}/ready",
            ingester.stop_deadline_s + _INGESTER_GRACE_S,
        )
        for sequencer in range(cluster.sequencers)
    ]
    return [routers, ingesters]


def router_url(router: RouterConfig) -> str:
    """Where this machine reaches the router."""
    return f"http://{Address(reachable_here(router.listen_host), router.port)}"
