"""Which times a line may name: not older than the router's limit, and not further in the future.

The bounds of a request are fixed when it arrives, so that parsing it again gives the same result. A line that names no
time gets that of the arrival and is never refused for it. Only writes by clients are bounded: what is in the write
buffer is applied, replayed and copied whatever its time is.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from common.values.schema import TIME_NS_MAX, TIME_NS_MIN
from router.lineprotocol.point import LineError

_SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """The oldest and the latest time that are stored, ns since 1970, within TIME_NS_MIN..TIME_NS_MAX."""

    min_ns: int = TIME_NS_MIN
    max_ns: int = TIME_NS_MAX


ANY_TIME = TimeBounds()


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How far from a request's arrival its times may be; 0 is no limit."""

    age_max_ns: int = 0
    ahead_max_ns: int = 0

    @staticmethod
    def of_seconds(age_max_s: float, ahead_max_s: float) -> "TimeLimits":
        return TimeLimits(_up_to_64_bits_ns(age_max_s), _up_to_64_bits_ns(ahead_max_s))

    def around(self, arrival_ns: int) -> TimeBounds:
        """The bounds of a request that arrived at `arrival_ns`."""
        if not self.age_max_ns and not self.ahead_max_ns:
            return ANY_TIME  # one object: many requests in one pickle hold it once
        return TimeBounds(
            max(TIME_NS_MIN, arrival_ns - self.age_max_ns) if self.age_max_ns else TIME_NS_MIN,
            min(TIME_NS_MAX, arrival_ns + self.ahead_max_ns) if self.ahead_max_ns else TIME_NS_MAX,
        )


NO_TIME_LIMITS = TimeLimits()


def check_time(time_ns: int, bounds: TimeBounds) -> None:
    """Raises LineError for a time that a line names and that is out of bounds.

    Asked once the line is well-formed, and before its columns are looked at: a refused line registers none.
    """
    if time_ns < bounds.min_ns:
        raise LineError(
            f"time {_shown_time(time_ns)} is before {_shown_bound(bounds.min_ns)}, the oldest that this router stores: "
            "check the precision, or raise the router's row_age_max_s"
        )
    if time_ns > bounds.max_ns:
        raise LineError(
            f"time {_shown_time(time_ns)} is after {_shown_bound(bounds.max_ns)}, the latest that this router stores: "
            "check the precision and the sender's clock, or raise the router's row_ahead_max_s"
        )


def _up_to_64_bits_ns(seconds: float) -> int:
    return math.ceil(min(seconds * _SECOND_NS, 2.0**64))


def _shown_time(time_ns: int) -> str:
    """RFC 3339 in UTC, with as many decimals as the time has."""
    seconds, rest = divmod(time_ns, _SECOND_NS)
    decimals = f".{rest:09}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()}{decimals}Z"


_shown_bound = lru_cache(maxsize=64)(_shown_time)
"""A body of a wrong precision has thousands of lines beyond the same one."""
