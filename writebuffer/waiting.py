"""How long a call waits: every backend takes the same timeouts, and several waits share one deadline.

A timeout is a number of seconds. One that has passed is negative and counts as 0; one longer than a machine can wait,
infinite included, is as long as it can; nan, None and what is no number are refused.
"""

import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import Any

from common.values.clock import Clock, SystemClock
from common.values.errors import InvalidRequest, Unavailable

CLOSE_S = 30.0
"""A writer that is closed waits this long for what is pending, over all its sequencers together."""
CLOSE_S_MAX = 40.0
"""Every writer's close has returned by then: what follows the wait (a purge, the end of a thread) is bounded too."""
TRIM_STOP_S = 5.0
"""A trim that is under way when its process stops is waited for this long, and then left: trimming has no deadline."""
_WAIT_S_MAX = threading.TIMEOUT_MAX / 2
"""146 years on Linux. Half of what a lock takes: a deadline is the clock and the timeout, whose sum is rounded."""
_SYSTEM_CLOCK = SystemClock()


def bounded_s(timeout_s: float) -> float:
    """What a lock, a condition or a future can be given for `timeout_s`. Raises InvalidRequest."""
    if not isinstance(timeout_s, int | float) or math.isnan(timeout_s):
        raise InvalidRequest(f"a timeout is a number of seconds, got {timeout_s!r}; use math.inf to wait for ever")
    return float(min(max(timeout_s, 0), _WAIT_S_MAX))


class Deadline:
    """A moment, `timeout_s` from now, for one wait or several."""

    def __init__(self, timeout_s: float, clock: Clock = _SYSTEM_CLOCK) -> None:
        """Raises InvalidRequest."""
        self._clock = clock
        self._at_s = clock.monotonic_s() + bounded_s(timeout_s)

    def left_s(self) -> float:
        """Never below 0, and never more than can be waited for."""
        return max(0.0, self._at_s - self._clock.monotonic_s())

    @property
    def is_over(self) -> bool:
        return self.left_s() <= 0


def await_appends(futures: "Sequence[Future[Any]]", timeout_s: float, url: str) -> None:
    """Return once all of them have resolved or failed. Raises Unavailable at the timeout, InvalidRequest."""
    late = wait(futures, bounded_s(timeout_s)).not_done
    if late:
        raise Unavailable(
            f"{url}: {len(late)} of {len(futures)} appends did not finish in {timeout_s} s", written="unknown"
        )
