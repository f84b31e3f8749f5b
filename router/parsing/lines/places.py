"""Where the lines of a piece of text come from."""

from collections.abc import Sequence

import numpy as np

from router.lineprotocol.structure import Ints
from router.parsing.lines.text import Part


class Places:
    """By line of the piece, as it is cut at every newline, those inside strings too.

    bodies: int64, the body of each line. ends: by part, one past its last line.
    """

    def __init__(self, parts: Sequence[Part], line_starts: Ints) -> None:
        """line_starts: where each line begins in the data of all parts."""
        starts = np.cumsum([0, *(len(part.data) for part in parts[:-1])])
        self._parts = parts
        self._part = np.searchsorted(starts, line_starts, side="right") - 1
        self._firsts: list[int] = np.searchsorted(self._part, np.arange(len(parts))).tolist()
        self._line_starts = line_starts
        self._starts: list[int] = starts.tolist()
        self.ends = [*self._firsts[1:], len(line_starts)]
        self.bodies: Ints = np.array([part.body for part in parts], np.int64)[self._part]

    def of(self, line: int) -> tuple[int, int, int]:
        """The place of its part, the byte of that part's text at which it begins, and its number in the body."""
        place = int(self._part[line])
        part = self._parts[place]
        start = part.start + int(self._line_starts[line]) - self._starts[place]
        return place, start, part.number + line - self._firsts[place]
