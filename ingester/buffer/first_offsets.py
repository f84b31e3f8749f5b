"""The least of many first offsets that come, change and go: what the replay offset waits for."""

import heapq
from collections.abc import Collection, Hashable
from itertools import count


class FirstOffsets:
    """One offset under each name. A heap: what was changed or removed is dropped from it once it gets to the top."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, Hashable]] = []
        self._serials = count()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, name: Hashable, offset: int) -> None:
        """Set it, whether it was there or not."""
        known = self._entries.get(name)
        if known is not None and known[0] == offset:
            return
        entry = self._entries[name] = (offset, next(self._serials))
        heapq.heappush(self._heap, (*entry, name))

    def remove(self, name: Hashable) -> None:
        """Fine where it is not there."""
        self._entries.pop(name, None)

    def least(self, without: Collection[Hashable] = ()) -> int | None:
        """The least offset, those of the names `without` left out; None when there are no others.

        The cost follows what has left the top since the last call, and `without`; not the number of offsets.
        """
        aside = []
        found = None
        while self._heap:
            offset, serial, name = self._heap[0]
            if self._entries.get(name) == (offset, serial):
                if name not in without:
                    found = offset
                    break
                aside.append(self._heap[0])
            heapq.heappop(self._heap)
        for entry in aside:
            heapq.heappush(self._heap, entry)
        return found
