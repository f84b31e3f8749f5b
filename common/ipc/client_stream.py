"""Arrow IPC streams as clients write them: any number of batches, whose dictionaries may be replaced between them.

What can turn a few bytes into many is refused as in an entry's stream (stream.py): buffers that are compressed by
themselves, dictionaries that grow, nested types, columns that share text. Rows are copied once at most.
"""

import struct
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.ipc

from common.ipc.schema import CLIENT_KINDS, check_fields
from common.ipc.stream import BATCH, DICTIONARY, SCHEMA, check_batch, check_dictionary, messages
from common.values.errors import DataCorrupt

MESSAGES_MAX = 2_000
"""Batches and dictionaries of one stream. Each costs time of its own, however few bytes it has."""

_CONTINUATION = b"\xff\xff\xff\xff"
"""With which every message begins."""

_FILE_MAGIC = b"ARROW1"


class ClientStream:
    """One whole stream."""

    def __init__(self, data: bytes) -> None:
        """Looks at the metadata of each message. Raises DataCorrupt for what is no such stream."""
        self._data = pa.py_buffer(data)
        if data.startswith(_FILE_MAGIC):
            raise DataCorrupt("this is an Arrow file: send a stream, as pyarrow.ipc.new_stream writes it")
        if not data.startswith(_CONTINUATION):
            raise DataCorrupt(f"the body begins with {data[:4].hex(' ')} and is no Arrow stream")
        try:
            self._groups = _checked(memoryview(data))
        except (struct.error, IndexError):
            raise DataCorrupt(f"the Arrow stream of {len(data)} bytes was cut off") from None
        with _arrows_errors():
            self.schema: pa.Schema = pa.ipc.open_stream(self._data).schema
            self.schema.names  # noqa: B018  raises for names that are not UTF-8

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows in order, fully validated, in one batch for each set of dictionaries. Raises DataCorrupt."""
        reader = pa.ipc.open_stream(self._data)
        for count in self._groups:
            with _arrows_errors():
                batches = [batch for _ in range(count) if (batch := reader.read_next_batch()).num_rows]
                joined = _joined(batches) if batches else None
            if joined is not None:
                yield joined


@contextmanager
def _arrows_errors() -> Generator[None]:
    """Arrow's errors are DataCorrupt."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DataCorrupt(f"the Arrow stream is broken: {error}") from None


def _checked(stream: memoryview) -> Sequence[int]:
    """How many batches come with each set of dictionaries."""
    found = messages(stream)
    first = next(found, None)
    if first is None or first.kind != SCHEMA:
        raise DataCorrupt("the Arrow stream does not begin with a schema")
    ids = check_fields(bytes(stream[: first.end]), first.header, CLIENT_KINDS)
    groups, missing = [0], set(ids)
    for number, message in enumerate(found, 1):
        if number > MESSAGES_MAX:
            raise DataCorrupt(f"the Arrow stream has over {MESSAGES_MAX} batches and dictionaries: send larger ones")
        if message.kind == DICTIONARY:
            if groups[-1]:
                groups.append(0)
                missing = set(ids)
            check_dictionary(stream, message, missing)
        elif message.kind == BATCH:
            if missing and len(groups) == 1:
                raise DataCorrupt(f"the Arrow stream has a batch before {len(missing)} of its dictionaries")
            groups[-1] += 1
            check_batch(stream, message.header, message.body_length)
        else:
            raise DataCorrupt(f"the Arrow stream has a message of kind {message.kind} in the wrong place")
    return groups


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of all rows. The dictionaries are those of the first."""
    for batch in batches:
        batch.validate()
    if len(batches) == 1:
        batches[0].validate(full=True)
        return batches[0]
    columns = [_concatenated([batch.column(at) for batch in batches]) for at in range(batches[0].num_columns)]
    return pa.RecordBatch.from_arrays(columns, schema=batches[0].schema)


def _concatenated(parts: Sequence[pa.Array]) -> pa.Array:
    """A dictionary is validated once, not with each part."""
    if pa.types.is_dictionary(parts[0].type):
        indices = pa.concat_arrays([part.indices for part in parts])
        parts[0].dictionary.validate(full=True)
        return pa.DictionaryArray.from_arrays(indices, parts[0].dictionary, ordered=parts[0].type.ordered)
    for part in parts:
        part.validate(full=True)
    return pa.concat_arrays(parts)
