"""Which rows of a batch are refused, and why: each for the first reason found."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from router.parsing.messages import REFUSED_SHOWN_MAX, RequestLines

Mask = npt.NDArray[np.bool_]


class Refusals:
    """Of one batch. refused: by row."""

    def __init__(self, rows: int) -> None:
        self.refused: Mask = np.zeros(rows, np.bool_)
        self._found: list[tuple[npt.NDArray[np.intp], Callable[[int], str]]] = []

    def refuse(self, rows: Mask, reason_of: Callable[[int], str]) -> None:
        """Those of `rows` that are not refused yet. reason_of: the text for a row, asked for those that are shown."""
        new = rows & ~self.refused
        if new.any():
            self._found.append((np.flatnonzero(new), reason_of))
            self.refused |= new

    def report(self, lines: RequestLines, first_number: int) -> None:
        """Add them to `lines`, in order of the rows. first_number: of the batch's first row."""
        shown = sorted((int(row), reason_of) for rows, reason_of in self._found for row in rows[:REFUSED_SHOWN_MAX])
        room = REFUSED_SHOWN_MAX - len(lines.refused)
        for row, reason_of in shown[:room]:
            lines.refuse(first_number + row, b"", reason_of(row))
        lines.refused_count += int(self.refused.sum()) - len(shown[:room])
