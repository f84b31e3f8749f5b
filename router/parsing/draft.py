"""Which lines of a batch fit the schemas: those settled, and what earlier accepted lines of the batch would add."""

from collections.abc import Iterable, Mapping, Sequence

from common.catalog.table_schema import COLUMNS_MAX, NO_SCHEMA
from common.values.schema import Columns, ColumnType
from common.values.shown import shown
from router.lineprotocol.point import Fields, LineError
from router.parsing.schemas import Schemas

NEW_TABLES_MAX = 1000
"""Of one request. Each costs a file in the store before the request can be answered, and fifty times the memory and
time of an ordinary line, while everyone else waits; a client that needs so many sends them in several requests."""

NEW_COLUMNS_MAX = 100_000
"""Of one request, in all its tables. Each costs memory here and in every ingester, and bytes in the store; a thousand
new tables of a hundred columns each fit."""

NO_TABLES: Mapping[str, str] = {}


class NewTables:
    """The tables that one request's lines begin, or would: those not settled yet. Counts its new columns, too."""

    def __init__(self, settled: Schemas, refused: Mapping[str, str] = NO_TABLES) -> None:
        """refused: new tables that the namespace may not have, with the reason."""
        self._settled = settled
        self._refused = refused
        self._begun: set[str] = set()
        self._columns = 0

    def check(self, table: str) -> None:
        """Raises LineError for a table that would be one too many, of the request or of the namespace.

        A refused one counts for the request, too: else the tables after it would be asked for next, and so on.
        """
        if table in self._settled:
            return
        if len(self._begun) >= NEW_TABLES_MAX and table not in self._begun:
            raise LineError(f"over {NEW_TABLES_MAX} new tables in one request; send fewer at a time")
        if table in self._refused:
            self._begun.add(table)
            raise LineError(self._refused[table])

    @property
    def room(self) -> int:
        """How many more it may begin."""
        return NEW_TABLES_MAX - len(self._begun)

    def has_begun(self, table: str) -> bool:
        return table in self._begun

    def begin(self, table: str) -> None:
        if table not in self._settled:
            self._begun.add(table)

    def add_columns(self, table: str, count: int) -> None:
        """Of one line. Raises LineError where they would be too many of one request.

        The line's table counts as begun all the same: else a million more of such tables would be looked up.
        """
        if self._columns + count > NEW_COLUMNS_MAX:
            self.begin(table)
            raise LineError(f"over {NEW_COLUMNS_MAX} new columns in one request; send fewer at a time")
        self._columns += count


class Draft:
    """The schemas of one batch's tables, as its accepted lines would have them."""

    def __init__(self, known: Schemas) -> None:
        self.additions: dict[str, dict[str, ColumnType]] = {}
        """Columns that accepted lines use and `known` lacks, by table."""
        self.lacking: dict[str, int] = {}
        """The version in `known` of each table of which a line, accepted or not, has a column that `known` lacks."""
        self._known = known
        self._columns: dict[str, dict[str, ColumnType]] = {}
        self._registered: list[tuple[str, str]] = []

    def columns(self, table: str) -> Columns:
        """The columns of a table so far: those settled, and those of accepted lines."""
        return self._columns.get(table) or self._known.get(table, NO_SCHEMA).columns

    def settled(self, table: str) -> Columns:
        """The columns of a table that are settled."""
        return self._known.get(table, NO_SCHEMA).columns

    def is_new(self, table: str) -> bool:
        """Whether no write has settled the table yet."""
        return table not in self._known

    def adds(self, table: str, names: Iterable[str]) -> bool:
        """Whether one of these columns is not settled."""
        added = self.additions.get(table)
        return added is not None and any(name in added for name in names)

    def admit(self, table: str, tag_keys: Sequence[str], fields: Fields, new_tables: NewTables) -> bool:
        """Accept a line, registering its columns; returns whether it uses a column that is not settled yet.

        new_tables: of the line's request; counts its new columns. Raises LineError for a column of another type or one
        too many; such a line registers nothing.
        """
        columns = self._columns.get(table)
        if columns is None:
            columns = self._columns[table] = dict(self._known.get(table, NO_SCHEMA).columns)
        new: dict[str, ColumnType] = {}
        for name in tag_keys:
            _fit(table, columns, new, name, ColumnType.TAG)
        for name, (column, _) in fields.items():
            _fit(table, columns, new, name, column)
        if new:
            self._register(table, columns, new, new_tables)
        return self.adds(table, fields) or self.adds(table, tag_keys)

    def mark(self) -> int:
        """Where `withdraw` goes back to."""
        return len(self._registered)

    def withdraw(self, mark: int) -> None:
        """Forget the columns registered since `mark`: no line uses them."""
        for table, name in self._registered[mark:]:
            del self._columns[table][name]
            del self.additions[table][name]
            if not self.additions[table]:
                del self.additions[table]
        del self._registered[mark:]

    def _register(
        self, table: str, columns: dict[str, ColumnType], new: dict[str, ColumnType], new_tables: NewTables
    ) -> None:
        self.lacking[table] = self._known.get(table, NO_SCHEMA).version
        if len(columns) + len(new) > COLUMNS_MAX:
            raise LineError(
                f"table {shown(table)} has {len(columns)} columns; {len(new)} more would be over {COLUMNS_MAX}"
            )
        new_tables.add_columns(table, len(new))
        columns.update(new)
        self.additions.setdefault(table, {}).update(new)
        self._registered += [(table, name) for name in new]


def _fit(table: str, columns: dict[str, ColumnType], new: dict[str, ColumnType], name: str, column: ColumnType) -> None:
    known = columns.get(name)
    if known is None:
        new[name] = column
    elif known is not column:
        raise LineError(f"column {shown(name)} of table {shown(table)} is {said(known)}, the line has {said(column)}")


def said(column: ColumnType) -> str:
    """The type as a person says it: a tag, an integer field."""
    if column is ColumnType.TAG:
        return "a tag"
    article = "an" if column.value[0] in "aeiou" else "a"
    return f"{article} {column.value} field"
