"""Late rows: those whose time is not above the greatest time that a file of their partition has, or is about to have.

They are buffered and persisted like any other, and the file that has them overlaps an earlier one in time: readers
merge the two. How late they come says whether the late-arrival window is long enough.
"""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from common.catalog.partition_key import PartitionKey

BOUNDS_NS = tuple(seconds * 1_000_000_000 for seconds in (1, 10, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600))
"""Of the histogram's buckets, each bound included; what is later is in one more."""

PARTITIONS_MAX = 10_000
"""Remembered. They are forgotten all at once: it only costs a look."""

PersistedUntil = Callable[[PartitionKey], int | None]


class LateRows:
    """counts: rows by lateness, for each of BOUNDS_NS and beyond. sum_ns: of their lateness."""

    def __init__(self, persisted_until: PersistedUntil = lambda key: None) -> None:
        """persisted_until: the greatest time in a file of the partition, None without one."""
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.sum_ns = 0
        self._persisted_until = persisted_until
        self._known: dict[PartitionKey, int | None] = {}

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def arrived(self, key: PartitionKey, times_ns: npt.NDArray[np.int64]) -> None:
        """Rows with these times, at least one, came to a partition."""
        until_ns = self._until(key)
        if until_ns is None or int(times_ns.min()) > until_ns:
            return
        lateness_ns = until_ns - times_ns[times_ns <= until_ns].astype(object)  # int64's ends do not overflow
        for late_ns in lateness_ns:
            self.counts[bisect_left(BOUNDS_NS, late_ns)] += 1
        self.sum_ns += int(lateness_ns.sum())

    def cut(self, key: PartitionKey, time_ns_max: int) -> None:
        """Rows up to that time go into a file."""
        before_ns = self._until(key)
        self._known[key] = time_ns_max if before_ns is None else max(before_ns, time_ns_max)

    def _until(self, key: PartitionKey) -> int | None:
        if key not in self._known:
            if len(self._known) >= PARTITIONS_MAX:
                self._known.clear()
            self._known[key] = self._persisted_until(key)
        return self._known[key]
