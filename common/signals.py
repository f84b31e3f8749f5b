"""Signals: how a process is asked to stop, and how a short step is kept whole.

Every process of penstock stops in two steps. The first signal asks for its ordered end. A second one does not wait for
that, and is always safe: nothing is acknowledged before it is durable.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

ORDERED_STOP = (signal.SIGTERM, signal.SIGINT)
OnSignal = Callable[[int], object]


def end_at_once(number: int) -> None:
    """End this process without any more work, with the exit code that shells give for the signal."""
    os._exit(128 + number)


@contextmanager
def stop_signals(
    first: OnSignal, again: OnSignal = end_at_once, numbers: Sequence[signal.Signals] = ORDERED_STOP
) -> Iterator[None]:
    """Within the block, `first` is called with the first of these signals and `again` with each later one.

    Both run on the main thread between any two of its instructions: they only set flags, or hand over to an event loop
    with call_soon_threadsafe. Enter it on the main thread.
    """
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        act, asked = again if asked else first, True
        act(number)

    before = [(number, signal.signal(number, on_signal)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A SIGINT that comes within the block is handled after it. Keep the block short: it must not wait for anything."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # Python's handlers run on the main thread alone
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[0])
