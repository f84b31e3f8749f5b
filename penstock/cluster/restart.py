"""When a child process that died is started again: a decision without I/O. supervisor.py carries it out.

Delays double from DELAY_S to DELAY_S_MAX, and start from DELAY_S again after a healthy minute. A child that refuses its
configuration (exit code 2, right after its start) is not started for ever: one that was never ready is given up at
once, one that was ready after REFUSALS_MAX refusals in a row (its port may be in use only for a moment).
"""

from dataclasses import dataclass

from common.values.clock import Clock
from penstock.terminal import exit_codes

DELAY_S = 0.5
DELAY_S_MAX = 30.0
HEALTHY_S = 60.0
RIGHT_AWAY_S = 15.0
REFUSALS_MAX = 5


@dataclass(frozen=True, slots=True)
class RestartAfter:
    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The same start would fail in the same way, as `refusals` in a row showed."""

    refusals: int


class RestartPolicy:
    """Of one child. Call `started`, `ready` and `exited` as they happen; `exited` returns what to do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self._was_ready = False
        self._failures = 0
        self._refusals = 0

    def started(self) -> None:
        self._started_s = self._clock.monotonic_s()

    def ready(self) -> None:
        self._was_ready = True
        self._refusals = 0

    def exited(self, code: int) -> RestartAfter | GiveUp:
        """code: of the process that `started` was called for; negative for a signal."""
        ran_s = self._clock.monotonic_s() - self._started_s
        if ran_s >= HEALTHY_S:
            self._failures = self._refusals = 0
        if code == exit_codes.USAGE and ran_s < RIGHT_AWAY_S:
            self._refusals += 1
            if not self._was_ready or self._refusals >= REFUSALS_MAX:
                return GiveUp(self._refusals)
        self._failures += 1
        return RestartAfter(min(DELAY_S_MAX, DELAY_S * 2.0 ** min(self._failures - 1, 30)))
