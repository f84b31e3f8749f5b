"""The embedded cluster as values: which processes, with which settings, and what is printed once they are ready."""

import os
import shlex
import sys
from collections.abc import Mapping

from common.config import ClusterConfig, IngesterConfig, RetentionConfig, RouterConfig, to_environment
from penstock.child import ChildSpec
from penstock.ports import reachable

_ROUTER_GRACE_S = 10.0
"""Beyond the router's own shutdown_timeout_s: flush and close."""
_INGESTER_STOP_S = 120.0
"""What is buffered is persisted; what is not by then stays in the log."""


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
            f"http://{reachable(router.host)}:{router.port}/ready",
            router.shutdown_timeout_s + _ROUTER_GRACE_S,
        )
    ]
    ingesters = [
        ChildSpec(
            f"ingester-{sequencer}",
            [*penstock, "ingester", "--sequencer", str(sequencer)],
            {**inherited, **to_environment(cluster, ingester, retention)},
            f"http://{reachable(ingester.host)}:{ingester.http_port + sequencer}/ready",
            _INGESTER_STOP_S,
        )
        for sequencer in range(cluster.sequencers)
    ]
    return [routers, ingesters]


def welcome(cluster: ClusterConfig, router: RouterConfig, ingester: IngesterConfig, penstock: str = "penstock") -> str:
    """Addresses, and three commands to try that work as they stand. penstock: how it is typed here."""
    url = f"http://{reachable(router.host)}:{router.port}"
    host, last = reachable(ingester.host), cluster.sequencers - 1
    return f"""
penstock is ready: {cluster.sequencers} sequencers, store {cluster.store_url}
  router     {url}
  ingesters  http://{host}:{_span(ingester.http_port, last)}, Flight grpc://{host}:{_span(ingester.flight_port, last)}

Try:
  curl -i '{url}/api/v2/write?bucket=metrics' --data-binary 'weather,city=Basel temperature=21.5'
  {penstock} query "SELECT * FROM weather" --namespace metrics{_flags(cluster, "data", "store")}
  {penstock} status{_flags(cluster, "data", "store", "write_buffer")}
Ctrl-C stops the cluster in order.
"""


def _span(first: int, more: int) -> str:
    return f"{first}" if not more else f"{first}-{first + more}"


def _flags(cluster: ClusterConfig, *names: str) -> str:
    default = ClusterConfig()
    given = [
        f" --{name.replace('_', '-')} {shlex.quote(getattr(cluster, name))}"
        for name in names
        if getattr(cluster, name) != getattr(default, name)
    ]
    return "".join(given)
