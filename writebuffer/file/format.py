"""The bytes of the commit log, little endian; the tables are in docs/formats/log.md.

Every header has 64 bytes. A segment header's crc seeds the crc of its batches' headers, so that a recycled block and
another log's batch are refused before a length in them is believed. Each header carries the link (xxh3-64) of the one
before it: a chain through batches and segments.
"""

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import xxhash

from common.store.disk import Disk
from common.values.ids import Epoch, Offset, SequencerId
from writebuffer.record import Record

HEADER_BYTES = 64
HORIZON_BYTES = 72
BODY_BYTES_MAX = 16 * 2**20
"""What a reader believes of a batch's body, lengths included: twice what the writer puts into a group."""
NO_EPOCH = Epoch(0)
"""Below every writer's; means a writer that is not known."""
NO_TIME_NS = -(2**63)
"""Of what has no append time: below every time."""
BATCH_MAGIC = b"PTCH"
"""How every batch header begins."""
UNFINISHED = ".part"
"""Ends the name of a segment that counts only once it was renamed."""

_VERSION = 1
_CRC32_XXH3 = 1
_DATA = 1
_LOST = 2
_SEGMENT = struct.Struct("<8sBBHI16sQQQQ")
_SEGMENT_MAGIC = b"PENSLOG\0"
_SEGMENT_CRC_AT = 12
_BATCH = struct.Struct("<4sIQQQQIIqIB3x")
_BATCH_CRC_AT = 4
_HORIZON = struct.Struct("<8s16sQQQQQQ")
_HORIZON_MAGIC = b"PENSHOR\0"
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_NAME = re.compile(r"(\d{20})-(\d{8,})\.log")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one sequencer's log is, and which log it has to be (`log_id`: 16 bytes)."""

    disk: Disk
    folder: str
    log_id: bytes
    sequencer: SequencerId

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def __str__(self) -> str:
        return f"sequencer {self.sequencer} ({self.folder})"


class ChainEnd(NamedTuple):
    """Where a chain of batches ends: the next offset, and the link of the batch before it (0: there never was one)."""

    offset: Offset
    link: int


class SegmentName(NamedTuple):
    """Sorted by (base, epoch), names are in the order in which the segments were made."""

    base_offset: Offset
    epoch: Epoch

    @classmethod
    def parse(cls, name: str) -> "SegmentName | None":
        match = _NAME.fullmatch(name)
        return cls(Offset(int(match[1])), Epoch(int(match[2]))) if match else None

    def __str__(self) -> str:
        return f"{self.base_offset:020}-{self.epoch:08}.log"


@dataclass(frozen=True)
class SegmentHeader:
    """`previous_link` names the batch that ends at `base_offset` in the segment before."""

    raw: bytes
    name: SegmentName
    previous_link: int
    crc: int

    @classmethod
    def make(cls, log_id: bytes, start: ChainEnd, epoch: Epoch, created_ms: int) -> "SegmentHeader":
        fields = (log_id, start.offset, epoch, start.link, created_ms)
        raw = _SEGMENT.pack(_SEGMENT_MAGIC, _VERSION, _CRC32_XXH3, 0, 0, *fields)
        raw, crc = _sealed(raw, _SEGMENT_CRC_AT, 0)
        return cls(raw, SegmentName(start.offset, epoch), start.link, crc)

    @classmethod
    def parse(cls, raw: bytes, log_id: bytes) -> "SegmentHeader | None":
        """None for what is no header of this log in a version that this build reads."""
        if len(raw) < HEADER_BYTES:
            return None
        magic, version, checksums, _, crc, found_id, base, epoch, link, _ = _SEGMENT.unpack(raw)
        known = (magic, version, checksums, found_id) == (_SEGMENT_MAGIC, _VERSION, _CRC32_XXH3, log_id)
        if not known or _crc(raw, _SEGMENT_CRC_AT, 0) != crc:
            return None
        return cls(raw, SegmentName(Offset(base), Epoch(epoch)), link, crc)

    @cached_property
    def link(self) -> int:
        return xxhash.xxh3_64_intdigest(self.raw)

    @property
    def base_offset(self) -> Offset:
        return self.name.base_offset


