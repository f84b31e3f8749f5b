"""`penstock up`."""

import sys

import click

from common.config import ClusterConfig, IngesterConfig, RetentionConfig, RouterConfig
from penstock.options import SectionedCommand, settings
from penstock.shared import require_shared


@click.command(cls=SectionedCommand)
@settings(ClusterConfig, RouterConfig, IngesterConfig, RetentionConfig)
def command(cluster: ClusterConfig, router: RouterConfig, ingester: IngesterConfig, retention: RetentionConfig) -> None:
    """Start a cluster on this machine: a router and an ingester for each sequencer.

    Prints the addresses and three commands to try once all are ready. What dies is started again. Ctrl-C stops in
    order: the router finishes what is in flight, then the ingesters persist what they hold; a second Ctrl-C stops at
    once, which loses nothing that was acknowledged.
    """
    import asyncio

    from common.clock import SystemClock
    from penstock import datafolder, embedded, ports
    from penstock.supervisor import Supervisor
    from penstock.typed import typed_command
    from writebuffer.connect import connect

    require_shared(cluster)
    connect(cluster.write_buffer_url)
    if (
        not cluster.data_folder.exists()
    ):  # no folder is made for ports that are taken; else its holder is the better reason
        ports.settle(cluster.sequencers, router, ingester)
    clock = SystemClock()
    with datafolder.held(datafolder.make(cluster), clock.now_ns()):
        router, ingester = ports.settle(cluster.sequencers, router, ingester)
        _join(cluster, clock.now_ns())

        async def supervise() -> int:
            stages = embedded.stages(cluster, router, ingester, retention)
            return await Supervisor(
                stages, clock, lambda: click.echo(embedded.welcome(cluster, router, ingester, typed_command()))
            ).run()

        code = asyncio.run(supervise())
    sys.exit(code)


def _join(cluster: ClusterConfig, now_ns: int) -> None:
    """Refuse what every child would refuse, once. A store that is merely away is the children's to wait for."""
    from common.errors import Unavailable
    from common.startup import join_cluster

    try:
        join_cluster(cluster, now_ns)
    except Unavailable as error:
        click.echo(f"penstock: {error}", err=True)
