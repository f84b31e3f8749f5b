"""Looks that may hang, and who must not wait for them."""

import threading

from common.catalog.bounded_look import BoundedLook
from tests.support.wait import wait_until


def test_a_look_that_comes_back_is_waited_for() -> None:
    seen: list[int] = []
    look = BoundedLook(lambda: seen.append(1), timeout_s=20)
    assert [look.wait(), look.wait()] == [True, True]
    assert seen == [1, 1]


def test_while_one_hangs_nobody_waits_and_no_other_begins() -> None:
    """And once it came back, looks are made again."""
    back, begun = threading.Event(), []

    def hang() -> None:
        begun.append(1)
        back.wait()

    look = BoundedLook(hang, timeout_s=0.01)
    assert [look.wait() for _ in range(5)] == [False] * 5
    assert len(begun) == 1
    back.set()
    wait_until(look.wait, what="a look that comes back")
    assert len(begun) > 1