@dataclass(frozen=True)
class Body:
    """What one batch holds: `count` lengths (u32), then as many records. Times are append times in ns.

    Without any bytes it says that the records of `count` offsets are lost.
    """

    data: bytes
    count: int
    checksum: int
    greatest_time_ns: int

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Body":
        """One array of lengths and one join: framing each record by itself costs ten times as much."""
        lengths = np.fromiter(map(len, records), "<u4", len(records)).tobytes()
        parts = [lengths]
        for record in records:
            parts += (record.header_block, record.payload)
        data = b"".join(parts)
        greatest = max(record.append_time_ns for record in records)
        return cls(data, len(records), xxhash.xxh3_64_intdigest(data), greatest)

    @classmethod
    def lost(cls, count: int) -> "Body":
        return cls(b"", count, xxhash.xxh3_64_intdigest(b""), NO_TIME_NS)

    @classmethod
    def read(cls, header: "BatchHeader", data: bytes) -> "Body":
        """`data` of a batch on disk, whose checksum was compared."""
        return cls(data, header.count, header.body_sum, header.greatest_time_ns)


@dataclass(frozen=True)
class BatchHeader:
    """`durable_lag`: base offset minus what was durable when the batch was written."""

    raw: bytes
    base_offset: Offset
    epoch: Epoch
    previous_link: int
    body_sum: int
    body_length: int
    count: int
    greatest_time_ns: int
    durable_lag: int

    @classmethod
    def parse(cls, raw: bytes, segment: SegmentHeader) -> "BatchHeader | None":
        """None for what is no batch header of `segment`, or one whose lengths cannot be."""
        magic, crc, base, epoch, link, body_sum, length, count, time_ns, lag, kind = _BATCH.unpack(raw)
        if (magic, epoch) != (BATCH_MAGIC, segment.name.epoch) or kind not in (_DATA, _LOST):
            return None
        if _crc(raw, _BATCH_CRC_AT, segment.crc) != crc:
            return None
        fits = length == 0 if kind == _LOST else count * _U32.size <= length
        if not count or not fits or length > BODY_BYTES_MAX:
            return None
        return cls(raw, Offset(base), epoch, link, body_sum, length, count, time_ns, lag)

    @cached_property
    def link(self) -> int:
        return xxhash.xxh3_64_intdigest(self.raw)

    @property
    def end_offset(self) -> Offset:
        return Offset(self.base_offset + self.count)

    @property
    def is_lost(self) -> bool:
        """Whether it stands for offsets whose records are lost."""
        return self.body_length == 0

    def holds_the_same(self, other: "BatchHeader") -> bool:
        """Whether both hold the same records at the same offsets. Written again, they have another epoch and link."""
        held = (self.base_offset, self.count, self.body_length, self.body_sum)
        return held == (other.base_offset, other.count, other.body_length, other.body_sum)

    @property
    def end(self) -> ChainEnd:
        return ChainEnd(self.end_offset, self.link)


def batch_header(segment: SegmentHeader, at: ChainEnd, body: Body, durable_lag: int) -> bytes:
    """The header of `body` as the batch at `at`; `at.link` is the link of the header before it, be it the segment's."""
    raw = _BATCH.pack(
        *(BATCH_MAGIC, 0, at.offset, segment.name.epoch, at.link, body.checksum),
        *(len(body.data), body.count, body.greatest_time_ns, durable_lag, _DATA if body.data else _LOST),
    )
    return _sealed(raw, _BATCH_CRC_AT, segment.crc)[0]


@dataclass(frozen=True, slots=True)
class Horizon:
    """What readers may return, and where it ends: byte `segment_end` of the segment that is being written."""

    log_id: bytes
    first_offset: Offset
    durable_end: Offset
    segment: SegmentName
    segment_end: int

    def encode(self) -> bytes:
        fields = (self.log_id, self.first_offset, self.durable_end, *self.segment, self.segment_end)
        raw = _HORIZON.pack(_HORIZON_MAGIC, *fields, 0)[: -_U64.size]
        return raw + _U64.pack(xxhash.xxh3_64_intdigest(raw))

    @classmethod
    def parse(cls, raw: bytes) -> "Horizon | None":
        if len(raw) != HORIZON_BYTES:
            return None
        magic, log_id, first, end, base, epoch, segment_end, checksum = _HORIZON.unpack(raw)
        if magic != _HORIZON_MAGIC or xxhash.xxh3_64_intdigest(raw[: -_U64.size]) != checksum:
            return None
        return cls(log_id, Offset(first), Offset(end), SegmentName(Offset(base), Epoch(epoch)), segment_end)


def _crc(raw: bytes, crc_at: int, seed: int) -> int:
    """zlib.crc32 of a header with zeros in the place of the crc itself."""
    return zlib.crc32(b"".join((raw[:crc_at], bytes(_U32.size), raw[crc_at + _U32.size :])), seed)


def _sealed(raw: bytes, crc_at: int, seed: int) -> tuple[bytes, int]:
    crc = zlib.crc32(raw, seed)
    return raw[:crc_at] + _U32.pack(crc) + raw[crc_at + _U32.size :], crc
