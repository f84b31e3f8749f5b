"""`penstock ingester`."""

import sys

import click

from common.values.config import ClusterConfig, IngesterConfig, RetentionConfig
from common.values.errors import Misconfigured
from common.values.ids import SequencerId
from common.values.shown import counted
from penstock.cluster.process import require_shared, stop_with_supervisor
from penstock.terminal.options import SectionedCommand, settings


@click.command(cls=SectionedCommand)
@click.option("--sequencer", type=int, required=True, metavar="N", help="The sequencer to follow, from 0.")
@settings(ClusterConfig, IngesterConfig, RetentionConfig)
def command(cluster: ClusterConfig, ingester: IngesterConfig, retention: RetentionConfig, sequencer: int) -> None:
    """Run the ingester process of one sequencer alone.

    It follows the sequencer's stream, keeps recent rows queryable, and persists them as Parquet. SIGTERM persists what
    is buffered; a second one stops at once, which is always safe.

    One ingester at a time holds a sequencer: starting a second one supersedes the first, which then stops with exit
    code 4. Rows are neither lost nor stored twice by it.
    """
    if not 0 <= sequencer < cluster.sequencers:
        raise Misconfigured(
            f"--sequencer {sequencer}: the cluster has {counted(cluster.sequencers, 'sequencer')} "
            f"(0..{cluster.sequencers - 1})",
            sequencer=sequencer,
        )
    require_shared(cluster)
    from common.pandas_unused import keep_pandas_out

    keep_pandas_out()
    from ingester.main import run

    stop_with_supervisor()
    sys.exit(run(cluster, ingester, retention, SequencerId(sequencer)))
