"""`penstock router`."""

import sys

import click

from common.values.config import ClusterConfig, RetentionConfig, RouterConfig
from penstock.cluster.process import require_shared, stop_with_supervisor
from penstock.terminal.options import SectionedCommand, settings


@click.command(cls=SectionedCommand)
@settings(ClusterConfig, RouterConfig, RetentionConfig)
def command(cluster: ClusterConfig, router: RouterConfig, retention: RetentionConfig) -> None:
    """Run the router process alone.

    It accepts writes over HTTP, puts each series on one sequencer and answers once the write buffer has made the write
    durable. SIGTERM finishes the requests in flight; a second one stops at once, which is always safe.
    """
    require_shared(cluster)
    from common.pandas_unused import keep_pandas_out

    keep_pandas_out()
    from router.main import run

    stop_with_supervisor()
    sys.exit(run(cluster, router, retention))
