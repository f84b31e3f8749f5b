"""Arrow IPC streams that no writer makes: messages in another order, and metadata changed in place."""

import struct
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.ipc

from common.ipc import flatbuffer

END_MARK = struct.pack("<Ii", 0xFFFFFFFF, 0)
SCHEMA, DICTIONARY, BATCH = "schema", "dictionary", "record batch"

MESSAGE_HEADER, SCHEMA_FIELDS, FIELD_NAME = 2, 1, 0


def messages(stream: bytes) -> list[tuple[str, bytes]]:
    """Each message's kind and bytes, the end mark left out."""
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(stream))
    found = []
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return found
        found.append((message.type, message.serialize().to_pybytes()))


def stream_of(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts) + END_MARK


def kinds(stream: bytes, kind: str) -> list[bytes]:
    return [data for found, data in messages(stream) if found == kind]


def patched(message: bytes, patch: Callable[[bytearray, int], None]) -> bytes:
    """The message with its metadata changed by `patch`, which gets it and the place of its header table."""
    data = bytearray(message)
    view = memoryview(message)
    patch(data, flatbuffer.table(view, flatbuffer.table_at(view, 8), MESSAGE_HEADER))
    return bytes(data)


def share_first_name(data: bytearray, schema: int) -> None:
    """Every column gets the name of the first, by reference."""
    view = memoryview(bytes(data))
    first, *others = flatbuffer.tables(view, schema, SCHEMA_FIELDS)
    name = flatbuffer.table(view, first, FIELD_NAME)
    for field in others:
        at = flatbuffer.slot(view, field, FIELD_NAME)
        struct.pack_into("<I", data, at, name - at)


def mark_big_endian(data: bytearray, schema: int) -> None:
    """Endianness, absent and so little, is read from where the fields' place is, which is not 0."""
    vtable = schema - struct.unpack_from("<i", data, schema)[0]
    data[vtable + 4 : vtable + 6] = data[vtable + 6 : vtable + 8]


def share_first_buffer(data: bytearray, batch: int) -> None:
    """Every buffer of a record batch is the largest one."""
    view = memoryview(bytes(data))
    vector = flatbuffer.table(view, batch, 2)
    count = flatbuffer.length(view, batch, 2)
    buffers = [struct.unpack_from("<qq", data, vector + 4 + 16 * n) for n in range(count)]
    largest = max(buffers, key=lambda buffer: buffer[1])
    for n in range(count):
        struct.pack_into("<qq", data, vector + 4 + 16 * n, *largest)
