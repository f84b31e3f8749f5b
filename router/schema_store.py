"""The columns of every table, settled between routers by put-if-absent.

schema/<namespace>/<table>/<version:010>.json, versions dense from 1, each the full schema, never changed or deleted.
The highest version is the truth. Whoever adds a column writes the next version; who finds it taken reads it and tries
again on top. A column's type never changes: the first version that has it decides.
A put whose answer is lost is read back: each put carries a nonce of its own, so that one's own is known again.
"""

from collections.abc import Callable

from common.errors import DataCorrupt, Unavailable
from common.names import path_component
from common.objectstore import AlreadyExists, Get, NotFound, PutIfAbsent, Steps
from common.schema import Columns
from router.table_schema import TableSchema, from_json, merge, to_json


class SchemaStore:
    """Settles columns. Holds no state but the source of nonces; its steps may run on any thread."""

    def __init__(self, nonce: Callable[[], str]) -> None:
        """nonce: a new random text at each call, never the same twice in a store's life."""
        self._nonce = nonce

    def settle(self, namespace: str, table: str, cached: TableSchema, additions: Columns) -> Steps[TableSchema]:
        """The table's newest schema, with every one of `additions` whose name is free in it and for which it has room.

        cached: what the caller knows. A name that another router settled first keeps that router's type: compare the
        result with what was asked for. Raises Unavailable (retry; what was written is valid either way), DataCorrupt.
        """
        files = _SchemaFiles(namespace, table)
        newest = yield from files.newest(cached)
        while True:
            columns = merge(newest.columns, additions)
            if columns == newest.columns:
                return newest
            asked = TableSchema(newest.version + 1, columns)
            if (yield from files.claim(asked, self._nonce())):
                return asked
            newest = yield from files.newest(newest)


class _SchemaFiles:
    """The versions of one table."""

    def __init__(self, namespace: str, table: str) -> None:
        self._namespace = namespace
        self._table = table
        self._folder = f"schema/{path_component(namespace)}/{path_component(table)}"

    def newest(self, known: TableSchema) -> Steps[TableSchema]:
        """The highest version, from `known` upward: by doubling steps, then by halving the last one.

        Right because versions are dense: whoever writes one has seen the one before.
        """
        found, step = known, 1
        while (higher := (yield from self._read(found.version + step))) is not None:
            found, step = higher[0], step * 2
        while step > 1:
            step //= 2
            higher = yield from self._read(found.version + step)
            found = higher[0] if higher else found
        return found

    def claim(self, schema: TableSchema, nonce: str) -> Steps[bool]:
        """Put `schema` at its version; False when another router was faster."""
        data = to_json(self._namespace, self._table, schema, nonce)
        try:
            yield PutIfAbsent(self._path(schema.version), data)
        except AlreadyExists:
            return (yield from self._is_own(schema.version, nonce))
        except Unavailable as error:
            if error.written == "no":
                raise
            there = yield from self._read(schema.version)
            if there is None:
                raise
            return there[1] == nonce
        return True

    def _is_own(self, version: int, nonce: str) -> Steps[bool]:
        """A client's own retry meets its first try's object."""
        there = yield from self._read(version)
        return there is not None and there[1] == nonce

    def _read(self, version: int) -> Steps[tuple[TableSchema, str] | None]:
        """Schema and nonce of one version; None where nobody has written it."""
        path = self._path(version)
        try:
            data = yield Get(path)
        except NotFound:
            return None
        schema, nonce = from_json(data, path)
        if schema.version != version:
            raise DataCorrupt(f"{path}: says it is version {schema.version}; restore it from a copy")
        return schema, nonce

    def _path(self, version: int) -> str:
        return f"{self._folder}/{version:010}.json"
