"""Worker threads whose end can be waited for with a limit.

Daemons, unlike those of concurrent.futures: a call to a store that hangs does not hold the end of the process up.
"""

import queue
import time
from collections.abc import Callable
from threading import Thread

Work = Callable[[], None]


class Workers:
    """Runs what is submitted on `count` threads, begun in order of submission."""

    def __init__(self, count: int, name: str, fail: Callable[[BaseException], None]) -> None:
        """fail: called on the worker with what a piece of work raised; the worker goes on."""
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._fail = fail
        self._threads = [Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work) -> None:
        self._work.put(work)

    def stop(self, timeout_s: float) -> bool:
        """Forget what has not begun and wait for what has; false where something still ran after `timeout_s`."""
        self._forget()
        for _ in self._threads:
            self._work.put(None)
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _forget(self) -> None:
        try:
            while True:
                self._work.get_nowait()
        except queue.Empty:
            return

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  the owner decides what it means
                self._fail(error)
