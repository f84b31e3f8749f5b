"""A partition's rows in stretches of time that fit memory."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from common.values.schema import DAY_NS, times_ns
from penstock.replay.spill import Spill

ROWS_MAX = 250_000
"""Of a stretch, of both sides together: they are merged and compared in some 20 times a row's bytes."""

_MINUTE_NS = 60_000_000_000

Parts = Callable[[], Iterable[pa.Table]]
"""The rows of one side, oldest first; called several times."""


def stretches(
    log: Parts, store: Parts, rows: int, folder: Path, rows_max: int = ROWS_MAX
) -> Iterator[tuple[list[pa.Table], list[pa.Table]]]:
    """The rows of both sides, stretch after stretch; one that has no row is left out.

    rows: of both. folder: for more rows than a stretch has; made, and the caller's to remove. Rows of one minute stay
    together.
    """
    if rows <= rows_max:
        if rows:
            yield list(log()), list(store())
        return
    starts = _starts([log, store], rows_max)
    spills = Spill[int](folder / "log"), Spill[int](folder / "store")
    for side, spill in zip((log, store), spills, strict=True):
        for part in side():
            which = np.searchsorted(starts, _minutes(part), "right")
            for stretch in np.unique(which):
                spill.add(int(stretch), part.filter(pa.array(which == stretch)))
    for stretch in sorted({*spills[0], *spills[1]}):
        yield list(spills[0].parts(stretch)), list(spills[1].parts(stretch))
        for spill in spills:
            spill.drop(stretch)


def _starts(sides: Iterable[Parts], rows_max: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """The minutes at which a new stretch begins."""
    counts = np.zeros(DAY_NS // _MINUTE_NS, np.int64)
    for side in sides:
        for part in side():
            counts += np.bincount(_minutes(part), minlength=len(counts))
    starts, held = [], 0
    for minute, count in enumerate(counts.tolist()):
        if held and held + count > rows_max:
            starts.append(minute)
            held = 0
        held += count
    return np.array(starts, np.int64)


def _minutes(part: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Of the day."""
    minutes: np.ndarray[tuple[int], np.dtype[np.int64]] = times_ns(part) % DAY_NS // _MINUTE_NS
    return minutes
