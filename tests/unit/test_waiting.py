"""Timeouts of every backend: which are accepted, what a long one is, and that one deadline serves several waits."""

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.values.clock import FakeClock
from common.values.errors import InvalidRequest
from writebuffer.waiting import Deadline, bounded_s


@given(st.floats(min_value=0, allow_nan=False) | st.integers(min_value=0))
def test_every_timeout_can_be_waited_for(timeout_s: float) -> None:
    """However long, infinite included: a lock takes it, and so it does what is left of a deadline."""
    event = threading.Event()
    event.set()
    for wait_s in (bounded_s(timeout_s), Deadline(timeout_s).left_s()):
        assert 0 <= wait_s <= threading.TIMEOUT_MAX
        assert event.wait(wait_s)


@pytest.mark.parametrize(
    ("timeout_s", "waits_s"), [(0, 0), (0.25, 0.25), (7, 7), (-0.0, 0), (-1, 0), (-1e300, 0), (-math.inf, 0)]
)
def test_what_is_no_longer_than_a_lifetime_is_waited_for_exactly(timeout_s: float, waits_s: float) -> None:
    """A negative timeout is one that has passed: what is left of somebody's deadline may be."""
    assert bounded_s(timeout_s) == waits_s


@pytest.mark.parametrize("timeout_s", [math.nan, None, "1", b"", [1], 1j])
def test_what_is_no_number_of_seconds_is_refused(timeout_s: object) -> None:
    """With what was given; nothing has waited by then."""
    with pytest.raises(InvalidRequest, match="number of seconds") as raised:
        bounded_s(timeout_s)  # type: ignore[arg-type]
    assert repr(timeout_s) in str(raised.value)


def test_a_deadline_is_shared() -> None:
    """What one wait has used up the next has no more; once it is over nothing is left, never less."""
    clock = FakeClock()
    deadline = Deadline(10, clock)
    clock.advance(4)
    assert (deadline.left_s(), deadline.is_over) == (6, False)
    clock.advance(6)
    assert (deadline.left_s(), deadline.is_over) == (0, True)
    clock.advance(1)
    assert (deadline.left_s(), deadline.is_over) == (0, True)
