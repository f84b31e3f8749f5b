"""Acknowledgements that come later: calls made after a delay, in order, on a thread that lives while any is due."""

import threading
import time
from collections import deque
from collections.abc import Callable

Later = Callable[[float, Callable[[], None]], None]
"""later(delay_s, act): call `act` once `delay_s` have passed. A simulation gives one that moves by its own clock."""


class LaterThread:
    """A `Later` for delays that are all equal, so that what was asked first is due first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: deque[tuple[float, Callable[[], None]]] = deque()
        self._is_running = False

    def __call__(self, delay_s: float, act: Callable[[], None]) -> None:
        with self._lock:
            self._due.append((time.monotonic() + delay_s, act))
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="memory-latency", daemon=True).start()

    def _run(self) -> None:
        while (next_due := self._next()) is not None:
            due_s, act = next_due
            if (wait_s := due_s - time.monotonic()) > 0:
                time.sleep(wait_s)
            act()

    def _next(self) -> tuple[float, Callable[[], None]] | None:
        with self._lock:
            if not self._due:
                self._is_running = False
                return None
            return self._due.popleft()
