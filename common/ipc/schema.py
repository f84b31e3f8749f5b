"""The schema message of a stream: plain columns, and no more text in them than the message has bytes.

Columns of a schema may share names and metadata, so that a few hundred bytes can mean any number of them, and may
nest without end. Arrow makes a copy for each column; here the bytes are counted first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.ipc

from common.ipc import flatbuffer
from common.values.errors import DataCorrupt
from common.values.schema import Columns, columns_of, fingerprint

COLUMNS_MAX = 10_000
"""Of one batch: ten times what a table may have."""

CACHED_BYTES_MAX = 65_536
"""Routers send the same few schemas again and again; larger ones are not worth the memory."""

# Fields of the tables of https://github.com/apache/arrow/blob/main/format/Schema.fbs
_SCHEMA_ENDIANNESS, _SCHEMA_FIELDS, _SCHEMA_METADATA = 0, 1, 2
_FIELD_NAME, _FIELD_TYPE_KIND, _FIELD_TYPE, _FIELD_DICTIONARY, _FIELD_CHILDREN, _FIELD_METADATA = 0, 2, 3, 4, 5, 6
_NULL, _INT, _FLOAT, _UTF8, _BOOL, _TIMESTAMP, _LARGE_UTF8 = 1, 2, 3, 5, 6, 10, 20
ENTRY_KINDS = frozenset((_INT, _FLOAT, _UTF8, _BOOL, _TIMESTAMP))
CLIENT_KINDS = ENTRY_KINDS | {_NULL, _LARGE_UTF8}
"""Of columns that Arrow may be given; whether each is of a type that is wanted is seen afterwards."""

_OTHER_KINDS = {
    4: "binary", 7: "decimal", 8: "date", 9: "time", 11: "interval", 12: "list", 13: "struct", 14: "union",
    15: "fixed-size binary", 16: "fixed-size list", 17: "map", 18: "duration", 19: "large binary", 20: "large string",
    21: "large list", 22: "run-end encoded", 23: "binary view", 24: "string view", 25: "list view",
    26: "large list view",
}  # fmt: skip
_NAME_SHOWN_BYTES = 100

_TIMESTAMP_ZONE = 1
_ENCODING_ID = 0
_PAIR_KEY, _PAIR_VALUE = 0, 1


@dataclass(frozen=True, slots=True)
class StreamSchema:
    """dictionary_ids: of the tags, each its own."""

    columns: Columns
    fingerprint: int
    dictionary_ids: frozenset[int]


def read_schema(message: bytes, table: int) -> StreamSchema:
    """The columns that a schema message declares. table: where in it the schema is. Raises DataCorrupt."""
    read = _read if len(message) <= CACHED_BYTES_MAX else _read.__wrapped__
    return read(message, table)


@lru_cache(maxsize=256)
def _read(message: bytes, table: int) -> StreamSchema:
    dictionary_ids = check_fields(message, table, ENTRY_KINDS)
    columns = columns_of(pa.ipc.read_schema(pa.py_buffer(message)))
    return StreamSchema(columns, fingerprint(columns), dictionary_ids)


def check_fields(message: bytes, table: int, kinds: frozenset[int]) -> frozenset[int]:
    """The ids of the dictionaries of a schema message whose columns are all of `kinds`. Raises DataCorrupt."""
    return _Fields(memoryview(message), kinds).check(table)


class _Fields:
    """Looks at each field once. Each costs at least the bytes that it would need if it shared none."""

    def __init__(self, message: memoryview, kinds: frozenset[int]) -> None:
        self._message = message
        self._kinds = kinds
        self._bytes_left = len(message)

    def check(self, schema: int) -> frozenset[int]:
        """The ids of the dictionaries."""
        if flatbuffer.byte(self._message, schema, _SCHEMA_ENDIANNESS):
            raise DataCorrupt("Arrow stream is big-endian")
        if (count := flatbuffer.length(self._message, schema, _SCHEMA_FIELDS)) > COLUMNS_MAX:
            raise DataCorrupt(f"Arrow schema has {count} columns, at most {COLUMNS_MAX} are allowed")
        self._metadata(schema, _SCHEMA_METADATA)
        encodings = [self._field(field) for field in self._tables(schema, _SCHEMA_FIELDS)]
        ids = [flatbuffer.int64(self._message, encoding, _ENCODING_ID) for encoding in encodings if encoding]
        if len(set(ids)) != len(ids):
            raise DataCorrupt("Arrow columns share a dictionary")
        return frozenset(ids)

    def _field(self, field: int) -> int:
        """Returns its dictionary encoding."""
        message = self._message
        kind = flatbuffer.byte(message, field, _FIELD_TYPE_KIND)
        if kind not in self._kinds or flatbuffer.length(message, field, _FIELD_CHILDREN):
            name = flatbuffer.text(message, field, _FIELD_NAME, _NAME_SHOWN_BYTES)
            raise DataCorrupt(
                f"Arrow column {name!r} is of a type that no column of a table has: "
                f"{_OTHER_KINDS.get(kind, f'kind {kind}')}"
            )
        self._text(field, _FIELD_NAME)
        if kind == _TIMESTAMP:
            self._text(flatbuffer.table(message, field, _FIELD_TYPE), _TIMESTAMP_ZONE)
        self._metadata(field, _FIELD_METADATA)
        return flatbuffer.table(message, field, _FIELD_DICTIONARY)

    def _metadata(self, owner: int, index: int) -> None:
        for pair in self._tables(owner, index):
            self._text(pair, _PAIR_KEY)
            self._text(pair, _PAIR_VALUE)

    def _tables(self, owner: int, index: int) -> Iterator[int]:
        self._spend(4 * flatbuffer.length(self._message, owner, index))
        return flatbuffer.tables(self._message, owner, index)

    def _text(self, owner: int, index: int) -> None:
        self._spend(flatbuffer.length(self._message, owner, index))

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise DataCorrupt("Arrow schema has more text than bytes: its columns share text, which is not allowed")
