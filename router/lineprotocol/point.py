"""What one line of line protocol says, and why a line is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.values.schema import ColumnType

FieldValue = tuple[ColumnType, float | int | str | bool]
"""A field's type and its value: FLOAT float, INTEGER and UNSIGNED int, STRING str, BOOLEAN bool."""

Fields = Mapping[str, FieldValue]
Tags = tuple[tuple[str, str], ...]
"""(key, value) pairs, sorted by the keys' UTF-8 bytes, each key once, nothing empty."""


@dataclass(frozen=True, slots=True)
class Series:
    """A table and a tag set: what a line says before its first space."""

    table: str
    tags: Tags


@dataclass(frozen=True, slots=True)
class Point:
    """One line. fields: at least one. time_ns: None when the line names no time. dropped: reserved names whose fields
    were left out."""

    table: str
    tags: Tags
    fields: Fields
    time_ns: int | None
    dropped: Sequence[str] = ()


class LineError(Exception):
    """One line is refused; its neighbours are not. `reason` is for the person who wrote the line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
