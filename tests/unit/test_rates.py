"""What one client may send per second, where that is limited."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.rates import BURST_S, ClientRates, Rate

NOW_S = 1_000.0


def test_without_a_limit_nothing_is_ever_refused_or_remembered() -> None:
    """Both are off by default."""
    rates, rate = ClientRates(), Rate(0)
    for _ in range(1_000):
        assert rates.admit("a", NOW_S) is None
        rates.charge_bytes("a", 10**9, NOW_S)
        rate.charge("a", 10**9, NOW_S)
    assert len(rate) == 0


def test_a_client_has_its_burst_and_then_its_rate() -> None:
    """Ten seconds' worth at once, and then one each eighth of a second; another client has its own."""
    rates = ClientRates(requests_per_s=8)
    sent = 0
    while rates.admit("a", NOW_S) is None:
        sent += 1
    assert sent == 8 * BURST_S + 1
    refusal = rates.admit("a", NOW_S)
    assert refusal is not None
    assert refusal[0] == 1
    assert "8 requests per second (client_requests_per_s)" in refusal[1]
    assert rates.admit("b", NOW_S) is None
    assert rates.admit("a", NOW_S + 0.125) is None
    assert rates.admit("a", NOW_S + 0.126) is not None


@pytest.mark.parametrize(("size", "wait_s"), [(100, 0), (1_000, 0), (1_001, 1), (2_000, 10), (100_000, 990)])
def test_a_large_body_is_paid_for_afterwards(size: int, wait_s: int) -> None:
    """It is taken, and the next one has to wait whole seconds."""
    rates = ClientRates(bytes_per_s=100)
    assert rates.admit("a", NOW_S) is None
    rates.charge_bytes("a", size, NOW_S)
    refusal = rates.admit("a", NOW_S)
    assert (refusal[0] if refusal else 0) == wait_s
    assert rates.admit("a", NOW_S + wait_s) is None


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 500)), max_size=60), st.integers(1, 100))
def test_over_any_time_a_client_sends_its_rate_a_burst_and_one_body(
    requests: list[tuple[float, int]], per_s: int
) -> None:
    """From each charge on: never more than the rate, ten seconds' worth, and the last body that went beyond; and who is
    refused is admitted after the wait that it was told."""
    rate = Rate(per_s)
    now_s, charged = NOW_S, []
    for pause_s, count in requests:
        now_s += pause_s
        wait_s = rate.wait_s("a", now_s)
        if wait_s:
            assert rate.wait_s("a", now_s + wait_s + 1e-6) == 0
            continue
        rate.charge("a", count, now_s)
        charged.append((now_s, count))
        for first in range(len(charged)):
            began_s = charged[first][0]
            total = sum(one for _, one in charged[first:])
            assert total <= per_s * (now_s - began_s + BURST_S) + count + 1e-3


def test_clients_that_owe_nothing_are_forgotten() -> None:
    """Of any number of addresses that sent once, few are remembered."""
    rate = Rate(1)
    for n in range(100_000):
        rate.charge(f"client {n}", 1, NOW_S + n)
    assert len(rate) < 2_100
