"""Signals: a stop in two steps, and Ctrl-C within a step that must not be cut short."""

import signal
import threading

import pytest

from common.signals import interrupts_held, stop_signals


def test_ctrl_c_waits_for_the_end_of_the_step() -> None:
    """Once, however often it was pressed; afterwards it interrupts as ever."""
    done = []

    def step() -> None:
        with interrupts_held():
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        step()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_without_ctrl_c_nothing_happens() -> None:
    """An error of the step comes through, the handler is the one before."""
    with pytest.raises(ValueError, match="mine"), interrupts_held():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_on_another_thread_it_changes_nothing() -> None:
    """Python lets the main thread alone set handlers."""
    entered = []

    def step() -> None:
        with interrupts_held():
            entered.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert entered == [signal.default_int_handler]


def test_a_stop_is_asked_for_once_and_then_not_waited_for() -> None:
    """The first signal, of either kind, calls `first`; every later one calls `again`; then all is as before."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    came: list[tuple[str, int]] = []
    with stop_signals(lambda number: came.append(("first", number)), lambda number: came.append(("again", number))):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
    assert came == [("first", signal.SIGINT), ("again", signal.SIGTERM), ("again", signal.SIGTERM)]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_second_signal_counts_while_the_first_is_still_handled() -> None:
    """An ordered end that hangs in its very beginning can be cut short too."""
    came = []

    def first(number: int) -> None:
        signal.raise_signal(signal.SIGTERM)
        came.append("first")

    with stop_signals(first, lambda number: came.append("again")):
        signal.raise_signal(signal.SIGTERM)
    assert came == ["again", "first"]
