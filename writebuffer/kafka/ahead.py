"""What a cursor's consumer has fetched and the cursor has not returned: runs of records, and what lies between them.

Messages are looked at together, when they come: one by one that would cost more than fetching them.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import cast

import numpy as np
from confluent_kafka import Message

from common.values.ids import Offset
from writebuffer.contract import SequencedRecord
from writebuffer.record import Record, header_ends


class _Run:
    """Consecutive records: i is at bytes bounds[i]..bounds[i + 1], its header block ends at ends[i]."""

    def __init__(self, offsets: list[Offset], data: bytes, bounds: list[int], ends: list[int]) -> None:
        self._offsets = offsets
        self._data = data
        self._bounds = bounds
        self._ends = ends
        self._at = 0

    def fits(self, max_records: int, max_bytes: int) -> int:
        """How many of the next records are within both limits."""
        first, bounds = self._at, self._bounds
        last = min(len(self._offsets), first + max_records)
        return bisect_right(bounds, bounds[first] + max_bytes, first, last + 1) - 1 - first

    def bytes(self, count: int) -> int:
        """Of the next `count` records."""
        return self._bounds[self._at + count] - self._bounds[self._at]

    def take(self, count: int) -> list[SequencedRecord]:
        first, bounds, data = self._at, self._bounds, self._data
        self._at = last = first + count
        places = zip(bounds[first:last], self._ends[first:last], bounds[first + 1 : last + 1], strict=True)
        records = [Record(data[at:end], data[end:stop], stop - at) for at, end, stop in places]
        return list(map(SequencedRecord._make, zip(self._offsets[first:last], records, strict=True)))

    @property
    def is_empty(self) -> bool:
        return self._at == len(self._offsets)


class Ahead:
    """In order of offsets. False when there is nothing."""

    def __init__(self) -> None:
        self._parts: deque[_Run | Message] = deque()

    def __bool__(self) -> bool:
        return bool(self._parts)

    def clear(self) -> None:
        self._parts.clear()

    def add(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        if any(map(Message.error, messages)):
            for _, together in groupby(messages, lambda message: message.error() is None):
                self._add(list(together))
        else:
            self._add(messages)

    def take(self, max_records: int, max_bytes: int) -> list[SequencedRecord]:
        """Up to the limits, or to the first thing that is no whole record; one at least where one is next."""
        records: list[SequencedRecord] = []
        room = max_bytes
        while self._parts and len(records) < max_records and (run := self._next_run()) is not None:
            count = run.fits(max_records - len(records), room) or (0 if records else 1)
            if not count:
                break
            room = max(0, room - run.bytes(count))
            records += run.take(count)
            if run.is_empty:
                self._parts.popleft()
        return records

    def other(self) -> Message | None:
        """What is next, where that is no whole record; it stays."""
        head = self._parts[0] if self._parts else None
        return None if isinstance(head, _Run) else head

    def drop_other(self) -> None:
        self._parts.popleft()

    def _add(self, messages: Sequence[Message]) -> None:
        """All of them errors, or none."""
        run = None if messages[0].error() else _run(messages)
        self._parts.extend(messages if run is None else (run,))

    def _next_run(self) -> _Run | None:
        """A message that was set aside alone may be a whole record: only its neighbours need not be."""
        head = self._parts[0]
        if isinstance(head, _Run):
            return head
        run = None if head.error() is not None else _run([head])
        if run is not None:
            self._parts[0] = run
        return run


def _run(messages: Sequence[Message]) -> _Run | None:
    """None where one of them is not a whole record."""
    values: list[bytes] = [value or b"" for value in map(Message.value, messages)]
    bounds = [0, *accumulate(map(len, values))]
    data = b"".join(values)
    ends = header_ends(data, np.array(bounds, np.int64))
    if ends is None:
        return None
    offsets = list(map(Message.offset, messages))
    return _Run(cast(list[Offset], offsets), data, bounds, ends.tolist())
