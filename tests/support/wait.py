"""Waiting for the world without sleeping and hoping: look again until it holds, and say what was seen last."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.02
"""Between two looks: short compared with a test, long enough not to starve the two cores that the waited-for needs."""


class NeverHeld(AssertionError):
    """What was waited for did not come; the message holds the last state seen."""


def wait_until(
    look: Callable[[], T], *, holds: Callable[[T], object] = bool, timeout_s: float = 20.0, what: str = ""
) -> T:
    """Call `look` until `holds(state)`, and return that state.

    look: cheap and free of side effects. It may raise OSError or LookupError for "not there yet"; any other error is
    the test's own and comes through. Raises NeverHeld with the last state, or the last error, at the timeout.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen: object
        try:
            seen = state = look()
            if holds(state):
                return state
        except (OSError, LookupError) as error:
            seen = error
        if time.monotonic() > deadline:
            raise NeverHeld(f"{what or 'condition'} did not hold within {timeout_s:g} s; last seen: {seen!r}")
        time.sleep(PAUSE_S)
