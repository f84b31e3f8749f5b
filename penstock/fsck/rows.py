"""Whether rows are sorted by series and time, each key once; one row group after another, in bounded memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from common.catalog.merge import series_ranks
from common.values.schema import TIME, times_ns

_Key = tuple[tuple[tuple[bool, bytes], ...], int]
"""Tags, of which an absent one comes first, and time: as rows are sorted."""


class RowCheck:
    """rows: seen so far; time_ns_min, time_ns_max: of them, where there are any."""

    def __init__(self, sort_key: Sequence[str]) -> None:
        self.rows = 0
        self.time_ns_min = 2**63 - 1
        self.time_ns_max = -(2**63)
        self._sort_key = sort_key
        self._last: _Key | None = None
        self._unsorted: int | None = None
        self._repeated: int | None = None

    def add(self, keys: pa.Table) -> None:
        """The next row group's columns `time` and those of the sort key."""
        if not keys.num_rows:
            return
        times = times_ns(keys)
        self.time_ns_min = min(self.time_ns_min, int(times.min()))
        self.time_ns_max = max(self.time_ns_max, int(times.max()))
        self._compare_with_last(self._key(keys, 0))
        ranks = series_ranks(keys, self._sort_key)
        same = ranks[1:] == ranks[:-1]
        falls = (ranks[1:] < ranks[:-1]) | (same & (times[1:] < times[:-1]))
        self._note(falls, same & (times[1:] == times[:-1]))
        self._last = self._key(keys, keys.num_rows - 1)
        self.rows += keys.num_rows

    def wrong(self) -> Iterator[str]:
        """Half a sentence about the file for each rule that its rows break; rows are counted from 0."""
        key = ", ".join([*self._sort_key, TIME])
        if self._unsorted is not None:
            yield f"row {self._unsorted} is not sorted after the one before it (by {key})"
        if self._repeated is not None:
            yield f"row {self._repeated} has the same key as the one before it ({key})"

    def _compare_with_last(self, first: _Key) -> None:
        if self._last is None:
            return
        if first < self._last and self._unsorted is None:
            self._unsorted = self.rows
        if first == self._last and self._repeated is None:
            self._repeated = self.rows

    def _note(
        self, falls: "np.ndarray[tuple[int], np.dtype[np.bool_]]", repeats: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    ) -> None:
        if self._unsorted is None and falls.any():
            self._unsorted = self.rows + 1 + int(falls.argmax())
        if self._repeated is None and repeats.any():
            self._repeated = self.rows + 1 + int(repeats.argmax())

    def _key(self, keys: pa.Table, row: int) -> _Key:
        values = [keys.column(name)[row].as_py() for name in self._sort_key]
        tags = tuple((value is not None, (value or "").encode("utf-8", "surrogatepass")) for value in values)
        return tags, int(times_ns(keys.slice(row, 1))[0])
