"""What `penstock up` prints once the cluster is ready: where it is, and what to try, typed as it works from here."""

import shlex
import shutil
import sys
from pathlib import Path

from common.values.addresses import bracketed, reachable_here
from common.values.config import ClusterConfig, IngesterConfig, RouterConfig
from common.values.shown import counted
from penstock.cluster.embedded import router_url


def welcome(cluster: ClusterConfig, router: RouterConfig, ingester: IngesterConfig, penstock: str = "penstock") -> str:
    """Addresses, and three commands to try that work as they are. penstock: how the command is typed here."""
    url = router_url(router)
    host, last = bracketed(reachable_here(ingester.listen_host)), cluster.sequencers - 1
    return f"""
penstock is ready: {counted(cluster.sequencers, "sequencer")}, store {cluster.store_url}
  router     {url}
  ingesters  http://{host}:{_span(ingester.http_port, last)}, Flight grpc://{host}:{_span(ingester.flight_port, last)}

Try:
  curl -i '{url}/api/v2/write?bucket=metrics' --data-binary 'weather,city=Basel temperature=21.5'
  {penstock} query "SELECT * FROM weather" --namespace metrics{_flags(cluster, "data", "store")}
  {penstock} status{_flags(cluster, "data", "store", "write_buffer")}
Ctrl-C stops the cluster in order.
"""


def typed_command() -> str:
    """`penstock` when that on PATH is the one that runs, else the way to the running one from this folder."""
    running = Path(sys.argv[0])
    if running.suffix == ".py":
        return f"{_from_here(Path(sys.executable))} -m penstock"
    on_path = shutil.which("penstock")
    if on_path is not None and Path(on_path).samefile(running):
        return "penstock"
    return _from_here(running)


def _from_here(path: Path) -> str:
    path = path.absolute()
    here = Path.cwd()
    if not path.is_relative_to(here):
        return shlex.quote(str(path))
    below = path.relative_to(here)
    return shlex.quote(str(below) if below.parent.parts else f"./{below}")


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
