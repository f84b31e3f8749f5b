"""What a process does while its write buffer is away: it tries again, after growing pauses, until it stops."""

import threading
from collections.abc import Callable
from typing import TypeVar

from common.values.errors import PenstockError, Unavailable

T = TypeVar("T")

PAUSE_S = 0.25
PAUSE_S_MAX = 5.0


def keep_trying(
    step: Callable[[], T],
    stopped: threading.Event,
    on_failure: Callable[[PenstockError, float], None],
    *,
    retried: type[PenstockError] = Unavailable,
) -> T | None:
    """What `step` returns once it succeeds; None once `stopped` is set, which also ends a pause.

    retried: the errors after which it is tried again, each given to `on_failure` with the pause that follows, in
    seconds. Every other error is raised.
    """
    pause_s = PAUSE_S
    while not stopped.is_set():
        try:
            return step()
        except retried as error:
            on_failure(error, pause_s)
        stopped.wait(pause_s)
        pause_s = min(2 * pause_s, PAUSE_S_MAX)
    return None
