"""What a fuzzer's bytes mean: a batch of bodies and the options of their requests.

The first byte is the options: bits 0–2 the precision, bit 3 whether the table `t` is settled, bits 4–5 the sequencers
less one, bit 6 whether each second body is all or nothing, bit 7 whether times are bounded. The bodies follow, a BREAK
between each two.
"""

from collections.abc import Sequence
from contextlib import nullcontext

from common.catalog.table_schema import TableSchema
from common.values.schema import ColumnType
from router.lineprotocol.scalar import GUESSED_PRECISION
from router.parsing.batch import BatchParser
from router.parsing.messages import Body
from router.parsing.time_bounds import ANY_TIME, TimeBounds
from tests.support.lines.equality import Batch, check
from tests.support.lines.limits import lines_at_once

BREAK = b"\x1e\x1e"

_PRECISIONS_NS = (1, 10**3, 10**6, 10**9, GUESSED_PRECISION, 60 * 10**9, 3600 * 10**9, 1)
_SETTLED = {"t": TableSchema(2, {kind.value: kind for kind in ColumnType} | {"f": ColumnType.FLOAT})}
_BOUNDS = TimeBounds(5, 1_700_000_000_000_000_000)
_DEFAULT_TIME_NS = 1_700_000_000_000_000_000


def batch_of(data: bytes) -> Batch:
    """The batch that `data` stands for; any bytes do."""
    options = data[0] if data else 0
    bodies = [
        Body(
            text,
            _PRECISIONS_NS[options & 7],
            _DEFAULT_TIME_NS + at,
            all_or_nothing=bool(options & 64 and at % 2),
            times=_BOUNDS if options & 128 else ANY_TIME,
        )
        for at, text in enumerate(data[1:].split(BREAK))
    ]
    return Batch("ns", (options >> 4 & 3) + 1, bodies, _SETTLED if options & 8 else {})


def bytes_of(bodies: Sequence[bytes], options: int = 0) -> bytes:
    """The input that stands for `bodies`."""
    return bytes([options]) + BREAK.join(bodies)


def check_input(data: bytes) -> None:
    """Its few lines one by one, and all at once: twice in one parser, which then knows the series.

    Raises Different, or whatever a parser breaks with.
    """
    batch = batch_of(data)
    for limits in (nullcontext, lines_at_once):
        parser = BatchParser(batch.sequencers)
        with limits():
            for _ in range(2):
                check(batch, parser=parser)
