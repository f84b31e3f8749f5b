"""Ctrl-C within a step that must not be cut short."""

import signal
import threading

import pytest

from penstock.interrupts import interrupts_held


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
