"""Trying again while something is away, and ending when a stop is asked for."""

import threading

import pytest

from common import retrying
from common.retrying import keep_trying
from common.values.errors import Misconfigured, PenstockError, Unavailable


class Stopped(threading.Event):
    """An event whose waits pass at once and are written down."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        return self.is_set()


def failing(errors: list[PenstockError]) -> str:
    if errors:
        raise errors.pop(0)
    return "there"


def test_it_is_tried_until_it_succeeds_with_growing_pauses() -> None:
    """Each failure is reported with the pause that follows; pauses double up to their bound."""
    stopped = Stopped()
    errors: list[PenstockError] = [Unavailable(str(number)) for number in range(8)]
    said: list[tuple[str, float]] = []
    found = keep_trying(lambda: failing(errors), stopped, lambda error, pause_s: said.append((error.message, pause_s)))
    assert found == "there"
    assert [reason for reason, _ in said] == [str(number) for number in range(8)]
    assert [pause_s for _, pause_s in said] == stopped.pauses == [0.25, 0.5, 1, 2, 4, 5, 5, 5]
    assert stopped.pauses[-1] == retrying.PAUSE_S_MAX


def test_a_stop_ends_it_without_a_result() -> None:
    """Also one that was asked for before the first attempt, or while one was made."""
    stopped = Stopped()
    tried = []

    def step() -> None:
        tried.append(1)
        stopped.set()
        raise Unavailable("away")

    assert keep_trying(step, stopped, lambda error, pause_s: None) is None
    assert keep_trying(step, stopped, lambda error, pause_s: None) is None
    assert tried == [1]


def test_what_a_retry_cannot_cure_is_raised() -> None:
    """Unless the caller retries every error."""
    with pytest.raises(Misconfigured, match="wrong"):
        keep_trying(lambda: failing([Misconfigured("wrong")]), Stopped(), lambda error, pause_s: None)
    errors: list[PenstockError] = [Misconfigured("wrong")]
    found = keep_trying(lambda: failing(errors), Stopped(), lambda error, pause_s: None, retried=PenstockError)
    assert found == "there"
