"""Rows of one table encoded as entries that each fit a record."""

from contextlib import suppress

import pyarrow as pa

from common.entry import Entry, EntryTooLarge, encode
from router.parsing.messages import PAYLOAD_BYTES_MAX


def encode_rows(namespace: str, table: str, batch: pa.RecordBatch) -> list[bytes]:
    """Payloads of at most PAYLOAD_BYTES_MAX bytes that hold all rows in their order. batch: in penstock's columns."""
    with suppress(EntryTooLarge):
        payload = encode(Entry(namespace, {table: batch}))
        if len(payload) <= PAYLOAD_BYTES_MAX:
            return [payload]
    half = batch.num_rows // 2
    assert half, "a row's bytes and columns are bounded so that it fits a record"
    halves = (batch.slice(0, half), batch.slice(half))
    return [payload for rows in halves for payload in encode_rows(namespace, table, _compact(rows))]


def _compact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Without the columns that no row has a value in, and with only those tag values that rows use."""
    kept = [at for at, column in enumerate(batch.columns) if column.null_count < batch.num_rows]
    arrays = [_with_used_values(batch.column(at)) for at in kept]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([batch.schema.field(at) for at in kept]))


def _with_used_values(column: pa.Array) -> pa.Array:
    if not pa.types.is_dictionary(column.type):
        return column
    used = column.indices.dictionary_encode()
    return pa.DictionaryArray.from_arrays(used.indices, column.dictionary.take(used.dictionary))
