"""When a child that died is started again."""

from hypothesis import given
from hypothesis import strategies as st

from common.values.clock import FakeClock
from penstock.cluster.restart import (
    DELAY_S,
    DELAY_S_MAX,
    HEALTHY_S,
    REFUSALS_MAX,
    RIGHT_AWAY_S,
    GiveUp,
    RestartAfter,
    RestartPolicy,
)

REFUSED = 2


def run_for(policy: RestartPolicy, clock: FakeClock, seconds: float, code: int) -> RestartAfter | GiveUp:
    policy.started()
    clock.advance(seconds)
    return policy.exited(code)


def test_delays_double_up_to_the_cap() -> None:
    """A child that dies again and again is started ever more rarely, but never more rarely than the cap."""
    clock = FakeClock()
    policy = RestartPolicy(clock)
    delays = [run_for(policy, clock, 1.0, -9) for _ in range(9)]
    assert delays == [RestartAfter(min(DELAY_S_MAX, DELAY_S * 2**n)) for n in range(9)]
    assert delays[-1] == RestartAfter(DELAY_S_MAX)


def test_a_healthy_minute_forgets_the_failures() -> None:
    """A child that ran for a minute starts again as quickly as one that never failed."""
    clock = FakeClock()
    policy = RestartPolicy(clock)
    for _ in range(5):
        run_for(policy, clock, 1.0, 1)
    assert run_for(policy, clock, HEALTHY_S - 1, 1) == RestartAfter(DELAY_S * 2**5)
    assert run_for(policy, clock, HEALTHY_S, 1) == RestartAfter(DELAY_S)


def test_a_refused_configuration_is_given_up_at_once() -> None:
    """Exit code 2 right after the first start would only be said again."""
    clock = FakeClock()
    assert run_for(RestartPolicy(clock), clock, 0.5, REFUSED) == GiveUp(1)


def test_a_refusal_of_a_child_that_was_ready_is_tried_a_few_times() -> None:
    """A port that is in use for a moment does not stop a cluster that ran; one that stays in use does."""
    clock = FakeClock()
    policy = RestartPolicy(clock)
    policy.started()
    policy.ready()
    clock.advance(5.0)
    policy.exited(-9)
    outcomes = [run_for(policy, clock, 0.5, REFUSED) for _ in range(REFUSALS_MAX)]
    assert all(isinstance(outcome, RestartAfter) for outcome in outcomes[:-1])
    assert outcomes[-1] == GiveUp(REFUSALS_MAX)


def test_becoming_ready_forgets_the_refusals() -> None:
    """Refusals count only in a row."""
    clock = FakeClock()
    policy = RestartPolicy(clock)
    policy.ready()
    for _ in range(REFUSALS_MAX - 1):
        run_for(policy, clock, 0.5, REFUSED)
    policy.started()
    policy.ready()
    assert isinstance(policy.exited(REFUSED), RestartAfter)


def test_exit_code_2_of_a_child_that_ran_a_while_is_a_failure_like_others() -> None:
    """What was accepted at the start cannot be the reason for an end much later."""
    clock = FakeClock()
    assert run_for(RestartPolicy(clock), clock, RIGHT_AWAY_S, REFUSED) == RestartAfter(DELAY_S)


@given(st.lists(st.tuples(st.floats(0, 200), st.sampled_from([-9, 0, 1, 3, 4, 5]))))
def test_what_is_no_refusal_is_always_started_again_within_the_cap(lives: list[tuple[float, int]]) -> None:
    """After any end but a refused configuration a child comes back, after DELAY_S to DELAY_S_MAX."""
    clock = FakeClock()
    policy = RestartPolicy(clock)
    for seconds, code in lives:
        outcome = run_for(policy, clock, seconds, code)
        assert isinstance(outcome, RestartAfter)
        assert DELAY_S <= outcome.delay_s <= DELAY_S_MAX
