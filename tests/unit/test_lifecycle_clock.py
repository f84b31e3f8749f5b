"""The lifecycle's clock: log time while catching up, wall time after, and never waiting for a clock to come round."""

from hypothesis import given
from hypothesis import strategies as st

from ingester.core.clock import SKEW_NS, LifecycleClock

HOUR_NS = 3_600_000_000_000
NOON_NS = 1_700_000_000_000_000_000


def test_while_catching_up_it_follows_the_records() -> None:
    """Ticks say nothing until the end of the log is reached; then the wall clock does."""
    clock = LifecycleClock()
    clock.tick(NOON_NS, caught_up=False)
    clock.read(NOON_NS - HOUR_NS)
    clock.tick(NOON_NS + 1, caught_up=False)
    assert clock.now_ns == NOON_NS - HOUR_NS
    clock.tick(NOON_NS + 2, caught_up=True)
    assert clock.now_ns == NOON_NS + 2


def test_a_router_ahead_is_believed_for_a_moment_only() -> None:
    """A record from tomorrow arrives now."""
    clock = LifecycleClock()
    clock.tick(NOON_NS, caught_up=True)
    clock.read(NOON_NS + 24 * HOUR_NS)
    assert clock.now_ns == NOON_NS + SKEW_NS


def test_a_wall_clock_set_back_does_not_stop_time() -> None:
    """What passes from tick to tick counts on."""
    clock = LifecycleClock()
    clock.tick(NOON_NS, caught_up=True)
    clock.tick(NOON_NS - 8 * HOUR_NS, caught_up=True)
    assert clock.now_ns == NOON_NS
    clock.tick(NOON_NS - 7 * HOUR_NS, caught_up=True)
    assert (clock.now_ns, clock.elapsed_ns) == (NOON_NS + HOUR_NS, HOUR_NS)


@given(st.lists(st.tuples(st.sampled_from(["read", "tick", "behind"]), st.integers(0, 2**62)), max_size=30))
def test_time_never_goes_back(steps: list[tuple[str, int]]) -> None:
    """For any clocks and records; while caught up it is never behind the wall clock either."""
    clock = LifecycleClock()
    for kind, ns in steps:
        before = clock.now_ns
        if kind == "read":
            clock.read(ns)
        else:
            clock.tick(ns, caught_up=kind == "tick")
            assert kind == "behind" or clock.now_ns >= ns
        assert clock.now_ns >= before
