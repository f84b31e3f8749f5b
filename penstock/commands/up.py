"""`penstock up`."""

import sys
from dataclasses import replace

import click

from common.values.config import ClusterConfig, IngesterConfig, RetentionConfig, RouterConfig
from penstock.cluster.process import require_shared
from penstock.terminal.options import SectionedCommand, settings


@click.command(cls=SectionedCommand)
@settings(ClusterConfig, RouterConfig, IngesterConfig, RetentionConfig)
def command(cluster: ClusterConfig, router: RouterConfig, ingester: IngesterConfig, retention: RetentionConfig) -> None:
    """Start a cluster on this machine: a router and an ingester for each sequencer.

    Prints the addresses and three commands to try once all are ready. A process that dies is started again.

    Ctrl-C stops in order: the router finishes the requests in flight, then the ingesters persist the rows in their
    memory. The last line says whether all of them are in the store. A second Ctrl-C stops at once, which loses nothing
    that was acknowledged.
    """
    import asyncio

    from common.store.opening import open_store
    from common.values.clock import SystemClock
    from penstock.cluster import data_folder as datafolder
    from penstock.cluster import embedded, ports
    from penstock.cluster.supervisor import Supervisor
    from penstock.cluster.verdict import verdict
    from penstock.cluster.welcome import typed_command, welcome
    from writebuffer.connect import connect

    require_shared(cluster)
    connect(cluster.write_buffer_url)
    open_store(cluster.store_url)
    clock = SystemClock()
    if not datafolder.is_there(
        cluster.data_folder
    ):  # no folder is made for ports in use; where one exists, its holder is named
        ports.settle(cluster.sequencers, router, ingester)
    with datafolder.held(datafolder.make(cluster), clock.now_ns()):
        router, ingester = ports.settle(cluster.sequencers, router, ingester)
        cluster = _joined(cluster, clock.now_ns())
        text = welcome(cluster, router, ingester, typed_command())
        stages = embedded.stages(cluster, router, ingester, retention)
        supervisor = Supervisor(stages, clock, lambda: click.echo(text), lambda: verdict(cluster))
        code = asyncio.run(supervisor.run())
    sys.exit(code)


def _joined(cluster: ClusterConfig, now_ns: int) -> ClusterConfig:
    """Refuse once what every child would refuse. The children wait for a store that is away.

    They join this cluster and no other. Otherwise a child that starts again after the data folder was deleted would
    make a new one.
    """
    from common.startup import join_cluster
    from common.values.errors import Unavailable

    try:
        return replace(cluster, cluster_id=join_cluster(cluster, now_ns)[1].cluster_id)
    except Unavailable as error:
        click.echo(f"penstock: {error}", err=True)
        return cluster
