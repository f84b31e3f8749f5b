"""The columns of every table, settled between routers by put-if-absent.

schema/<namespace>/<table>/<version:010>.json, versions dense from 1, each the full schema, never changed or deleted.
The highest version is the table's schema. A router that adds columns writes the next version, with all that it asks for
or, where one of them does not fit, none: that one may be of a line that is refused, and others with it. Where that
version exists already, it reads it and tries again with the one after. A column's type never changes: the first version
that has it decides. A put whose answer is lost is read back: each put carries a nonce of its own, by which its writer
recognises it.
"""

from collections.abc import Callable

from common.catalog.paths import SCHEMA, schema_version
from common.catalog.table_limit import TableLimit
from common.catalog.table_schema import NO_SCHEMA, TableSchema, fits, from_json, to_json
from common.store.objects import AlreadyExists, Get, MakeDurable, NotFound, ObjectStore, PutIfAbsent, Steps
from common.values.errors import DataCorrupt, Unavailable
from common.values.schema import Columns, TableId


class SchemaStore:
    """Settles columns. Holds no schemas; its steps may run on any thread."""

    def __init__(self, nonce: Callable[[], str], limit: TableLimit | None = None) -> None:
        """nonce: a new random text at each call, never the same twice in a store's life. limit: of a namespace."""
        self._nonce = nonce
        self._limit = limit

    def look(self, namespace: str, table: str, cached: TableSchema) -> Steps[TableSchema]:
        """The table's newest schema, durable; version 0 where there is none.

        cached: what the caller knows. Raises NamespaceFull for a table of version 0 in a namespace that is full, or
        that has been when it was last listed; Unavailable, DataCorrupt.
        """
        yield from self._check_limit(namespace, table, cached)
        newest = yield from _SchemaFiles(namespace, table).durable_newest(cached)
        self._note(namespace, table, cached, newest)
        return newest

    def settle(self, namespace: str, table: str, known: TableSchema, additions: Columns) -> Steps[TableSchema]:
        """The table's schema with all of `additions`; or a newer one than `known` that they do not fit (`fits`).

        known: as `look` gave it. Where another router writes first, its schema is the one to add to. Ends, since each
        attempt that fails has found a higher version, and a table has at most as many versions as columns. Raises
        NamespaceFull for a new table over the limit, Unavailable (retry; what was written is valid either way),
        DataCorrupt.
        """
        yield from self._check_limit(namespace, table, known)
        files = _SchemaFiles(namespace, table)
        newest = known
        while fits(newest.columns, additions) and not additions.items() <= newest.columns.items():
            asked = TableSchema(newest.version + 1, {**newest.columns, **additions})
            is_written = yield from files.claim(asked, self._nonce())
            newest = asked if is_written else (yield from files.durable_newest(newest))
        self._note(namespace, table, known, newest)
        return newest

    def _check_limit(self, namespace: str, table: str, known: TableSchema) -> Steps[None]:
        if self._limit and not known.version:
            yield from self._limit.check(namespace, table)

    def _note(self, namespace: str, table: str, known: TableSchema, newest: TableSchema) -> None:
        if self._limit and newest.version and not known.version:
            self._limit.note(namespace, table)


class _SchemaFiles:
    """The versions of one table."""

    def __init__(self, namespace: str, table: str) -> None:
        self._namespace = namespace
        self._table = table

    def newest(self, known: TableSchema) -> Steps[TableSchema]:
        """The highest version, from `known` upward: by doubling steps, then by halving the last one.

        Right because versions are dense: a router writes one only after it has read the one before.
        """
        found, step = known, 1
        while (higher := (yield from self._read(found.version + step))) is not None:
            found, step = higher[0], step * 2
        while step > 1:
            step //= 2
            higher = yield from self._read(found.version + step)
            found = higher[0] if higher else found
        return found

    def durable_newest(self, known: TableSchema) -> Steps[TableSchema]:
        """The same, made durable first: lines are accepted because of it, and the next version follows it."""
        found = yield from self.newest(known)
        if found is not known:
            yield MakeDurable(self._path(found.version))
        return found

    def at(self, version: int) -> Steps[TableSchema]:
        """One version that is known to exist."""
        found = yield from self._read(version)
        if found is None:
            raise DataCorrupt(f"{self._path(version)} is missing although later versions exist; restore it from a copy")
        return found[0]

    def claim(self, schema: TableSchema, nonce: str) -> Steps[bool]:
        """Put `schema` at its version; False when another router was faster."""
        data = to_json(self._namespace, self._table, schema, nonce)
        try:
            yield PutIfAbsent(self._path(schema.version), data)
        except AlreadyExists:
            return (yield from self._is_own((yield from self._read(schema.version)), nonce))
        except Unavailable as error:
            if error.written == "no":
                raise
            there = yield from self._read(schema.version)
            if there is None:
                raise
            return (yield from self._is_own(there, nonce))
        return True

    def _is_own(self, there: tuple[TableSchema, str] | None, nonce: str) -> Steps[bool]:
        """The client library may repeat a put, which then finds the object of its first attempt."""
        if there is None or there[1] != nonce:
            return False
        yield MakeDurable(self._path(there[0].version))
        return True

    def _read(self, version: int) -> Steps[tuple[TableSchema, str] | None]:
        """Schema and nonce of one version; None where nobody has written it."""
        path = self._path(version)
        try:
            data = yield Get(path)
        except NotFound:
            return None
        file = from_json(data, path)
        if file.schema.version != version:
            raise DataCorrupt(f"{path}: says it is version {file.schema.version}; restore it from a copy")
        return file.schema, file.nonce

    def _path(self, version: int) -> str:
        return schema_version(self._namespace, self._table, version)


def newest(namespace: str, table: str) -> Steps[TableSchema]:
    """The table's schema as it is settled now; version 0 where there is none. Raises DataCorrupt, Unavailable."""
    return (yield from _SchemaFiles(namespace, table).newest(NO_SCHEMA))


def settled_order(namespace: str, table: str, schema: TableSchema) -> Steps[list[str]]:
    """The columns of `schema` in the order in which they were settled, those of one version by name.

    It never changes for columns that are in it. Reads every version: a caller asks only where the order matters.
    """
    files = _SchemaFiles(namespace, table)
    order: dict[str, None] = {}
    for version in range(1, schema.version + 1):
        order.update(dict.fromkeys(sorted((yield from files.at(version)).columns)))
    return list(order)


def namespaces(store: ObjectStore) -> list[str]:
    """Every namespace that has a table, in order of names. Lists all schema files; raises DataCorrupt, Unavailable."""
    one_of = {found.path.split("/")[1]: found.path for found in store.list(SCHEMA)}
    return sorted(from_json(store.get(path), path).owner.namespace for path in one_of.values())


def settled_tables(store: ObjectStore) -> dict[TableId, TableSchema]:
    """Every table as it is settled now, in order of names. Lists all schema files; raises as `namespaces`."""
    newest_of: dict[str, str] = {}
    for path in sorted(found.path for found in store.list(SCHEMA)):
        newest_of[path.rpartition("/")[0]] = path
    files = (from_json(store.get(path), path) for path in newest_of.values())
    return dict(sorted((file.owner, file.schema) for file in files))
