"""One record of the write buffer: a header block and a payload, in the same bytes on every backend.

Header block (little endian), documented in docs/formats/record.md:
    u16 block length, counting itself   u8 version (1)   u8 content type length   u16 namespace length
    u16 trace parent length   16 s producer id   u64 producer sequence   i64 append time ns
    then content type, namespace and trace parent, UTF-8
A record's bytes are header block + payload; the block names its own length, so no backend needs to frame the two.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from common.values.errors import DataCorrupt
from writebuffer.errors import MalformedRecord

RECORD_BYTES_MAX = 1_000_000
"""Header block + payload. Below the 1 MiB that Kafka brokers accept by default, framing included."""

ENTRY_CONTENT_TYPE = "application/vnd.penstock.entry"
"""The content type of the records that routers append: the payload is an entry (common/entry/)."""

_VERSION = 1
_FIXED = struct.Struct("<HBBHH16sQq")
_LENGTHS = np.dtype([("block", "<u2"), ("version", "u1"), ("content", "u1"), ("namespace", "<u2"), ("trace", "<u2")])
"""What `_FIXED` begins with."""
_NAME_BYTES_MAX = 0x7FFF

_JOINED_BYTES_MAX = 8192
"""To join the bytes of smaller records costs less than a digest that is updated."""

_HEAD = np.dtype([("lengths", "<u8"), ("producer", "V16"), ("sequence", "<u8"), ("time", "<i8")])
"""All of `_FIXED`."""


class RecordHeaders(NamedTuple):
    """What travels beside the payload and survives every backend unchanged. A tuple: one is made for each record.

    producer_id: 16 bytes, new at each router start. producer_sequence: counted from 0 for each producer and sequencer.
    append_time_ns: set by the router, wall clock. trace_parent: W3C trace context, or empty.
    """

    content_type: str
    namespace: str
    producer_id: bytes
    producer_sequence: int
    append_time_ns: int
    trace_parent: str = ""

    def encode(self) -> bytes:
        """The header block. Raises MalformedRecord, naming the header and its value."""
        if not isinstance(self.producer_id, bytes) or len(self.producer_id) != 16:
            raise MalformedRecord(f"producer id must be 16 bytes, not {self.producer_id!r}")
        names = [self._utf8("content type", self.content_type, 0xFF)]
        names += [self._utf8("namespace", self.namespace, _NAME_BYTES_MAX)]
        names += [self._utf8("trace parent", self.trace_parent, 0xFF)]
        length = _FIXED.size + sum(map(len, names))
        sizes = (len(names[0]), len(names[1]), len(names[2]))
        try:
            fixed = _FIXED.pack(length, _VERSION, *sizes, self.producer_id, self.producer_sequence, self.append_time_ns)
        except struct.error as error:
            raise MalformedRecord(
                f"producer sequence {self.producer_sequence!r} or append time {self.append_time_ns!r}: {error}"
            ) from None
        return b"".join((fixed, *names))

    @staticmethod
    def _utf8(what: str, value: object, bytes_max: int) -> bytes:
        if not isinstance(value, str):
            raise MalformedRecord(f"{what} must be text, not {value!r}")
        try:
            encoded = value.encode()
        except UnicodeEncodeError as error:
            raise MalformedRecord(f"{what} is not valid Unicode: {error}") from None
        if len(encoded) > bytes_max:
            raise MalformedRecord(f"{what} of {len(encoded)} bytes is over {bytes_max}")
        return encoded


class Record:
    """A header block and a payload. Immutable; equal by its bytes.

    The block is encoded once, when the record is made, and not again for a retry or another backend.
    """

    __slots__ = ("checked_bytes", "header_block", "payload")

    def __init__(self, header_block: bytes, payload: bytes, checked_bytes: int = 0) -> None:
        """Join a block that RecordHeaders.encode made and a payload. `Record.of` makes both sure.

        checked_bytes: its size where block and payload are known to fit each other, so that no append has to look
        again (checks.py); else 0.
        """
        self.header_block = header_block
        self.payload = payload
        self.checked_bytes = checked_bytes

    @classmethod
    def of(cls, headers: RecordHeaders, payload: bytes) -> "Record":
        """Raises MalformedRecord for headers that cannot be encoded or a payload that is not bytes."""
        if not isinstance(payload, bytes):
            raise MalformedRecord(f"payload must be bytes, not {type(payload).__name__}")
        block = headers.encode()
        return cls(block, payload, checked_bytes=len(block) + len(payload))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """The inverse of `to_bytes`. Raises DataCorrupt when the block does not fit its own lengths."""
        if len(data) < _FIXED.size:
            raise DataCorrupt(f"record of {len(data)} bytes is shorter than a header block ({_FIXED.size})")
        length, version, *sizes = _FIXED.unpack_from(data)[:5]
        if version != _VERSION:
            raise DataCorrupt(f"record header version {version} is unknown (this build reads {_VERSION})")
        if length != _FIXED.size + sum(sizes) or length > len(data):
            raise DataCorrupt(f"record header block of {length} bytes does not fit its parts or the record")
        return cls(data[:length], data[length:])

    def to_bytes(self) -> bytes:
        return self.header_block + self.payload

    def __len__(self) -> int:
        return len(self.header_block) + len(self.payload)

    @property
    def headers(self) -> RecordHeaders:
        """Decoded at each call. Raises DataCorrupt for names that are not UTF-8."""
        _, _, content, namespace, _, producer_id, sequence, time_ns = _FIXED.unpack_from(self.header_block)
        try:
            texts = _texts(self.header_block[_FIXED.size :], content, namespace)
        except UnicodeDecodeError as error:
            raise DataCorrupt(f"record header is not UTF-8: {error}") from None
        return RecordHeaders(texts[0], texts[1], producer_id, sequence, time_ns, texts[2])

    @property
    def append_time_ns(self) -> int:
        """The header of that name, without decoding the others."""
        time_ns: int = _FIXED.unpack_from(self.header_block)[7]
        return time_ns

    def checksum(self) -> int:
        """xxh3-64 of the record's bytes: what a consumer keeps to recognise a fork."""
        if len(self.payload) < _JOINED_BYTES_MAX:
            return xxhash.xxh3_64_intdigest(self.header_block + self.payload)
        digest = xxhash.xxh3_64(self.header_block)
        digest.update(self.payload)
        return digest.intdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self.header_block == other.header_block and self.payload == other.payload

    def __hash__(self) -> int:
        return hash((self.header_block, self.payload))

    def __repr__(self) -> str:
        return f"Record({self.headers!r}, {len(self.payload)} bytes)"


