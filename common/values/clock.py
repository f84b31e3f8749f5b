"""Time as an argument: nothing else in penstock reads a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for data and decisions, monotonic time for waiting."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()


class FakeClock:
    """A clock that moves only by `advance` and `set_wall`."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._monotonic_s = 0.0

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks on by `seconds`."""
        self._now_ns += round(seconds * 1e9)
        self._monotonic_s += max(0.0, seconds)

    def set_wall(self, now_ns: int) -> None:
        """Step the wall clock alone, backwards too, as an operator or NTP would."""
        self._now_ns = now_ns
