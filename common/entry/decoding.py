"""Reading an entry of either version: its header alone, or all of it."""

from typing import NamedTuple

from common.entry import ipc_tables, packed_header
from common.entry.envelope import IPC_STREAMS, Envelope, raw_body, unseal
from common.entry.packed_blocks import find_tables
from common.entry.packed_columns import batch_of
from common.entry.values import Entry, EntryHeader
from common.values.errors import DataCorrupt


class Packed(NamedTuple):
    """An entry of packed rows that were not looked at: envelope and body, whose sums are right."""

    envelope: Envelope
    raw: bytes

    @property
    def namespace(self) -> str:
        return self.envelope.namespace


def decode_header(payload: bytes) -> EntryHeader:
    """The header alone, checked. Raises DataCorrupt with what does not fit."""
    found = unseal(payload)
    tables = (ipc_tables if found.version == IPC_STREAMS else packed_header).table_headers(found)
    return EntryHeader(
        found.version,
        found.namespace,
        tables,
        found.codec,
        found.raw_length,
        found.body_start,
        found.stored_length,
        found.body_sum,
    )


def decode(payload: bytes) -> Entry:
    """Namespace and batches, validated fully. Raises DataCorrupt with what does not fit."""
    found = open_entry(payload)
    return found if isinstance(found, Entry) else _unpacked(found)


def open_entry(payload: bytes) -> Entry | Packed:
    """As `decode`, but packed rows are not looked at yet: packed_blocks.py and packed_columns.py read many at once.

    Raises DataCorrupt with what does not fit.
    """
    found = unseal(payload)
    if found.version == IPC_STREAMS:
        return Entry(found.namespace, ipc_tables.batches(payload, found), found.raw_length)
    if found.raw_length > packed_header.DECODED_BYTES_MAX:
        raise DataCorrupt(
            f"packed rows take {found.raw_length} bytes; at most {packed_header.DECODED_BYTES_MAX} are allowed"
        )
    packed = Packed(found, raw_body(payload, found))
    return packed if found.tables_count else _unpacked(packed)


def _unpacked(packed: Packed) -> Entry:
    names = [table.table for table in packed_header.table_headers(packed.envelope)]
    if not names:
        return Entry(packed.namespace, {})
    tables = find_tables([packed.envelope])
    assert not tables.wrong, "packed_header.py lets nothing pass that packed_blocks.py refuses"
    found = {
        shape.table: batch_of(tables.blocks(shape, packed.raw, at)) for _, shape, at in tables.groups(tables.entries)
    }
    return Entry(packed.namespace, {name: found[name] for name in names}, int(tables.decoded_bytes[0]))
