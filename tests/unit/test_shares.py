"""Shares of one amount: what a client can take from the others, and what it cannot."""

from hypothesis import given
from hypothesis import strategies as st

from common.values.shares import Shares

LIMIT = 1_000


def fill(shares: Shares, client: str, count: int = 1) -> int:
    """Take until it is refused; returns what the client holds."""
    while shares.take(client, count):
        pass
    return shares.of(client)


def test_one_client_alone_holds_half() -> None:
    """The other half is there for whoever comes."""
    assert fill(Shares(LIMIT), "a") == LIMIT // 2


def test_one_request_may_take_all_that_is_free() -> None:
    """A large body fits an idle process, and half of the room beside a client that takes all it can."""
    shares = Shares(LIMIT)
    assert shares.take("a", LIMIT)
    shares.give_back("a", LIMIT)
    fill(shares, "a")
    assert shares.take("b", LIMIT // 2)
    assert not shares.take("c", 1)


def test_a_request_that_grows_is_judged_as_one() -> None:
    """Part by part it may take what it could take at once."""
    shares = Shares(LIMIT)
    for held in range(0, LIMIT, 100):
        assert shares.take("a", 100, of_request=held)
    assert not shares.take("a", 1, of_request=LIMIT)


def test_clients_that_take_all_they_can_end_with_equal_shares() -> None:
    """Whatever they held at first: n of them hold 1/(n+1) each, once what they hold has come and gone."""
    shares = Shares(LIMIT)
    clients = ["a", "b", "c"]
    for _ in range(100):
        for client in clients:
            fill(shares, client)
            shares.give_back(client, shares.of(client) // 10)
    assert all(abs(fill(shares, client) - LIMIT // 4) < LIMIT // 20 for client in clients)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 300), st.booleans())))
def test_whatever_is_taken_and_given_back_the_limit_holds(steps: list[tuple[str, int, bool]]) -> None:
    """The sum is that of the clients, never above the limit; no client's several requests have more than half of what
    the others leave, at the moment they take it; and a client without anything gets whatever is free."""
    shares = Shares(LIMIT)
    held = dict.fromkeys("abc", 0)
    for client, count, takes in steps:
        if takes:
            others = sum(held.values()) - held[client]
            allowed = count <= LIMIT - others if not held[client] else held[client] + count <= (LIMIT - others) // 2
            assert shares.take(client, count) == allowed
            held[client] += count if allowed else 0
        else:
            count = min(count, held[client])
            shares.give_back(client, count)
            held[client] -= count
        assert shares.held == sum(held.values()) <= LIMIT
        assert {client: shares.of(client) for client in held} == held
        assert shares.clients == sum(1 for count in held.values() if count)
