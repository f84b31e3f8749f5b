"""Something that goes on, on a thread of its own, while a test does its worst."""

import threading
from abc import ABC, abstractmethod
from typing import Self


class Acting(ABC):
    """From where the block is entered until it is stopped. What it raises ends it, and is for the test to raise."""

    def __init__(self, name: str) -> None:
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._act, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def stop(self, timeout_s: float) -> None:
        """Returns when it has come to its end, at the latest after `timeout_s`."""
        self._stopped.set()
        self._thread.join(timeout_s)

    def _act(self) -> None:
        try:
            self._run()
        except Exception as error:  # noqa: BLE001  the test's own thread raises it
            self._error = error

    @abstractmethod
    def _run(self) -> None:
        """Until `self._stopped`."""
