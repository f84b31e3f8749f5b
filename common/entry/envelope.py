"""The envelope that both versions share: a fixed header, names and tables, the header's sum, the stored body.

 0  4s  magic "PSNT"        4  u8  version            5  u8  codec (0 none, 1 zstd)    6  u16  tables
 8  u32 raw length         12  u32 stored length     16  u64 xxh3-64 of the stored body
24  u32 header length      28  u16 namespace length
version 1:  namespace UTF-8, tables
version 2:  two zeros, tables of 40 bytes each, namespace UTF-8, shapes, zeros up to a multiple of 8 bytes
then u64 xxh3-64 of the header up to here, and the stored body.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import xxhash

from common.entry.values import RAW_BYTES_MAX
from common.values.errors import DataCorrupt, InvalidRequest

IPC_STREAMS, PACKED_ROWS = 1, 2
"""The versions, by what the body holds."""

MAGIC = b"PSNT"
CODEC_NONE, CODEC_ZSTD = 0, 1
ALIGNMENT = 8
PACKED_TABLE_BYTES = 40
_GAP = bytes(2)
_FIXED = struct.Struct("<4sBBHIIQIH")
_U64 = struct.Struct("<Q")


class Envelope(NamedTuple):
    """A header whose sum is right. tables, shapes: bytes of the header; shapes with their padding, none in version 1.

    body_start: of the stored body.
    """

    version: int
    codec: int
    tables_count: int
    raw_length: int
    stored_length: int
    body_sum: int
    body_start: int
    namespace: str
    tables: bytes
    shapes: bytes


def seal(
    version: int,
    namespace: str,
    tables: Sequence[bytes],
    raw: bytes,
    shapes: Sequence[bytes] = (),
    compress_bytes_min: int = 0,
) -> bytes:
    """The payload. raw: the body, which is compressed where it has `compress_bytes_min` bytes and gets shorter by it.

    Raises InvalidRequest for more than 65,535 tables or a namespace of more bytes.
    """
    name = namespace.encode()
    if len(name) > 0xFFFF or len(tables) > 0xFFFF:
        raise InvalidRequest(
            f"entry with {len(tables)} tables and a namespace of {len(name)} bytes: at most 65535 each"
        )
    stored, codec = _compressed(raw) if len(raw) >= compress_bytes_min else (raw, CODEC_NONE)
    names = b"".join((name, *tables)) if version == IPC_STREAMS else _aligned(b"".join((_GAP, *tables, name, *shapes)))
    length = _FIXED.size + len(names) + _U64.size
    body_sum = xxhash.xxh3_64_intdigest(stored)
    fixed = _FIXED.pack(MAGIC, version, codec, len(tables), len(raw), len(stored), body_sum, length, len(name))
    header = fixed + names
    return b"".join((header, _U64.pack(xxhash.xxh3_64_intdigest(header)), stored))


def _aligned(names: bytes) -> bytes:
    return names + bytes(-(_FIXED.size + len(names)) % ALIGNMENT)


def _compressed(raw: bytes) -> tuple[bytes, int]:
    stored: bytes = pa.Codec("zstd", compression_level=1).compress(raw, asbytes=True)
    return (stored, CODEC_ZSTD) if len(stored) < len(raw) else (raw, CODEC_NONE)


def unseal(payload: bytes) -> Envelope:
    """The header, checked but for its tables; the body is not touched. Raises DataCorrupt with what does not fit."""
    if len(payload) < _FIXED.size:
        raise DataCorrupt(f"entry of {len(payload)} bytes is shorter than its header")
    magic, version, codec, count, raw_length, stored, body_sum, length, name_length = _FIXED.unpack_from(payload)
    if magic != MAGIC:
        raise DataCorrupt(f"entry magic is {magic!r}, not {MAGIC!r}")
    if version not in (IPC_STREAMS, PACKED_ROWS):
        raise DataCorrupt(f"entry version {version} is unknown (this build reads {IPC_STREAMS} and {PACKED_ROWS})")
    if codec not in (CODEC_NONE, CODEC_ZSTD):
        raise DataCorrupt(f"entry codec {codec} is unknown")
    if raw_length > RAW_BYTES_MAX:
        raise DataCorrupt(f"entry declares {raw_length} raw bytes; at most {RAW_BYTES_MAX} are allowed")
    if length < _FIXED.size + _U64.size or length + stored != len(payload):
        raise DataCorrupt(f"entry declares {length} + {stored} bytes and has {len(payload)}")
    header = payload[: length - _U64.size]
    if xxhash.xxh3_64_intdigest(header) != _U64.unpack_from(payload, length - _U64.size)[0]:
        raise DataCorrupt("entry header does not match its checksum")
    tables_start = _FIXED.size + name_length
    name_start = _FIXED.size
    if version == PACKED_ROWS:
        tables_start = _FIXED.size + len(_GAP)
        name_start = tables_start + PACKED_TABLE_BYTES * count
    name_end = name_start + name_length
    if name_end > len(header):
        raise DataCorrupt(f"entry header: a namespace of {name_length} bytes does not fit")
    try:
        namespace = header[name_start:name_end].decode()
    except UnicodeDecodeError as error:
        raise DataCorrupt(f"entry header: {error}") from None
    tables, shapes = header[tables_start:], b""
    if version == PACKED_ROWS:
        tables, shapes = header[tables_start:name_start], header[name_end:]
    return Envelope(version, codec, count, raw_length, stored, body_sum, length, namespace, tables, shapes)


def raw_body(payload: bytes, envelope: Envelope) -> bytes:
    """The body, decompressed, in memory of its own. Raises DataCorrupt with what does not fit."""
    raw = payload[envelope.body_start :]
    if xxhash.xxh3_64_intdigest(raw) != envelope.body_sum:
        raise DataCorrupt("entry body does not match its checksum")
    if envelope.codec == CODEC_ZSTD:
        try:
            raw = pa.Codec("zstd").decompress(raw, decompressed_size=envelope.raw_length, asbytes=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataCorrupt(f"entry body: {error}") from None
    if len(raw) != envelope.raw_length:
        raise DataCorrupt(f"entry body has {len(raw)} raw bytes, not {envelope.raw_length}")
    return raw
