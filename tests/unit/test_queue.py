"""Which requests are parsed together, and whose turn it is."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from router.core.events import WriteRequest
from router.core.in_flight import Waiting
from router.core.queue import Queue
from router.parsing.time_bounds import ANY_TIME


def waiting(request_id: int, client: str, namespace: str = "ns", size: int = 10, alone: bool = False) -> Waiting:
    return Waiting(request_id, WriteRequest(namespace, b"#" * size, 1, client=client), 0, ANY_TIME, alone)


def batches(queue: Queue, bytes_max: int) -> list[list[int]]:
    """The request ids of all batches there are."""
    found = []
    while queue:
        found.append([one.request_id for one in queue.next_batch(bytes_max)])
    return found


def queue_of(*ones: Waiting) -> Queue:
    queue = Queue()
    for one in ones:
        queue.add(one)
    return queue


def test_one_client_s_requests_are_parsed_in_their_order() -> None:
    """As many together as fit."""
    queue = queue_of(*(waiting(n, "a") for n in range(5)))
    assert batches(queue, 20) == [[0, 1], [2, 3], [4]]


def test_a_client_with_one_request_is_in_the_next_batch() -> None:
    """However many of another came before it."""
    queue = queue_of(*(waiting(n, "a") for n in range(100)), waiting(100, "b"))
    assert queue.next_batch(30)[1].request_id == 100


def test_a_client_with_many_namespaces_has_one_turn() -> None:
    """Another's one namespace is not one of a hundred: it is second."""
    queue = queue_of(*(waiting(n, "a", namespace=f"n{n}") for n in range(100)), waiting(100, "b"))
    assert batches(queue, 30)[1] == [100]


def test_a_client_with_large_bodies_does_not_fill_the_batches_of_another() -> None:
    """Each has its turn: a small body waits for one large one, not for all."""
    queue = queue_of(*(waiting(n, "a", size=100) for n in range(5)), *(waiting(n, "b") for n in range(10, 13)))
    assert batches(queue, 100) == [[0], [10, 11, 12], [1], [2], [3], [4]]


def test_a_request_that_is_alone_gets_a_batch_of_its_own() -> None:
    """Neither does it join others, nor others it."""
    queue = queue_of(waiting(1, "a"), waiting(2, "a", alone=True), waiting(3, "a"))
    assert batches(queue, 100) == [[1], [2], [3]]


def test_requests_that_are_put_back_come_first_and_in_their_order() -> None:
    """Before later ones of the same client and namespace."""
    queue = queue_of(*(waiting(n, "a") for n in range(4)))
    queue.add_first(queue.next_batch(20))
    assert batches(queue, 20) == [[0, 1], [2, 3]]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.integers(1, 60)), max_size=60),
    st.sets(st.integers(0, 60)),
)
def test_every_request_is_in_one_batch_and_no_client_waits_for_long(
    requests: list[tuple[str, str, int]], removed: set[int]
) -> None:
    """Batches have one namespace and fit, keep each client's order within a namespace, leave out what was removed; and
    whoever has something queued begins one of the next four batches."""
    ones = [waiting(n, client, namespace, size) for n, (client, namespace, size) in enumerate(requests)]
    queue = queue_of(*ones)
    for n in removed:
        assert (queue.remove(n) is not None) == (n < len(ones))
    left = [one for one in ones if one.request_id not in removed]
    assert len(queue) == len(left)
    seen: list[Waiting] = []
    passed_over: Counter[str] = Counter()
    while queue:
        batch = queue.next_batch(100)
        assert {one.request.namespace for one in batch} == {batch[0].request.namespace}
        assert sum(len(one.request.body) for one in batch) <= 100
        seen += batch
        queued = {one.request.client for one in left if one not in seen}
        passed_over = Counter({client: passed_over[client] + 1 for client in queued - {batch[0].request.client}})
        assert not passed_over or max(passed_over.values()) < 4
    assert sorted(one.request_id for one in seen) == [one.request_id for one in left]
    for client in "abcd":
        for namespace in "xyz":
            mine = [
                one.request_id for one in seen if (one.request.client, one.request.namespace) == (client, namespace)
            ]
            assert mine == sorted(mine)
