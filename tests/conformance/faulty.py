"""What breaks a backend on purpose: its calls are wrapped, and their arguments or results changed.

`on_poll(cursor, poll, ...)` of a fault is called in place of the cursor's own `poll`, and so for every other name.
"""

import inspect
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, ClassVar


class Fault:
    group: ClassVar[str]
    base: ClassVar[str] = "memory"
    caught_by: ClassVar[dict[str, str]]
    """Tests of the group that must fail, each with a part of the reason: to fail for any other is no catch."""
    hangs: ClassVar[bool] = False
    """Whether the suite has to wait in vain until it notices."""

    def __init__(self, backend: Any) -> None:
        """One for each buffer."""
        self.backend = backend

    def break_into(self, target: Any) -> Any:
        """Put every `on_NAME` of the fault before `target`'s own NAME, where it has one."""
        for name, hook in inspect.getmembers(self, inspect.ismethod):
            real = getattr(target, name.removeprefix("on_"), None)
            if name.startswith("on_") and real is not None:
                setattr(target, name.removeprefix("on_"), partial(hook, target, real))
        return target


def _same(found: Any) -> Any:
    return found


def then(
    real: "Future[Any]", change: Callable[[Any], Any] = _same, change_error: Callable[[Any], Any] = _same
) -> "Future[Any]":
    """A future of what these make of the real one's result, or of its error."""
    seen: Future[Any] = Future()
    seen.set_running_or_notify_cancel()
    real.add_done_callback(lambda _: pass_on(real, seen, change, change_error))
    return seen


def pass_on(
    real: "Future[Any]",
    seen: "Future[Any]",
    change: Callable[[Any], Any] = _same,
    change_error: Callable[[Any], Any] = _same,
) -> None:
    if error := real.exception():
        seen.set_exception(change_error(error))
    else:
        seen.set_result(change(real.result()))
