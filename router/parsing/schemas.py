"""Settled schemas as one holder knows them: the router's core has a copy, and every parser one of its own.

A schema's version only grows, and a settled column never changes its type. So an old copy is never wrong about what it
has, only short of columns: a parser that meets a missing one says so and is given the newer schema
(ParsedBatch.lacking). Types are settled between routers in common/catalog/schema_store.py.
"""

from collections.abc import Mapping

from common.catalog.table_schema import NO_SCHEMA, TableSchema
from common.values.schema import Columns

Schemas = Mapping[str, TableSchema]
"""Settled schemas of one namespace, by table."""

_NOTHING: Schemas = {}


class KnownSchemas:
    """One copy. A namespace's schemas are one value that is replaced, never changed: readers need no lock."""

    def __init__(self) -> None:
        self._namespaces: dict[str, Schemas] = {}

    def known(self, namespace: str) -> Schemas:
        """The settled schemas of `namespace`, as far as this copy has them."""
        return self._namespaces.get(namespace, _NOTHING)

    def learn(self, namespace: str, schemas: Schemas) -> None:
        """Add what the store has settled; an older version than the known one changes nothing."""
        known = self.known(namespace)
        newer = {
            table: schema for table, schema in schemas.items() if schema.version > known.get(table, NO_SCHEMA).version
        }
        if newer:
            self._namespaces[namespace] = {**known, **newer}


def agree(settled: Schemas, additions: Mapping[str, Columns]) -> bool:
    """Whether every one of `additions` is settled with the type it asks for."""
    return all(
        settled.get(table, NO_SCHEMA).columns.get(name) is column
        for table, columns in additions.items()
        for name, column in columns.items()
    )
