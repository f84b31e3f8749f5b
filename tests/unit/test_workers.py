"""Worker threads: everything submitted runs, failures are reported, and a hanging call does not hold the end up."""

import threading
import time

from ingester.workers import Workers


def test_what_is_submitted_runs_in_order_on_one_worker() -> None:
    """And `stop` waits for what has begun."""
    done: list[int] = []
    workers = Workers(1, "test", lambda error: None)
    begun = threading.Event()
    for number in range(3):
        workers.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    workers.submit(begun.set)
    assert begun.wait(10)
    assert workers.stop(10)
    assert done == [0, 1, 2]


def test_a_failure_is_reported_and_the_worker_goes_on() -> None:
    """With the error itself."""
    errors: list[BaseException] = []
    workers = Workers(1, "test", errors.append)
    after = threading.Event()

    def fail() -> None:
        raise ValueError("no")

    workers.submit(fail)
    workers.submit(after.set)
    assert after.wait(10)
    assert [str(error) for error in errors] == ["no"]
    assert workers.stop(10)


def test_a_hanging_call_does_not_hold_the_end_up() -> None:
    """stop returns at its timeout; what had not begun is forgotten."""
    hanging, forgotten = threading.Event(), threading.Event()
    workers = Workers(1, "test", lambda error: None)
    begun = threading.Event()

    def hang() -> None:
        begun.set()
        hanging.wait(60)

    workers.submit(hang)
    workers.submit(forgotten.set)
    assert begun.wait(10)
    started_s = time.monotonic()
    assert not workers.stop(0.1)
    assert time.monotonic() - started_s < 10
    hanging.set()
    assert workers.stop(10)
    assert not forgotten.is_set()
