"""The records of one batch, out of the block that was read: one copy from the block to each record's own bytes."""

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import cast

import numpy as np

from common.values.errors import DataCorrupt
from common.values.ids import Offset
from writebuffer.contract import SequencedRecord
from writebuffer.file.format import BatchHeader
from writebuffer.file.walk import Stored
from writebuffer.record import Record, header_ends

_FEW = 8
"""Records up to which numpy costs more than it saves."""


@dataclass(slots=True)
class LoadedBatch:
    """Record i is at bytes bounds[i]..bounds[i + 1] of `block`; its header block ends at ends[i].

    Without bounds its offsets are those of records that are lost.
    """

    base_offset: Offset
    end_offset: Offset
    block: bytes
    bounds: list[int]
    ends: list[int] | None
    """None where a record is damaged, or there are few: each is then looked at by itself."""

    @classmethod
    def of(cls, header: BatchHeader, body: Stored) -> "LoadedBatch | None":
        """None when the lengths do not fill the body."""
        if header.is_lost:
            return cls(header.base_offset, header.end_offset, b"", [], None)
        if header.count <= _FEW:
            lengths = struct.unpack_from(f"<{header.count}I", body.block, body.start)
            bounds = list(accumulate(lengths, initial=body.start + 4 * header.count))
            whole = bounds[-1] == body.start + body.length
            return cls(header.base_offset, header.end_offset, body.block, bounds, None) if whole else None
        return cls._many(header, body)

    @classmethod
    def _many(cls, header: BatchHeader, body: Stored) -> "LoadedBatch | None":
        lengths = np.frombuffer(body.block, "<u4", header.count, body.start)
        bounds = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))) + (body.start + lengths.nbytes)
        if bounds[-1] != body.start + body.length:
            return None
        ends = header_ends(body.block, bounds)
        kept = None if ends is None else ends.tolist()
        return cls(header.base_offset, header.end_offset, body.block, bounds.tolist(), kept)

    @property
    def is_lost(self) -> bool:
        return not self.bounds

    def fitting(self, offset: Offset, max_records: int, max_bytes: int) -> int:
        """How many of the records from `offset` on are within both limits."""
        first = offset - self.base_offset
        last = min(len(self.bounds) - 1, first + max_records)
        return bisect_right(self.bounds, self.bounds[first] + max_bytes, first, last + 1) - 1 - first

    def bytes(self, offset: Offset, count: int) -> int:
        first = offset - self.base_offset
        return self.bounds[first + count] - self.bounds[first]

    def records(self, offset: Offset, count: int) -> list[SequencedRecord]:
        """The `count` records from `offset` on; fewer when a damaged one is among them and is not the first.

        Raises DataCorrupt when the first is damaged.
        """
        first = offset - self.base_offset
        bounds, block = self.bounds[first : first + count + 1], self.block
        if self.ends is None:
            return self._one_by_one(offset, bounds)
        offsets = cast(Sequence[Offset], range(offset, offset + count))
        ends = self.ends[first : first + count]
        return [
            SequencedRecord(at, Record(block[start:end], block[end:stop]))
            for at, start, end, stop in zip(offsets, bounds[:-1], ends, bounds[1:], strict=True)
        ]

    def damaged(self) -> Iterator[tuple[Offset, str]]:
        """The records that cannot be read, each with the reason."""
        if self.ends is None:
            for offset in range(self.base_offset, self.end_offset):
                try:
                    self.records(Offset(offset), 1)
                except DataCorrupt as error:
                    yield Offset(offset), str(error)

    def _one_by_one(self, offset: Offset, bounds: list[int]) -> list[SequencedRecord]:
        found: list[SequencedRecord] = []
        for at, (start, stop) in enumerate(pairwise(bounds), offset):
            try:
                record = Record.from_bytes(self.block[start:stop])
            except DataCorrupt as error:
                if found:
                    break
                raise DataCorrupt(f"offset {at}: {error}", offset=at) from None
            found.append(SequencedRecord(Offset(at), record))
        return found

    def first_at(self, time_ns: int) -> Offset | None:
        """The first record appended at or after `time_ns`, or a damaged one before it, whose time nobody knows."""
        passed = self.base_offset
        with suppress(DataCorrupt):
            for one in self.records(self.base_offset, len(self.bounds) - 1):
                if one.record.append_time_ns >= time_ns:
                    return one.offset
                passed = Offset(one.offset + 1)
        return passed if passed < self.end_offset else None
