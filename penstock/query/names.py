"""The names of tables and columns in SQL.

InfluxDB's names are case-sensitive; to DuckDB two names that differ only in the case of A-Z are the same (it keeps
apart other letters, Unicode forms and blanks: tests/unit/test_sql_names.py). So that no value appears under another
column:

- Columns get their names in the order in which the schema store settled them, those of one version by name, `time`
  first. The first keeps its plain name; a later one that is the same to SQL gets `~2`, `~3`, … at its end, the first
  that is free. Later columns never change a name. Names that SQL cannot express (empty, or with a NUL) have none.
- A table is read by its name as it is written, or, where no other table's name differs in case only, in any case.
  Every table can always be read by the name of its folder in the store: no two tables share one.
"""

from collections.abc import Iterable, Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase

from common.catalog.paths import path_component
from common.values.errors import InvalidRequest
from common.values.schema import TIME

_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)


def fold(name: str) -> str:
    """The form by which SQL compares names: two names are the same where it is equal."""
    return name.translate(_FOLD)


def quoted(name: str) -> str:
    """`name` in the double quotes that SQL puts around a name."""
    return '"' + name.replace('"', '""') + '"'


def collide(columns: Iterable[str]) -> bool:
    """Whether two of these, or one and `time`, are the same name to SQL."""
    folded = [fold(name) for name in (TIME, *columns)]
    return len(set(folded)) < len(folded)


def column_names(settled: Sequence[str]) -> dict[str, str]:
    """The SQL name of each column but `time`, in the order given: that in which they were settled."""
    used = {fold(TIME)}
    names = {}
    for column in settled:
        if not column or "\0" in column:
            continue
        names[column] = _free(column, used)
        used.add(fold(names[column]))
    return names


def _free(column: str, used: set[str]) -> str:
    name, number = column, 2
    while fold(name) in used:
        name, number = f"{column}~{number}", number + 1
    return name


def notes(table: str, settled: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Notes about this table's column names for the person who queries it."""
    renamed = [
        f"{table}: SQL ignores case, so column {column!r} is called {quoted(names[column])} here"
        for column in settled
        if column in names and names[column] != column
    ]
    nameless = [
        f"{table}: column {column!r} cannot be named in SQL; it is in the files only"
        for column in settled
        if column not in names
    ]
    return renamed + nameless


def tables_named(written: Iterable[str], tables: Sequence[str]) -> dict[str, str]:
    """The table meant by each name of a statement that names one. Raises InvalidRequest where it could be two.

    written: names as they are written in the statement, those of its common table expressions among them.
    """
    meant = {name: table for name in written if (table := _table_named(name, tables)) is not None}
    by_fold: dict[str, str] = {}
    for name, table in meant.items():
        other = by_fold.setdefault(fold(name), table)
        if other != table:
            raise InvalidRequest(
                f"{_alike(sorted((other, table)))}: to read both in one statement write {_folders((other, table))}"
            )
    return meant


def _table_named(name: str, tables: Sequence[str]) -> str | None:
    if name in tables:
        return name
    alike = [table for table in tables if fold(table) == fold(name)]
    if len(alike) > 1:
        raise InvalidRequest(f"{_alike(alike)}, and {name!r} is none of them: write one exactly, or {_folders(alike)}")
    if alike:
        return alike[0]
    return next((table for table in tables if path_component(table) == name), None)


def _alike(tables: Sequence[str]) -> str:
    return f"tables {' and '.join(tables)} differ in case only, which SQL ignores"


def _folders(tables: Iterable[str]) -> str:
    """What tables are called in the store."""
    folders = {table: path_component(table) for table in sorted(tables)}
    return " and ".join(f"{quoted(folder)} for {table}" for table, folder in folders.items() if folder != table)
