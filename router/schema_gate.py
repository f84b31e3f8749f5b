"""What this router knows of the settled schemas, and which of a batch's lines fit them.

SchemaGate is the cache: what it holds was settled in the store, so a column found in it needs no I/O, ever. Draft
checks the lines of one batch, in order, against it and against the columns that earlier lines of the batch would add.
"""

from collections.abc import Mapping

from common.schema import Columns, ColumnType
from router.lineprotocol.point import Fields, LineError, Tags
from router.table_schema import COLUMNS_MAX, NO_SCHEMA, TableSchema

Schemas = Mapping[str, TableSchema]
"""The settled schemas of one namespace, by table."""

NEW_TABLES_MAX = 1000
"""Of one request. Each costs a file in the store before the request can be answered, and fifty times the memory and
time of an ordinary line, while everyone else waits; a client that means it sends them in turn."""

_NOTHING: Schemas = {}


class SchemaGate:
    """The cache. A namespace's schemas are one value that is replaced, never changed: readers need no lock."""

    def __init__(self) -> None:
        self._namespaces: dict[str, Schemas] = {}

    def known(self, namespace: str) -> Schemas:
        """The settled schemas of `namespace`, as far as this router has met them."""
        return self._namespaces.get(namespace, _NOTHING)

    def learn(self, namespace: str, schemas: Schemas) -> None:
        """Take in what the store has settled; an older version than the known one changes nothing."""
        known = self.known(namespace)
        newer = {
            table: schema for table, schema in schemas.items() if schema.version > known.get(table, NO_SCHEMA).version
        }
        if newer:
            self._namespaces[namespace] = {**known, **newer}


def agree(settled: Schemas, additions: Mapping[str, Columns]) -> bool:
    """Whether every one of `additions` was settled with the type it asked for."""
    return all(
        settled[table].columns.get(name) is column
        for table, columns in additions.items()
        for name, column in columns.items()
    )


class NewTables:
    """The tables that one request's accepted lines begin: those that no write has settled yet."""

    def __init__(self, settled: Schemas) -> None:
        self._settled = settled
        self._begun: set[str] = set()

    def check(self, table: str) -> None:
        """Raises LineError for a table that would be one too many."""
        if len(self._begun) >= NEW_TABLES_MAX and table not in self._settled and table not in self._begun:
            raise LineError(f"over {NEW_TABLES_MAX} new tables in one request; send fewer at a time")

    def begin(self, table: str) -> None:
        if table not in self._settled:
            self._begun.add(table)


class Draft:
    """The schemas of one batch's tables, as its accepted lines would have them."""

    def __init__(self, known: Schemas) -> None:
        self.additions: dict[str, dict[str, ColumnType]] = {}
        """Columns that accepted lines use and `known` lacks, by table."""
        self._known = known
        self._columns: dict[str, dict[str, ColumnType]] = {}

    def admit(self, table: str, tags: Tags, fields: Fields) -> bool:
        """Accept a line, registering its columns; returns whether it uses a column that is not settled yet.

        Raises LineError for a column of another type or one too many; such a line registers nothing.
        """
        columns = self._columns.get(table)
        if columns is None:
            columns = self._columns[table] = dict(self._known.get(table, NO_SCHEMA).columns)
        new: dict[str, ColumnType] = {}
        for name, _ in tags:
            _fit(table, columns, new, name, ColumnType.TAG)
        for name, (column, _) in fields.items():
            _fit(table, columns, new, name, column)
        if new:
            self._register(table, columns, new)
        added = self.additions.get(table)
        return added is not None and (any(name in added for name in fields) or any(name in added for name, _ in tags))

    def _register(self, table: str, columns: dict[str, ColumnType], new: dict[str, ColumnType]) -> None:
        if len(columns) + len(new) > COLUMNS_MAX:
            raise LineError(f"table {table!r} has {len(columns)} columns; {len(new)} more would be over {COLUMNS_MAX}")
        columns.update(new)
        self.additions.setdefault(table, {}).update(new)


def _fit(table: str, columns: dict[str, ColumnType], new: dict[str, ColumnType], name: str, column: ColumnType) -> None:
    known = columns.get(name)
    if known is None:
        new[name] = column
    elif known is not column:
        raise LineError(f"column {name!r} of table {table!r} is {_a(known)}, the line has {_a(column)}")


def _a(column: ColumnType) -> str:
    """The type as a person says it."""
    if column is ColumnType.TAG:
        return "a tag"
    article = "an" if column.value[0] in "aeiou" else "a"
    return f"{article} {column.value} field"
