"""What a cursor's consumer has fetched and the cursor has not returned: runs of records, and what stands between them.

Messages are looked at together, when they come: one by one that would cost more than fetching them.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, groupby

import numpy as np
from confluent_kafka import Message

from common.ids import Offset
from writebuffer.contract import SequencedRecord
from writebuffer.record import Record, header_ends


class _Run:
    """Records one behind the other: i is at bytes bounds[i]..bounds[i + 1], its header block ends at ends[i]."""

    def __init__(self, offsets: list[Offset], data: bytes, bounds: list[int], ends: list[int]) -> None:
        self._offsets = offsets
        self._data = data
        self._bounds = bounds
        self._ends = ends
        self._at = 0

    def take(self, max_records: int, max_bytes: int) -> list[SequencedRecord]:
        """Takes what fits; none where the first is over max_bytes."""
        first, bounds = self._at, self._bounds
        last = min(len(self._offsets), first + max_records)
        last = bisect_right(bounds, bounds[first] + max_bytes, first, last + 1) - 1
        self._at = last
        data, starts = self._data, bounds[first:last]
        places = zip(starts, self._ends[first:last], bounds[first + 1 : last + 1], strict=True)
        records = [Record(data[at:end], data[end:stop], checked_bytes=stop - at) for at, end, stop in places]
        return list(map(SequencedRecord, self._offsets[first:last], records))

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
        for is_error, together in groupby(messages, lambda message: message.error() is not None):
            found = list(together)
            run = None if is_error else _run(found)
            self._parts.extend(found if run is None else (run,))

    def take(self, max_records: int, max_bytes: int) -> list[SequencedRecord]:
        """Up to the limits, or to the first thing that is no whole record; one at least where one is next."""
        taken: list[SequencedRecord] = []
        room = max_bytes
        while self._parts and len(taken) < max_records and (run := self._next_run()) is not None:
            more = run.take(max_records - len(taken), room) or ([] if taken else run.take(1, 2**62))
            if not more:
                break
            taken += more
            room = max(0, room - sum(one.record.checked_bytes for one in more))
            if run.is_empty:
                self._parts.popleft()
        return taken

    def other(self) -> Message | None:
        """What is next, where that is no whole record; it stays."""
        head = self._parts[0] if self._parts else None
        return None if isinstance(head, _Run) else head

    def drop_other(self) -> None:
        self._parts.popleft()

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
    values: list[bytes] = [message.value() or b"" for message in messages]
    bounds = [0, *accumulate(map(len, values))]
    data = b"".join(values)
    ends = header_ends(data, np.array(bounds, np.int64))
    if ends is None:
        return None
    offsets = [Offset(message.offset() or 0) for message in messages]
    return _Run(offsets, data, bounds, ends.tolist())
