"""The lifecycle's clock: what "now" and "arrived" mean while catching up, and when clocks are wrong.

One time that never goes back. While the ingester catches up it follows the append times it reads, so that a replay
decides by the log's time; caught up, it follows the wall clock. A router whose clock is ahead is believed for SKEW_NS
at most, and when the ingester's own clock is set back, time goes on by what passes from tick to tick: no row waits
until a clock reaches an earlier time again. A row arrives at the clock's time when it is applied.
"""

import numpy as np
import numpy.typing as npt

SKEW_NS = 10_000_000_000


class LifecycleClock:
    """now_ns: the lifecycle's time. elapsed_ns: what passed by the wall clock since the first tick.

    The second is for waits: the first does not move while polling is paused before the end of the log.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self.elapsed_ns = 0
        self._wall_ns: int | None = None

    def read(self, append_time_ns: int) -> None:
        """A record with that append time is applied."""
        believed = append_time_ns if self._wall_ns is None else min(append_time_ns, self._wall_ns + SKEW_NS)
        self.now_ns = max(self.now_ns, believed)

    def read_all(self, append_times_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Records with those append times, at least one, are applied in that order; returns the time at each."""
        believed = append_times_ns
        if self._wall_ns is not None:
            believed = np.minimum(append_times_ns, self._wall_ns + SKEW_NS)
        times: npt.NDArray[np.int64] = np.maximum(np.maximum.accumulate(believed), self.now_ns)
        self.now_ns = int(times[-1])
        return times

    def tick(self, wall_ns: int, *, caught_up: bool) -> None:
        passed_ns = 0 if self._wall_ns is None else max(0, wall_ns - self._wall_ns)
        self._wall_ns = wall_ns
        self.elapsed_ns += passed_ns
        if caught_up:
            self.now_ns = max(wall_ns, self.now_ns + passed_ns)
