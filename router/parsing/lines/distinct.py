"""Which numbers occur in an array. They are marked where that costs less than to sort the array."""

import numpy as np

from router.lineprotocol.structure import Ints

_MARKED_MIN = 16 * 1024
_SPARSE = 16
"""Many more numbers that could occur than there are in the array are not marked."""


def distinct(numbers: Ints, end: int) -> tuple[Ints, Ints]:
    """Those of 0..end - 1 that occur, ascending, and the place among them of each of `numbers`."""
    if end > max(_MARKED_MIN, _SPARSE * len(numbers)):
        found, places = np.unique(numbers, return_inverse=True)
        return found, places
    found = occurring(numbers, end)
    place = np.empty(end, np.int64)
    place[found] = np.arange(len(found))
    return found, place[numbers]


def occurring(numbers: Ints, end: int) -> Ints:
    """Those of 0..end - 1 that occur, ascending."""
    if end > max(_MARKED_MIN, _SPARSE * len(numbers)):
        return np.unique(numbers)
    marked = np.zeros(end, np.bool_)
    marked[numbers] = True
    return np.flatnonzero(marked)
