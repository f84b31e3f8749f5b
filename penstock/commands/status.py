"""`penstock status`."""

import sys

import click

from common.config import ClusterConfig
from penstock import exit_codes
from penstock.options import SectionedCommand, settings


@click.command(cls=SectionedCommand)
@settings(ClusterConfig, without=["sequencers"])
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, unknown values as null.")
def command(cluster: ClusterConfig, as_json: bool) -> None:
    """Show offsets, lag, buffered rows and files of each sequencer.

    \b
    first, next     the oldest offset that the log still holds, and one past its newest
    persisted       every row below it is in the store's files
    applied         one past the newest offset that the ingester has taken in
    lag             next - applied
    rows duplicate  came again in a record that was sent twice, and were left out

    \b
    state is one of
      live, stopping
      starting, replaying   queries wait
      waiting               the write buffer is away; next and lag are unknown
      down                  the ingester does not answer
      corrupt               its manifest is damaged

    The exit code is 1 when an ingester is down, 5 when one is corrupt, else 0.
    """
    from common.errors import DataCorrupt
    from common.logs import configure_command
    from penstock import datafolder, status
    from penstock.cli import tell
    from penstock.existing import open_cluster
    from writebuffer.connect import connect

    configure_command()
    datafolder.require(cluster)
    store, joined = open_cluster(cluster)
    corrupt: list[DataCorrupt] = []
    statuses = status.gather(store, joined.sequencers, connect(cluster.write_buffer_url), corrupt.append)
    click.echo(status.to_json(statuses) if as_json else status.table(statuses))
    for error in corrupt:
        tell(error)
    if corrupt:
        sys.exit(exit_codes.CORRUPT)
    sys.exit(exit_codes.FAILED if any(one.state == status.DOWN for one in statuses) else exit_codes.OK)
