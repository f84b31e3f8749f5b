"""`penstock schema`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from common.values.config import ClusterConfig
from penstock.query.formats import FORMATS
from penstock.terminal.options import SectionedCommand, WholeHelpGroup, checked_namespace, settings

if TYPE_CHECKING:
    import pyarrow as pa

    from common.catalog.table_schema import TableSchema
    from common.values.schema import TableId

    Tables = Mapping[TableId, TableSchema]


@click.group(cls=WholeHelpGroup)
def command() -> None:
    """Look at the columns that are settled for each table."""


@command.command("show", cls=SectionedCommand)
@click.option("--namespace", callback=checked_namespace, metavar="NAME", help="Only this one. [default: all]")
@click.option("--table", metavar="NAME", help="Only tables of this name. [default: all]")
@click.option(
    "--counts",
    is_flag=True,
    help="One row for each table: the tables of its namespace, its columns, and how many more it may have.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How columns are printed."
)
@settings(ClusterConfig, without=("write_buffer", "sequencers"))
def show(cluster: ClusterConfig, namespace: str | None, table: str | None, counts: bool, form: str) -> None:
    """List namespaces, tables and columns, each with its type.

    A column is settled by the first write that has it, before its rows are stored, and never changes its type. Every
    table has a `time`, which is not listed.

    \b
    penstock schema show --namespace metrics
    penstock schema show --counts
    """
    from common.catalog.schema_store import settled_tables
    from common.pandas_unused import keep_pandas_out
    from penstock.cluster.existing import open_cluster, tables_chosen
    from penstock.query.show import render

    keep_pandas_out()
    store, _ = open_cluster(cluster)
    tables = settled_tables(store)
    shown = tables_chosen(tables, namespace, table)
    click.echo(render(_counts(tables, shown) if counts else _columns(tables, shown), form), nl=False)


def _columns(tables: "Tables", shown: "Sequence[TableId]") -> "pa.Table":
    """A row for each column."""
    import pyarrow as pa

    rows = [
        (one.namespace, one.table, name, column.value)
        for one in shown
        for name, column in sorted(tables[one].columns.items())
    ]
    names = ("namespace", "table", "column", "type")
    return pa.table({name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate(names)})


def _counts(tables: "Tables", shown: "Sequence[TableId]") -> "pa.Table":
    """A row for each table."""
    import pyarrow as pa

    from common.catalog.table_schema import COLUMNS_MAX

    tables_of = Counter(one.namespace for one in tables)
    columns = [len(tables[one].columns) for one in shown]
    return pa.table(
        {
            "namespace": pa.array([one.namespace for one in shown], pa.string()),
            "tables": pa.array([tables_of[one.namespace] for one in shown], pa.int64()),
            "table": pa.array([one.table for one in shown], pa.string()),
            "columns": pa.array(columns, pa.int64()),
            "columns_left": pa.array([COLUMNS_MAX - count for count in columns], pa.int64()),
        }
    )
