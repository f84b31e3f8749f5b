"""The columns that one batch needs, settled together.

All tables are looked at before one is written. Where the additions to a table do not fit what is found, some lines will
be refused and, of a request that is all or nothing, those of other tables with them. So nothing is written then: the
core parses again with what was found, and asks for what accepted lines still need. Only a race leaves the columns of
refused lines behind: another router writes after this one has looked, and in another table this one has written
already.
"""

from collections.abc import Callable

from common.catalog.schema_store import SchemaStore
from common.catalog.table_limit import NamespaceFull
from common.catalog.table_schema import NO_SCHEMA, TableSchema, fits
from common.store.objects import Steps
from common.values.errors import Unavailable
from router.core.events import Settle
from router.parsing.schemas import Schemas, agree


class Settling:
    """For one Settle. `schemas` and `refused` may be read at any time, also after an error."""

    def __init__(self, store: SchemaStore, action: Settle, is_wanted: Callable[[], bool]) -> None:
        self.refused: dict[str, str] = {}
        """New tables that the namespace may not have, with the reason."""
        self._store = store
        self._action = action
        self._is_wanted = is_wanted
        self._found: dict[str, TableSchema] = {}
        self._has_conflict = False

    @property
    def schemas(self) -> Schemas:
        """What is settled of the tables so far, with or without the additions."""
        return {table: schema for table, schema in self._found.items() if schema.version}

    def run(self) -> Steps[None]:
        """Raises Unavailable, also once nobody waits any longer; DataCorrupt.

        New tables come first. If the namespace has room for some of them only, these are made, which makes the reason
        true that the others are refused with; known tables get no columns then, which refused lines may have asked for.
        """
        namespace, cached = self._action.namespace, self._action.cached
        for table in self._action.additions:
            yield from self._keep(table, self._store.look(namespace, table, cached.get(table, NO_SCHEMA)))
        for table, found in sorted(self._found.items(), key=lambda item: item[1].version > 0):
            if self._has_conflict or (self.refused and found.version):
                return
            yield from self._keep(table, self._store.settle(namespace, table, found, self._action.additions[table]))

    def _keep(self, table: str, steps: Steps[TableSchema]) -> Steps[None]:
        self._check_wanted()
        try:
            found = self._found[table] = yield from steps
        except NamespaceFull as error:
            self.refused[table] = error.message
        else:
            self._has_conflict |= not fits(found.columns, self._action.additions[table])

    def _check_wanted(self) -> None:
        if not self._is_wanted():
            tables = self._action.additions
            settled = sum(agree(self._found, {table: columns}) for table, columns in tables.items())
            raise Unavailable(f"schema store: only {settled} of {len(tables)} tables settled in time")
