"""A table's columns as the schema store has settled them, in memory and as the bytes of a schema file.

docs/formats/schema.md describes the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.values.errors import DataCorrupt
from common.values.schema import ColumnType, TableId

COLUMNS_MAX = 1000
"""Of one table, `time` not counted: a row of all of them still fits a record."""

FORMAT = 1


@dataclass(frozen=True, slots=True)
class TableSchema:
    """Version 0 is a table that nobody has written to."""

    version: int = 0
    columns: Mapping[str, ColumnType] = field(default_factory=dict)


NO_SCHEMA = TableSchema()


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """owner: as it was written; the file's path may have its names shortened."""

    owner: TableId
    schema: TableSchema
    nonce: str


def fits(known: Mapping[str, ColumnType], additions: Mapping[str, ColumnType]) -> bool:
    """Whether a table of the columns `known` has all of `additions`, or may get them: no other type, and room."""
    return (
        all(known.get(name, column) is column for name, column in additions.items())
        and len(known.keys() | additions.keys()) <= COLUMNS_MAX
    )


def to_json(namespace: str, table: str, schema: TableSchema, nonce: str) -> bytes:
    """The bytes of one schema file."""
    values = {
        "format": FORMAT,
        "namespace": namespace,
        "table": table,
        "version": schema.version,
        "nonce": nonce,
        "columns": {name: column.value for name, column in sorted(schema.columns.items())},
    }
    return json.dumps(values, indent=1).encode() + b"\n"


def from_json(data: bytes, path: str) -> SchemaFile:
    """What the file says. Raises DataCorrupt, naming `path`, for anything that `to_json` cannot have written."""
    try:
        values: Any = json.loads(data)
        if values["format"] != FORMAT:
            raise DataCorrupt(f"{path}: schema format {values['format']!r} is unknown (this build reads {FORMAT})")
        version, nonce, owner = values["version"], values["nonce"], (values["namespace"], values["table"])
        if not isinstance(version, int) or not all(isinstance(text, str) for text in (nonce, *owner)):
            raise ValueError(f"version {version!r}, nonce {nonce!r}")
        columns = {str(name): ColumnType(column) for name, column in values["columns"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataCorrupt(f"{path}: not a schema file of penstock ({error!r}); restore it from a copy") from None
    return SchemaFile(TableId(*owner), TableSchema(version, columns), nonce)
