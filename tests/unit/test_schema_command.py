"""`penstock schema show`: what is settled, of a table of any name."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from common.catalog.schema_store import SchemaStore, namespaces, settled_tables
from common.catalog.table_schema import COLUMNS_MAX, NO_SCHEMA, TableSchema
from common.startup import join_cluster
from common.store.objects import ObjectStore, run
from common.values.config import ClusterConfig
from common.values.schema import ColumnType, TableId
from penstock.cli import cli

LONG = "x" * 511
TAG, FLOAT, STRING = ColumnType.TAG, ColumnType.FLOAT, ColumnType.STRING


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """Of a cluster: b.m has two versions."""
    config = ClusterConfig(data=str(tmp_path), write_buffer="memory:")
    store, _ = join_cluster(config, 0)
    settling = SchemaStore(lambda: "nonce")
    first = run(settling.settle("b", "m", NO_SCHEMA, {"host": TAG}), store)
    run(settling.settle("b", "m", first, {"f": FLOAT}), store)
    run(settling.settle("b", "Größe", NO_SCHEMA, {"s": STRING}), store)
    run(settling.settle(LONG, "m", NO_SCHEMA, {"f": FLOAT}), store)
    return store


def show(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["schema", "show", "--data", str(folder), *arguments])


def test_each_table_is_as_its_newest_version_says(store: ObjectStore) -> None:
    """With its name as it was written, also where the path has it shortened."""
    assert settled_tables(store) == {
        TableId("b", "Größe"): TableSchema(1, {"s": STRING}),
        TableId("b", "m"): TableSchema(2, {"host": TAG, "f": FLOAT}),
        TableId(LONG, "m"): TableSchema(1, {"f": FLOAT}),
    }
    assert namespaces(store) == ["b", LONG]


def test_columns_are_listed_with_their_types(store: ObjectStore, tmp_path: Path) -> None:
    """In order of names, in each format of a query."""
    result = show(tmp_path, "--namespace", "b", "--format", "json")
    assert json.loads(result.output) == [
        {"namespace": "b", "table": "Größe", "column": "s", "type": "string"},
        {"namespace": "b", "table": "m", "column": "f", "type": "float"},
        {"namespace": "b", "table": "m", "column": "host", "type": "tag"},
    ]
    assert show(tmp_path, "--namespace", "b", "--table", "m", "--format", "csv").output.splitlines() == [
        '"namespace","table","column","type"',
        '"b","m","f","float"',
        '"b","m","host","tag"',
    ]
    assert show(tmp_path).output.endswith("(4 rows)\n")


def test_counts_say_how_much_room_is_left(store: ObjectStore, tmp_path: Path) -> None:
    """A row for each table; the tables of its namespace are all of them, whatever is shown."""
    assert json.loads(show(tmp_path, "--counts", "--table", "m", "--format", "json").output) == [
        {"namespace": "b", "tables": 2, "table": "m", "columns": 2, "columns_left": COLUMNS_MAX - 2},
        {"namespace": LONG, "tables": 1, "table": "m", "columns": 1, "columns_left": COLUMNS_MAX - 1},
    ]
    assert show(tmp_path, "--counts").output.endswith("(3 rows)\n")


def test_what_is_not_there_is_named(store: ObjectStore, tmp_path: Path) -> None:
    """Exit code 2, and where to look."""
    for arguments, said in (
        (("--namespace", "b", "--table", "none"), "namespace 'b' has no table 'none'"),
        (("--namespace", "none"), "namespace 'none' has no table"),
        (("--table", "none"), "no namespace has a table 'none'"),
    ):
        result = show(tmp_path, *arguments)
        assert result.exit_code == 2
        assert f"{said}: `penstock schema show` lists all" in result.stderr


def test_a_cluster_that_nobody_wrote_to_has_no_columns(tmp_path: Path) -> None:
    """An empty table is an answer."""
    config = ClusterConfig(data=str(tmp_path), write_buffer="memory:")
    join_cluster(config, 0)
    result = show(tmp_path)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "(0 rows)")
