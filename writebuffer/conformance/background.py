"""Calls that may block, on threads that never keep the process from ending."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(act: "Callable[[], T]") -> "Future[T]":
    """Call `act` on a daemon thread of its own; the future has what it returns or raises."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001  the future has it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
