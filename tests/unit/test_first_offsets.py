"""The least of many offsets under names, against a dict that is looked through each time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingester.buffer import first_offsets
from ingester.buffer.first_offsets import FirstOffsets

names = st.integers(0, 6)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), names, st.integers(0, 20)),
        st.tuples(st.just("remove"), names, st.just(0)),
    ),
    max_size=60,
)


@given(changes, st.sets(names))
def test_it_is_the_least_of_what_is_there(drawn: list[tuple[str, int, int]], without: set[int]) -> None:
    """After every change, with and without some of the names."""
    offsets, model = FirstOffsets(), dict[int, int]()
    for kind, name, offset in drawn:
        if kind == "put":
            offsets.put(name, offset)
            model[name] = offset
        else:
            offsets.remove(name)
            model.pop(name, None)
        assert len(offsets) == len(model)
        assert offsets.least() == min(model.values(), default=None)
        left = [found for name, found in model.items() if name not in without]
        assert offsets.least(without) == min(left, default=None)


def test_the_cost_does_not_follow_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand names, each put, asked for the least and removed: a few heap steps each."""
    steps = 0
    original = first_offsets.heapq.heappop

    def counted(heap: list[tuple[int, int, object]]) -> object:
        nonlocal steps
        steps += 1
        return original(heap)

    monkeypatch.setattr(first_offsets.heapq, "heappop", counted)
    offsets = FirstOffsets()
    for number in range(10_000):
        offsets.put(number, number)
    for number in range(10_000):
        assert offsets.least() == number
        assert offsets.least([number]) == (number + 1 if number < 9_999 else None)
        offsets.remove(number)
    assert steps <= 3 * 10_000