@lru_cache(maxsize=256)
def _texts(names: bytes, content_bytes: int, namespace_bytes: int) -> tuple[str, str, str]:
    """Content type, namespace and trace parent: nearly all records of a stream have the same."""
    at = content_bytes + namespace_bytes
    return names[:content_bytes].decode(), names[content_bytes:at].decode(), names[at:].decode()


def _names(record: Record) -> tuple[str, str] | None:
    try:
        return record.headers[:2]
    except DataCorrupt:
        return None


class HeaderColumns(NamedTuple):
    """The headers of many records, but for their trace parents. texts: content type and namespace, None: no UTF-8."""

    texts: list[tuple[str, str] | None]
    producer_ids: list[bytes]
    producer_sequences: list[int]
    append_times_ns: list[int]


def header_columns(records: Sequence[Record]) -> HeaderColumns:
    """As `Record.headers` of each."""
    blocks = [record.header_block for record in records]
    size, lengths = _FIXED.size, _HEAD["lengths"].itemsize
    heads = np.frombuffer(b"".join([block[:size] for block in blocks]), _HEAD)
    kinds = [block[:lengths] + block[size:] for block in blocks]
    texts = {kind: _names(record) for kind, record in dict(zip(kinds, records, strict=True)).items()}
    producers = [block[8:24] for block in blocks]
    same = dict(zip(producers, producers, strict=True))
    return HeaderColumns(
        [texts[kind] for kind in kinds],
        [same[producer] for producer in producers],
        heads["sequence"].tolist(),
        heads["time"].tolist(),
    )


def header_ends(data: bytes, bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Where the header block of each record ends, record i being at bytes bounds[i]..bounds[i + 1] of `data`.

    None when one of them is not whole, as `Record.from_bytes` would say. For many records at once: what from_bytes
    looks at costs more than all the rest of reading a small one.
    """
    starts, lengths = bounds[:-1], np.diff(bounds)
    if lengths.min() < _FIXED.size:
        return None
    first_bytes = np.frombuffer(data, "u1")[starts[:, None] + np.arange(_LENGTHS.itemsize)]
    said = first_bytes.view(_LENGTHS)[:, 0]
    block = said["block"].astype(np.int64)
    names = said["content"].astype(np.int64) + said["namespace"] + said["trace"]
    whole = (said["version"] == _VERSION) & (block == _FIXED.size + names) & (block <= lengths)
    return starts + block if whole.all() else None
