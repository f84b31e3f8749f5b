"""The index beside a segment: from where a walk may start that looks for an offset or a time.

<base:020>-<epoch:08>.idx: an entry for every 64 KiB of batches, and one for their end. Its bytes are in
docs/formats/log.md.

Advisory: nothing is acknowledged by it, and a reader that finds none, or one that it doubts, walks from the segment's
start to the same result. The writer alone makes it, once a segment is sealed, without a sync: what a crash leaves of it
is found by its checksum. It names its segment by the link of the header, which no other segment of any log has.
"""

import struct
from bisect import bisect_left, bisect_right
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from common.values.clock import Clock
from common.values.errors import DataCorrupt, Forked
from common.values.ids import Offset
from writebuffer.file.format import (
    HEADER_BYTES,
    NO_TIME_NS,
    BatchHeader,
    Horizon,
    Place,
    SegmentHeader,
    SegmentName,
)
from writebuffer.file.segments import Segments
from writebuffer.file.walk import BatchBoundary, Walk

SPACING_BYTES = 64 * 2**10
"""Between entries: 32 KiB of index for a segment of 64 MiB, and at most a millisecond of headers to walk from one."""
RESTORE_S = 0.5
"""What opening for writing spends on missing indexes at most; readers do without the others."""

_INDEX_BYTES_MAX = 16 * 2**20
_SUFFIX = ".idx"
_HEAD = struct.Struct("<8sQII")
_MAGIC = b"PENSIDX\0"
_SUM = struct.Struct("<Q")
_ENTRY = np.dtype([("offset", "<u8"), ("at_byte", "<u8"), ("link", "<u8"), ("time_ns", "<i8")])


class Entry(NamedTuple):
    """A place between two batches. `time_ns`: the greatest append time of the segment's batches before it."""

    offset: Offset
    at_byte: int
    link: int
    time_ns: int

    @property
    def boundary(self) -> BatchBoundary:
        return BatchBoundary(self.offset, self.at_byte, self.link)


class IndexMaker:
    """Collects a segment's entries while its batches pass by, in order."""

    def __init__(self, segment: SegmentHeader) -> None:
        self._segment = segment
        self._end = Entry(segment.base_offset, HEADER_BYTES, segment.link, NO_TIME_NS)
        self._entries = [self._end]

    def passed(self, end: BatchBoundary, greatest_time_ns: int) -> None:
        """A batch with that greatest append time ends at `end`."""
        self._end = Entry(*end, max(self._end.time_ns, greatest_time_ns))
        if end.at_byte - self._entries[-1].at_byte >= SPACING_BYTES:
            self._entries.append(self._end)

    def encode(self) -> bytes:
        entries = self._entries if self._entries[-1] == self._end else [*self._entries, self._end]
        table = np.array([tuple(entry) for entry in entries], _ENTRY).tobytes()
        raw = _HEAD.pack(_MAGIC, self._segment.link, len(entries), 0) + table
        return raw + _SUM.pack(xxhash.xxh3_64_intdigest(raw))


@dataclass(frozen=True)
class SegmentIndex:
    """The entries of one segment, the last one where its batches end. Some may lie past the batches that count."""

    _table: npt.NDArray[Any]

    @classmethod
    def parse(cls, raw: bytes, segment: SegmentHeader) -> "SegmentIndex | None":
        """None for what is no whole index of `segment`."""
        if len(raw) < _HEAD.size + _SUM.size:
            return None
        magic, link, count, _ = _HEAD.unpack_from(raw)
        if (magic, link) != (_MAGIC, segment.link) or not count:
            return None
        end = _HEAD.size + count * _ENTRY.itemsize
        if len(raw) != end + _SUM.size or _SUM.unpack_from(raw, end)[0] != xxhash.xxh3_64_intdigest(raw[:end]):
            return None
        return cls(np.frombuffer(raw, _ENTRY, count, _HEAD.size))

    def holding(self, offset: Offset) -> Entry:
        """The last entry up to `offset`."""
        return self._entry(bisect_right(self._table["offset"], offset) - 1)

    def before_time(self, time_ns: int) -> Entry:
        """The last entry that has only batches older than `time_ns` before it."""
        return self._entry(bisect_left(self._table["time_ns"], time_ns) - 1)

    def _entry(self, number: int) -> Entry:
        offset, at_byte, link, time_ns = self._table[max(0, number)].tolist()
        return Entry(Offset(offset), at_byte, link, time_ns)


