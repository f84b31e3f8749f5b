"""`penstock query`."""

from typing import TYPE_CHECKING

import click

from common.values.config import ClusterConfig
from penstock.query.formats import FORMATS
from penstock.terminal.options import SectionedCommand, namespace_option, settings

if TYPE_CHECKING:
    from penstock.query.memory_rows import Behind
    from penstock.query.query import Explain


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
@click.option("--explain", "plan", flag_value="EXPLAIN", help="Print the plan instead of the result.")
@click.option("--explain-analyze", "plan", flag_value="EXPLAIN ANALYZE", help="Run it, and print the plan with times.")
@settings(ClusterConfig, without=("write_buffer", "sequencers"))
def command(
    cluster: ClusterConfig,
    sql: str,
    namespace: str,
    form: str,
    token: str | None,
    timeout_s: float,
    stored_only: bool,
    plan: "Explain | None",
) -> None:
    """Run SQL over what is persisted and what is still in memory.

    SQL is one SELECT in DuckDB's dialect over the namespace's tables and nothing else. They have their measurements'
    names, a column `time` (TIMESTAMP_NS, UTC), and one column for each tag and field. SHOW TABLES lists the tables,
    DESCRIBE cpu the columns of one. Conditions on `time` in a WHERE clause decide which files are opened.

    SQL ignores case and InfluxDB does not: a column whose name differs from an older one's in case only is called
    "name~2", and a note on stderr says so.

    \b
    penstock query "SELECT host, avg(usage_user) FROM cpu GROUP BY host" --namespace metrics
    penstock query "SELECT time_bucket(INTERVAL 1 MINUTE, time) AS minute, avg(usage_user)
                    FROM cpu WHERE time > now() - INTERVAL 1 HOUR GROUP BY minute" --namespace metrics
    """
    from common.pandas_unused import keep_pandas_out

    keep_pandas_out()
    from common.values.token import parse_token
    from penstock.cluster.existing import open_cluster
    from penstock.query.query import query
    from penstock.query.show import render

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
        explain=plan or "",
        on_behind=_warn,
        on_note=lambda note: click.echo(note, err=True),
    )
    if plan and form == "table":
        click.echo("\n".join(rows.column("explain_value").to_pylist()))
    else:
        click.echo(render(rows, form), nl=False)


def _warn(behind: "Behind") -> None:
    click.echo(
        f"sequencer {behind.sequencer} is behind: applied {behind.applied_offset} of {behind.next_offset}; rows may be "
        "missing (give --token to wait)",
        err=True,
    )
