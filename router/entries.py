"""Batches encoded as entries that each fit a record, split by rows into entries that stand alone."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from common.entry import Entry, encode
from common.schema import ARROW_TYPES, ColumnType
from writebuffer.record import RECORD_BYTES_MAX

PAYLOAD_BYTES_MAX = RECORD_BYTES_MAX - 1024
"""Leaves room for the header block: its fixed part, a namespace, a content type and a trace parent of at most 55."""

Tables = Mapping[str, pa.RecordBatch]


def encode_entries(namespace: str, tables: Tables) -> list[bytes]:
    """Payloads of at most PAYLOAD_BYTES_MAX bytes that hold all rows, those of one table in their order."""
    payload = encode(Entry(namespace, tables))
    if len(payload) <= PAYLOAD_BYTES_MAX:
        return [payload]
    rows = sum(batch.num_rows for batch in tables.values())
    assert rows > 1, "a line's size and columns are bounded so that its row fits a record"
    first, second = _cut(tables, rows // 2)
    return encode_entries(namespace, first) + encode_entries(namespace, second)


def _cut(tables: Tables, rows: int) -> tuple[Tables, Tables]:
    """The first `rows` rows, table after table, and the rest."""
    first: dict[str, pa.RecordBatch] = {}
    second: dict[str, pa.RecordBatch] = {}
    for table, batch in tables.items():
        here = min(rows, batch.num_rows)
        rows -= here
        if here:
            first[table] = _compact(batch.slice(0, here))
        if here < batch.num_rows:
            second[table] = _compact(batch.slice(here))
    return first, second


def _compact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`batch` with only the tag values it uses: a slice would carry the dictionaries of the whole."""
    arrays = [
        pc.dictionary_encode(column.cast(pa.utf8())) if column.type == ARROW_TYPES[ColumnType.TAG] else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)
