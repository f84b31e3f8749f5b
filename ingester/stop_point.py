"""Up to where an ingester reads on once it was asked to stop.

What was acknowledged just before may not have been polled yet. It would be safe in the log, but people look for it in
the files after an orderly stop: so a stop begins only when all that the stream held as it was asked for is applied.
"""

from common.values.ids import Offset

READ_ON_S = 5.0
"""So long at most: a backlog stays in the log, and is read at the next start."""


class StopPoint:
    """Where the stream ended when a stop was asked for. Times are a monotonic clock's."""

    def __init__(self, now_s: float) -> None:
        self._deadline_s = now_s + READ_ON_S
        self._end: Offset | None = None

    def found(self, end: Offset) -> None:
        """end: the stream's next offset; 0 where it cannot be asked, so that nothing is waited for. On any thread."""
        self._end = end

    def reached(self, applied: Offset, now_s: float) -> bool:
        """All below it is applied, or it was waited for long enough. applied: the next offset to apply."""
        return (self._end is not None and applied >= self._end) or now_s >= self._deadline_s
