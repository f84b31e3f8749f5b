"""What a router has to close at its end, opened by threads that may still be at it when the end comes."""

import threading
from collections.abc import Callable
from contextlib import ExitStack


class Opened:
    """Closes, in the reverse order of `keep`, what was opened; what is opened later is closed at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._closing = ExitStack()

    def keep(self, close: Callable[[], object]) -> bool:
        """Call `close` at the end. False: the end is past, `close` was called, and what it closes is not to be used."""
        with self._lock:
            if not self._is_closed:
                self._closing.callback(close)
                return True
        close()
        return False

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
        self._closing.close()
