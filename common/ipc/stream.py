"""One self-contained Arrow IPC stream from a sender that is not trusted.

It has a schema, a dictionary for each tag, one batch and an end mark. Arrow trusts what a stream says: buffers may be
compressed one by one, dictionaries may grow and be replaced, types may nest, columns may share one buffer. Each can
turn a few hundred bytes into gigabytes. An entry needs none of them, so `check` reads just as much of each message's
metadata as it takes to refuse them. Arrow reads what passes the check without allocating: each buffer of the batch is
a range of the stream itself, and all together are no longer than its body.

Each message is u32 0xFFFFFFFF, i32 length of metadata (0: the end mark), metadata, body
(https://arrow.apache.org/docs/format/Columnar.html, and format/Message.fbs for the tables in it).
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.ipc

from common.ipc import flatbuffer
from common.ipc.schema import COLUMNS_MAX, StreamSchema, read_schema
from common.values.errors import DataCorrupt

_PREFIX = struct.Struct("<Ii")
_CONTINUATION = 0xFFFFFFFF
_MESSAGE_KIND, _MESSAGE_HEADER, _MESSAGE_BODY_LENGTH, _MESSAGE_METADATA = 1, 2, 3, 4
SCHEMA, DICTIONARY, BATCH = 1, 2, 3
"""Kinds of messages."""

_DICTIONARY_ID, _DICTIONARY_DATA, _DICTIONARY_IS_DELTA = 0, 1, 2
_BATCH_BUFFERS, _BATCH_COMPRESSION = 2, 3
_BUFFERS_MAX = 4 * COLUMNS_MAX


class Message(NamedTuple):
    """kind: of the table at `header`. end: where its body ends and the next message begins."""

    kind: int
    header: int
    body_length: int
    end: int


def check(stream: memoryview) -> StreamSchema:
    """The schema of the stream. Raises DataCorrupt for what does not belong in one; the batch is not validated."""
    try:
        return _check(stream)
    except (struct.error, IndexError) as error:
        raise DataCorrupt(f"Arrow stream of {len(stream)} bytes is broken: {error}") from None


def read_batch(stream: pa.Buffer) -> pa.RecordBatch:
    """The batch of a stream that `check` let pass, fully validated. It lies in the stream's memory.

    Raises Arrow's errors.
    """
    with pa.ipc.open_stream(stream) as reader:
        batch = reader.read_next_batch()
    batch.validate(full=True)
    return batch


def _check(stream: memoryview) -> StreamSchema:
    found = messages(stream)
    first = next(found, None)
    if first is None or first.kind != SCHEMA:
        raise DataCorrupt("Arrow stream does not begin with a schema")
    schema = read_schema(bytes(stream[: first.end]), first.header)
    missing = set(schema.dictionary_ids)
    batches = 0
    for message in found:
        if message.kind == DICTIONARY and not batches:
            check_dictionary(stream, message, missing)
        elif message.kind == BATCH:
            batches += 1
            check_batch(stream, message.header, message.body_length)
        else:
            raise DataCorrupt(f"Arrow stream has a message of kind {message.kind} in the wrong place")
        if batches > 1:
            raise DataCorrupt("Arrow stream has 2 batches, not 1")
    if missing or not batches:
        raise DataCorrupt(f"Arrow stream has {batches} batches, not 1, and lacks {len(missing)} dictionaries")
    return schema


def messages(stream: memoryview) -> Iterator[Message]:
    """Up to the end mark, with which the stream has to end. Raises DataCorrupt, struct.error, IndexError."""
    at = 0
    while message := _message(stream, at):
        yield message
        at = message.end
    if at + _PREFIX.size != len(stream):
        raise DataCorrupt(f"Arrow stream has {len(stream) - at - _PREFIX.size} bytes after its end mark")


def _message(stream: memoryview, at: int) -> Message | None:
    """The message at `at`, None for the end mark."""
    marker, length = _PREFIX.unpack_from(stream, at)
    if marker != _CONTINUATION or length < 0:
        raise DataCorrupt(f"Arrow stream has no message at byte {at}")
    if length == 0:
        return None
    at += _PREFIX.size
    table = flatbuffer.table_at(stream, at)
    if flatbuffer.slot(stream, table, _MESSAGE_METADATA):
        raise DataCorrupt("Arrow message has custom metadata, which is not allowed")
    body_length = flatbuffer.int64(stream, table, _MESSAGE_BODY_LENGTH)
    end = at + length + body_length
    if body_length < 0 or end > len(stream):
        raise DataCorrupt(f"Arrow message of {length} + {body_length} bytes does not fit the stream: was it cut off?")
    kind = flatbuffer.byte(stream, table, _MESSAGE_KIND)
    return Message(kind, flatbuffer.table(stream, table, _MESSAGE_HEADER), body_length, end)


def check_dictionary(stream: memoryview, message: Message, missing: set[int]) -> None:
    """Takes its id out of `missing`. Raises as `messages`."""
    if flatbuffer.byte(stream, message.header, _DICTIONARY_IS_DELTA):
        raise DataCorrupt("Arrow dictionary is a delta that adds to another one, which is not allowed")
    number = flatbuffer.int64(stream, message.header, _DICTIONARY_ID)
    if number not in missing:
        raise DataCorrupt(f"Arrow dictionary {number} occurs twice or belongs to no column")
    missing.remove(number)
    check_batch(stream, flatbuffer.table(stream, message.header, _DICTIONARY_DATA), message.body_length)


def check_batch(stream: memoryview, table: int, body_length: int) -> None:
    """Of a batch, or of the values of a dictionary. Raises as `messages`."""
    if flatbuffer.slot(stream, table, _BATCH_COMPRESSION):
        raise DataCorrupt(
            "Arrow buffers are compressed by themselves, which is not allowed: compress the stream as a whole"
        )
    count = flatbuffer.length(stream, table, _BATCH_BUFFERS)
    if count > _BUFFERS_MAX:
        raise DataCorrupt(f"Arrow batch has {count} buffers, at most {_BUFFERS_MAX} are believed")
    first = flatbuffer.table(stream, table, _BATCH_BUFFERS) + 4
    lengths = struct.unpack_from(f"<{2 * count}q", stream, first)[1::2]
    if sum(lengths) > body_length or min(lengths, default=0) < 0:
        raise DataCorrupt(f"Arrow buffers of {sum(lengths)} bytes do not fit a body of {body_length} bytes")
