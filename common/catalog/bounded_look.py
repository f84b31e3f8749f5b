"""A look at something that may hang, from threads that must not.

A call to a hard-mounted network folder comes back when its server does. Whoever answers health checks, or decides how a
process ends, asks this instead: the look runs on a thread of its own, one at a time, and is waited for only so long.
"""

import threading
import time
from collections.abc import Callable

LOOK_S = 1.0
"""Far longer than a look at a folder that works."""


class BoundedLook:
    """Safe from any thread."""

    def __init__(self, look: Callable[[], None], timeout_s: float = LOOK_S) -> None:
        """look: reports what it finds elsewhere, and raises nothing."""
        self._look = look
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._under_way: threading.Event | None = None
        self._began_s = 0.0

    def wait(self) -> bool:
        """Look now; false where the look has been under way for longer than `timeout_s`.

        While one hangs no other begins, and nobody waits for it again.
        """
        with self._lock:
            if self._under_way is None:
                self._under_way, self._began_s = threading.Event(), time.monotonic()
                threading.Thread(target=self._run, args=[self._under_way], name="look", daemon=True).start()
            done, left_s = self._under_way, self._began_s + self._timeout_s - time.monotonic()
        return done.wait(max(0.0, left_s))

    def _run(self, done: threading.Event) -> None:
        try:
            self._look()
        finally:
            with self._lock:
                self._under_way = None
            done.set()
