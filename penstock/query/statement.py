"""What a statement may be: one SELECT over the namespace's tables, and nothing that reaches further.

DuckDB parses it and gives its tree as JSON; here the tree is checked by what is allowed, before anything is read. (The
engine that runs it can open no file either, sql.py: each of the two would be enough.) SHOW TABLES is answered by
penstock, DESCRIBE and SUMMARIZE are SELECTs to DuckDB, EXPLAIN is a flag of the command.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from common.values.errors import InvalidRequest

Node = dict[str, Any]
Parse = Callable[[str], str]
"""A statement's tree as DuckDB's json_serialize_sql gives it."""

_QUERIES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")
_TABLE_FUNCTIONS = ("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree")
"""All others read files, settings or memory of this machine, or run text."""

_REFUSED_FUNCTIONS = (
    *("current_setting", "getenv", "getvariable", "write_log", "nextval", "currval", "setval", "sleep_ms", "pg_sleep"),
    *("current_query", "stats", "pg_get_viewdef"),
)
_CATALOG_SCHEMA = "information_schema"
_OWN_SCHEMA = "main"
_SHOWS = ("SHOW TABLES", "SHOW ALL TABLES")
_KINDS = "only queries are run (SELECT, WITH, FROM, VALUES, DESCRIBE, SUMMARIZE, SHOW TABLES)"


@dataclass(frozen=True, slots=True)
class Statement:
    """nodes: of its whole tree. tables: names as they are written where a table is named, CTEs among them."""

    sql: str
    nodes: tuple[Node, ...]
    tables: frozenset[str]
    ctes: frozenset[str]
    reads_catalog: bool
    shows_tables: bool


def parsed(sql: str, parse: Parse) -> Statement:
    """Raises InvalidRequest for anything but one SELECT that stays within its tables."""
    _check_one_select(sql)
    tree = _tree(sql, parse)
    nodes = tuple(_walk(tree))
    shows_tables = any(tree == _tree(shows, parse) for shows in _SHOWS)
    if not shows_tables:
        for node in nodes:
            _check(node, sql)
    bases = [node for node in nodes if node.get("type") == "BASE_TABLE"]
    return Statement(
        sql,
        nodes,
        tables=frozenset(base["table_name"] for base in bases if not _of_catalog(base)),
        ctes=frozenset(entry["key"] for node in nodes if "cte_map" in node for entry in node["cte_map"]["map"]),
        reads_catalog=any(map(_of_catalog, bases)),
        shows_tables=shows_tables,
    )


def _check_one_select(sql: str) -> None:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise InvalidRequest(str(error).strip(), sql=sql) from None
    if len(statements) != 1:
        raise InvalidRequest(f"give one statement; these are {len(statements)}", sql=sql)
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        raise InvalidRequest("for a plan give the SELECT alone, with --explain or --explain-analyze", sql=sql)
    if kind == duckdb.StatementType.MULTI:
        raise InvalidRequest(
            "PIVOT has to name its values: SELECT * FROM (PIVOT cpu ON host IN ('a', 'b') USING sum(v))", sql=sql
        )
    if kind != duckdb.StatementType.SELECT:
        raise InvalidRequest(f"{_KINDS}, not {kind.name}", sql=sql)


def _tree(sql: str, parse: Parse) -> Node:
    """The statement's tree without its places in the text, which differ for equal statements."""
    try:
        found = json.loads(parse(sql), object_hook=_without_places)
    except RecursionError:
        raise InvalidRequest("the statement is nested too deeply: write it in parts, with WITH", sql=sql) from None
    if found.get("error") or not found.get("statements"):
        raise InvalidRequest(f"{_KINDS}; DuckDB says: {found.get('error_message')}", sql=sql)
    node: Node = found["statements"][0]["node"]
    return node


def _without_places(node: Node) -> Node:
    return {name: value for name, value in node.items() if not name.startswith("query_location")}


def _walk(part: Any) -> Iterator[Node]:
    """Every node below `part`, itself included. Without recursion: a statement may be nested deeply."""
    left = [part]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield part
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)


def _check(node: Node, sql: str) -> None:
    kind = str(node.get("type", ""))
    if kind.endswith("_NODE") and kind not in _QUERIES:
        raise InvalidRequest(f"{_KINDS}, not {kind.split('_')[0]}", sql=sql)
    if kind == "SHOW_REF" and node.get("show_type") == "SHOW_SPECIAL":
        raise InvalidRequest("of the SHOW statements only SHOW TABLES is answered, as a statement of its own", sql=sql)
    if kind == "TABLE_FUNCTION":
        _check_table_function(node["function"]["function_name"], sql)
    if kind == "BASE_TABLE":
        _check_schema(node, sql)
    if node.get("class") in ("FUNCTION", "WINDOW") and str(node.get("function_name", "")).lower() in _REFUSED_FUNCTIONS:
        raise InvalidRequest(f"function {node['function_name']} is not available in queries", sql=sql)


def _check_table_function(name: str, sql: str) -> None:
    if name.lower() not in _TABLE_FUNCTIONS:
        raise InvalidRequest(
            f"table function {name} is not available: a query reads the tables of its namespace and nothing else "
            f"(available: {', '.join(_TABLE_FUNCTIONS)})",
            sql=sql,
        )


def _check_schema(base: Node, sql: str) -> None:
    schema = base.get("schema_name", "")
    if base.get("catalog_name") or schema.lower() not in ("", _OWN_SCHEMA, _CATALOG_SCHEMA):
        raise InvalidRequest(
            f"{schema}.{base['table_name']}: a query reads the tables of its --namespace and information_schema",
            sql=sql,
        )


def _of_catalog(base: Node) -> bool:
    return str(base.get("schema_name", "")).lower() == _CATALOG_SCHEMA
