"""`penstock query`."""

from typing import TYPE_CHECKING

import click

from common.config import ClusterConfig
from penstock import datafolder
from penstock.formats import FORMATS
from penstock.options import SectionedCommand, namespace_option, settings

if TYPE_CHECKING:
    from penstock.memory_rows import Behind


@click.command(cls=SectionedCommand)
@click.argument("sql")
@namespace_option
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How rows are printed."
)
@click.option("--token", metavar="TOKEN", help="Wait until this write (X-Penstock-Write-Token) can be seen.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=10.0,
    metavar="SECONDS",
    help="How long ingesters may take to answer. [default: 10]",
)
@click.option("--stored-only", is_flag=True, help="Read only what is persisted; ask no ingester.")
@settings(ClusterConfig, without=("write_buffer", "sequencers"))
def command(
    cluster: ClusterConfig, sql: str, namespace: str, form: str, token: str | None, timeout_s: float, stored_only: bool
) -> None:
    """Run SQL over what is persisted and what is still in memory.

    SQL is one statement in DuckDB's dialect; the namespace's tables have their measurements' names, a column `time`,
    and one column for each tag and field.

    \b
    penstock query "SELECT host, avg(usage_user) FROM cpu GROUP BY host" --namespace metrics
    """
    from common.token import parse_token
    from penstock.existing import open_cluster
    from penstock.query import query
    from penstock.show import render

    datafolder.require(cluster)
    offsets = parse_token(token) if token else None
    store, joined = open_cluster(cluster)
    rows = query(
        sql,
        namespace,
        store,
        joined.sequencers,
        token=offsets,
        timeout_s=timeout_s,
        stored_only=stored_only,
        on_behind=_warn,
    )
    click.echo(render(rows, form), nl=False)


def _warn(behind: "Behind") -> None:
    click.echo(
        f"sequencer {behind.sequencer} is behind: applied {behind.applied_offset} of {behind.next_offset}; rows may be "
        "missing (bring --token to wait)",
        err=True,
    )
