"""Series that were seen before, by the raw bytes that named them: parsed, checked and hashed once, not once a line."""

from collections.abc import Callable
from dataclasses import dataclass

from common.ids import SequencerId
from router.lineprotocol import scalar
from router.lineprotocol.point import Series, Tags
from router.partition import sequencer_of, series_hash

BYTES_MAX = 128 * 1024 * 1024
"""Of memory, as estimated: room for about 70,000 series of ten tags."""

_SERIES_BYTES = 300
_TAG_BYTES = 150
"""What Python's objects take beside the text."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedSeries:
    """A series of one namespace and where it lives. Equal only to itself."""

    table: str
    tags: Tags
    sequencer: SequencerId


class SeriesCache:
    """Bounded by bytes; when full it starts anew, which costs each live series one parse. For one thread."""

    def __init__(self, sequencers: int, bytes_max: int = BYTES_MAX) -> None:
        self._sequencers = sequencers
        self._bytes_max = bytes_max
        self._bytes = 0
        self._placed: dict[tuple[str, bytes], PlacedSeries] = {}

    def place(self, namespace: str, raw: bytes, check: Callable[[str], None] = lambda table: None) -> PlacedSeries:
        """The series that `raw` (measurement and tags as written) names. Raises LineError.

        check: raises LineError for a table that is not to be taken; a series of one leaves no trace here.
        """
        placed = self._placed.get((namespace, raw))
        if placed is None:
            series = scalar.parse_series(raw)
            check(series.table)
            return self._remember(namespace, raw, series)
        check(placed.table)
        return placed

    def _remember(self, namespace: str, raw: bytes, series: Series) -> PlacedSeries:
        hashed = series_hash(namespace, series.table, series.tags)
        placed = PlacedSeries(series.table, series.tags, sequencer_of(hashed, self._sequencers))
        self._bytes += 2 * len(raw) + _SERIES_BYTES + _TAG_BYTES * len(series.tags)
        if self._bytes > self._bytes_max:
            self._placed.clear()
            self._bytes = 0
        self._placed[namespace, raw] = placed
        return placed
