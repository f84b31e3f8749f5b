"""A table's columns as the schema store has settled them, in memory and as the bytes of a schema file.

docs/formats/schema.md describes the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import DataCorrupt
from common.schema import ColumnType

COLUMNS_MAX = 1000
"""Of one table, `time` not counted: a row of all of them still fits a record."""

FORMAT = 1


@dataclass(frozen=True, slots=True)
class TableSchema:
    """Version 0 is a table that nobody has written to."""

    version: int = 0
    columns: Mapping[str, ColumnType] = field(default_factory=dict)


NO_SCHEMA = TableSchema()


def merge(known: Mapping[str, ColumnType], additions: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    """`known` with those of `additions` that it lacks, while there is room. What is known keeps its type."""
    merged = dict(known)
    for name, column in additions.items():
        if len(merged) < COLUMNS_MAX:
            merged.setdefault(name, column)
    return merged


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


def from_json(data: bytes, path: str) -> tuple[TableSchema, str]:
    """The schema and its nonce. Raises DataCorrupt, naming `path`, for anything that `to_json` cannot have written."""
    try:
        values: Any = json.loads(data)
        if values["format"] != FORMAT:
            raise DataCorrupt(f"{path}: schema format {values['format']!r} is unknown (this build reads {FORMAT})")
        version, nonce = values["version"], values["nonce"]
        if not isinstance(version, int) or not isinstance(nonce, str):
            raise ValueError(f"version {version!r}, nonce {nonce!r}")
        columns = {str(name): ColumnType(column) for name, column in values["columns"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataCorrupt(f"{path}: not a schema file of penstock ({error!r}); restore it from a copy") from None
    return TableSchema(version, columns), nonce
