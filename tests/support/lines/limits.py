"""Limits of the parser made so small that small bodies reach them: where it cuts, waits, gives up or starts over."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from router.lineprotocol import scalar, structure
from router.parsing import draft
from router.parsing.batch import BatchParser
from router.parsing.lines import distinct, few, matrix, piece, text
from router.parsing.lines.series_cache import SeriesCache


@contextmanager
def small_limits(rng: random.Random) -> Iterator[None]:
    """Within the block each limit is its own or a small one."""
    choices = (
        ({text: "PIECE_BYTES_MAX"}, rng.choice((1, 40, 300, 3_000, 20_000))),
        ({text: "_AGAIN_BYTES_MIN"}, rng.choice((1, 100))),
        ({scalar: "LINE_BYTES_MAX", structure: "LINE_BYTES_MAX"}, rng.choice((60, 200))),
        ({piece: "_UNKNOWN_MAX"}, rng.choice((1, 3))),
        ({piece: "_LINES_BETWEEN_CHECKS"}, 1),
        ({distinct: "_MARKED_MIN"}, rng.choice((0, 20))),
        ({matrix: "CELLS_MAX"}, rng.choice((1, 50, 1_000))),
        ({matrix: "NAME_BYTES_MAX"}, rng.choice((1, 20))),
        ({draft: "NEW_TABLES_MAX"}, rng.choice((1, 3))),
        ({draft: "NEW_COLUMNS_MAX"}, rng.choice((3, 10, 40))),
        ({draft: "COLUMNS_MAX"}, rng.choice((2, 6, 12))),
        ({structure: "_BACKSLASHES_MAX"}, rng.choice((1, 3))),
        ({few: "FEW_LINES_MAX"}, rng.choice((0, 5, 1_000))),
        ({few: "FEW_UNLIKE_LINES_MAX"}, rng.choice((0, 1_000))),
        ({few: "FORMS_BYTES_MAX"}, rng.choice((1, 10_000))),
    )
    with ExitStack() as stack:
        for names, value in choices:
            if rng.random() < 0.4:
                for module, name in names.items():
                    stack.enter_context(patch.object(module, name, value))
        yield


@contextmanager
def lines_at_once() -> Iterator[None]:
    """Within the block lines are never read one by one because they are few."""
    with patch.object(few, "FEW_LINES_MAX", -1):
        yield


class ForgetfulParser(BatchParser):
    """It remembers next to no series."""

    def __init__(self, sequencers: int) -> None:
        super().__init__(sequencers)
        self._series = SeriesCache(sequencers, 20_000)
