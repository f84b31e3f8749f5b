"""The frontier of a partition: exactly which of its rows are durable in the store.

A row is covered iff some corner (offset, time) has row.offset <= corner.offset and row.time <= corner.time; rows
below the sequencer's replay offset are covered too, and the caller knows that number. Corners form a staircase: none
dominates another, so that offsets rise while times fall. A persist of all rows of a partition up to offset m leaves
the one corner (m, +infinity), written TIME_END.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from common.values.ids import Offset

TIME_END = 2**63 - 1
"""Means +infinity: no int64 time is above it."""

Corner = tuple[int, int]
"""(offset, time ns): every row at or below both is durable."""


class Frontier:
    """An immutable staircase of corners, by rising offset."""

    __slots__ = ("corners",)

    def __init__(self, corners: Iterable[Corner] = ()) -> None:
        """corners: in any order; those that another dominates are dropped."""
        kept: list[Corner] = []
        for offset, time_ns in sorted(corners, reverse=True):
            if not kept or time_ns > kept[-1][1]:
                kept.append((offset, time_ns))
        self.corners: tuple[Corner, ...] = tuple(reversed(kept))

    def with_corner(self, offset: int, time_ns: int) -> "Frontier":
        return Frontier((*self.corners, (offset, time_ns)))

    def above(self, replay_offset: Offset) -> "Frontier":
        """Without the corners below `replay_offset`: the rows that they cover are durable by it."""
        return Frontier(corner for corner in self.corners if corner[0] >= replay_offset)

    def covered_until(self, offset: Offset) -> int | None:
        """The greatest time that is durable for rows at `offset`; None when none is."""
        return next((time_ns for corner, time_ns in self.corners if offset <= corner), None)

    def covers(self, offset: Offset, time_ns: int) -> bool:
        until = self.covered_until(offset)
        return until is not None and time_ns <= until

    def covered(
        self, offsets: Offset | npt.NDArray[np.int64], times_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """A mask, true where the row is durable. offsets: of each row, or of the one record that has all of them."""
        if not self.corners:
            return np.zeros(len(times_ns), dtype=np.bool_)
        corners = np.array(self.corners, np.int64)
        at = np.searchsorted(corners[:, 0], offsets)  # the first corner at or above the offset
        until = corners[np.minimum(at, len(corners) - 1), 1]
        covered: npt.NDArray[np.bool_] = (at < len(corners)) & (times_ns <= until)
        return covered

    def __len__(self) -> int:
        return len(self.corners)

    def __iter__(self) -> Iterator[Corner]:
        return iter(self.corners)

    def __bool__(self) -> bool:
        return bool(self.corners)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frontier) and self.corners == other.corners

    def __hash__(self) -> int:
        return hash(self.corners)

    def __repr__(self) -> str:
        return f"Frontier({list(self.corners)})"
