"""The payload of a record: one namespace, and the rows of each table touched.

    header: magic, version, codec, lengths, sums, namespace, then for each table its rows, times and columns; header sum
    body:   version 1: an Arrow IPC stream for each table; cheap for a thousand rows of a table
            version 2: packed rows for each table; cheap for few, and a reader makes columns of many records at once

Byte by byte in docs/formats/entry.md. The writer chooses the version, `decode` reads both and gives the same value.
The header has a checksum of its own because readers skip by it without touching the body. The body is compressed as a
whole. zstd is pyarrow's codec: a binding of its own would be one more dependency for the same library.
"""

from common.entry.decoding import decode, decode_header
from common.entry.ipc_tables import encode
from common.entry.packed_rows import PackedRows, encode_packed, tag_values, with_absent_tags
from common.entry.values import RAW_BYTES_MAX, Entry, EntryHeader, EntryTooLarge, TableHeader

__all__ = [
    "RAW_BYTES_MAX",
    "Entry",
    "EntryHeader",
    "EntryTooLarge",
    "PackedRows",
    "TableHeader",
    "decode",
    "decode_header",
    "encode",
    "encode_packed",
    "tag_values",
    "with_absent_tags",
]