def index_name(segment: SegmentName) -> str:
    return str(segment).removesuffix(".log") + _SUFFIX


def read_index(place: Place, segment: SegmentHeader) -> SegmentIndex | None:
    """None where it is missing, cannot be read, or is not this segment's."""
    try:
        file = place.disk.open(place.path(index_name(segment.name)))
        try:
            if file.size() > _INDEX_BYTES_MAX:
                return None
            return SegmentIndex.parse(file.read_at(0, file.size()), segment)
        finally:
            file.close()
    except OSError:
        return None


def write_index(place: Place, segment: SegmentName, index: IndexMaker) -> None:
    """Write it in the place of what is there. What cannot be written is left out."""
    path = place.path(index_name(segment))
    try:
        try:
            file = place.disk.create(path)
        except FileExistsError:
            place.disk.remove(path)
            file = place.disk.create(path)
        try:
            file.write_at(0, [index.encode()])
        finally:
            file.close()
    except OSError:
        remove_index(place, segment)


def remove_index(place: Place, segment: SegmentName) -> None:
    with suppress(OSError):
        place.disk.remove(place.path(index_name(segment)))


def walk_near(
    place: Place,
    segments: Segments,
    segment: SegmentHeader,
    offset: Offset,
    horizon: Horizon,
    *,
    headers_only: bool = False,
) -> Walk:
    """A walk in `segment` at or before `offset`, near it where the index names a place at which there is a batch."""
    index = read_index(place, segment)
    if index:
        walk = Walk(place, segments, segment, index.holding(offset).boundary, headers_only=headers_only)
        walk.see(horizon)
        if walk.peek():
            return walk
        walk.close()
    return Walk(place, segments, segment, headers_only=headers_only)


def check_follows(place: Place, segments: Segments, segment: SegmentHeader, horizon: Horizon) -> None:
    """Raise Forked where `segment` does not carry the link with which the one before it ends.

    For who enters it without having read what is before. Where that is trimmed, missing or damaged nothing can be
    compared, and nothing is raised: whoever reads the damage gets the error.
    """
    with suppress(DataCorrupt, OSError):
        before = segments.before(segment)
        if before is None:
            return
        last_offset = Offset(segment.base_offset - 1)
        walk = walk_near(place, segments, before, last_offset, horizon, headers_only=True)
        try:
            while walk.segment.name == before.name and walk.peek():  # the walk compares the links as it goes over
                walk.advance()
        finally:
            walk.close()


def restore_indexes(place: Place, segments: Segments, clock: Clock) -> None:
    """For the log's writer: make the indexes that are missing or damaged, newest first, for at most RESTORE_S.

    What a killed writer left is one segment without; all of them are missing only where somebody removed them.
    """
    deadline_s = clock.monotonic_s() + RESTORE_S
    _remove_orphans(place, segments)
    for segment in reversed(segments.counting()):
        if clock.monotonic_s() > deadline_s:
            return
        if read_index(place, segment) is None:
            with suppress(OSError, DataCorrupt, Forked):  # whoever reads the segment gets the error
                write_index(place, segment.name, _made_from(place, segments, segment))


def _made_from(place: Place, segments: Segments, segment: SegmentHeader) -> IndexMaker:
    index = IndexMaker(segment)
    walk = Walk(place, segments, segment, headers_only=True)
    try:
        while (header := walk.peek()) and walk.segment.name == segment.name:
            index.passed(_end_of(walk, header), header.greatest_time_ns)
            walk.advance()
    finally:
        walk.close()
    return index


def _end_of(walk: Walk, header: BatchHeader) -> BatchBoundary:
    return BatchBoundary(header.end_offset, walk.at_byte + HEADER_BYTES + header.body_length, header.link)


def _remove_orphans(place: Place, segments: Segments) -> None:
    """A crash in a trim may have kept the index alone."""
    owned = {index_name(name) for name in segments.names}
    with suppress(OSError):
        for name in place.disk.names(place.folder):
            if name.endswith(_SUFFIX) and name not in owned:
                place.disk.remove(place.path(name))
