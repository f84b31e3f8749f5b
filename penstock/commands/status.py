"""`penstock status`."""

import sys

import click

from common.values.config import ClusterConfig
from penstock.terminal import exit_codes
from penstock.terminal.options import SectionedCommand, settings


@click.command(cls=SectionedCommand)
@settings(ClusterConfig, without=["sequencers"])
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, unknown values as null.")
def command(cluster: ClusterConfig, as_json: bool) -> None:
    """Show offsets, lag, buffered rows and files of each sequencer.

    \b
    first, next     the oldest offset that is still in the log, and one past its newest
    persisted       every row below it is in the store's files
    applied         one past the newest offset that the ingester has applied to memory
    lag             next - applied
    rows duplicate  left out, because their record was sent twice

    \b
    state is one of
      live, stopping
      starting, replaying   queries wait
      waiting               the write buffer or the store is away; what is unknown is shown as -
      down                  the ingester does not answer: look at its log, or start it
      forked                the write buffer has another stream than the one that was followed
      corrupt               its manifest is damaged

    Reasons follow on stderr, but for `down`. The exit code is 5 when a sequencer is corrupt, else 4 when one is
    forked, else 1 when one is down, else 0.
    """
    from common.logs import configure_command
    from common.values.errors import PenstockError
    from penstock.cli import report
    from penstock.cluster import status
    from penstock.cluster.existing import open_cluster
    from writebuffer.connect import connect

    configure_command(warnings=False)
    store, joined = open_cluster(cluster)
    corrupt: list[PenstockError] = []
    problems: list[PenstockError] = []
    backend = connect(cluster.write_buffer_url)
    statuses = status.gather(store, joined.sequencers, backend, corrupt.append, problems.append)
    click.echo(status.to_json(statuses) if as_json else "\n".join([status.table(statuses), *status.waits(statuses)]))
    for error in {
        problem.message: problem for problem in [*corrupt, *problems]
    }.values():  # most concern all sequencers
        report(error)
    states = {one.state for one in statuses}
    codes = {
        status.CORRUPT: exit_codes.CORRUPT,
        status.FORKED: exit_codes.FENCED,
        status.DOWN: exit_codes.FAILED,
    }
    sys.exit(next((code for state, code in codes.items() if state in states), exit_codes.OK))
