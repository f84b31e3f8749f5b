"""Questions to a sequencer that is driven step by step: put rows, then ask in SQL."""

from typing import Any

from common.catalog.schema_store import SchemaStore
from common.catalog.table_schema import NO_SCHEMA
from common.store.objects import ObjectStore, run
from penstock.query.query import query
from tests.support.live_rig import LiveRig
from tests.support.records import NAMESPACE, Row, columns


def put(live: LiveRig, tables: dict[str, list[Row]], persisted: bool = False, settled: bool = False) -> None:
    """settled: the columns go through the schema store first, as a router would have it."""
    if settled:
        for table, rows in tables.items():
            settle(live.rig.store, table, rows)
    live.rig.append(tables)
    live.rig.poll()
    if persisted:
        live.rig.go_cold()
    live.show()


def settle(store: ObjectStore, table: str, rows: list[Row], namespace: str = NAMESPACE) -> None:
    nonces = iter(map(str, range(1000)))
    schemas = SchemaStore(lambda: next(nonces))
    newest = run(schemas.look(namespace, table, NO_SCHEMA), store)
    run(schemas.settle(namespace, table, newest, columns(rows)), store)


def ask(store: ObjectStore, sql: str, **how: Any) -> list[dict[str, Any]]:
    """Each row by column; the statement's columns have different names."""
    return query(sql, NAMESPACE, store, 1, **{"timeout_s": 5.0, **how}).to_pylist()
