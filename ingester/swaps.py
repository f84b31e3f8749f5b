"""Swaps that other processes asked for over HTTP, and who waits for their answers."""

import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from common.catalog.manifest.swap import Swap
from common.values.errors import Unavailable
from ingester.core.events import Answer


class AskedSwaps:
    """Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Swap, Future[Answer]]] = []
        self._ended = False

    def ask(self, swap: Swap) -> "Future[Answer]":
        """Resolves with its answer; fails with Unavailable once the ingester has ended."""
        future: Future[Answer] = Future()
        with self._lock:
            self._waiting.append((swap, future))
            ended = self._ended
        if ended:
            self.end()
        return future

    def answer(self, answer: Answer) -> None:
        with self._lock:
            answered = [future for swap, future in self._waiting if swap is answer.swap]
            self._waiting = [each for each in self._waiting if each[0] is not answer.swap]
        for future in answered:
            with suppress(InvalidStateError):  # who asked went away meanwhile
                future.set_result(answer)

    def end(self) -> None:
        """Nothing is committed any more. What was asked for may have been."""
        with self._lock:
            self._ended = True
            waiting, self._waiting = self._waiting, []
        for swap, future in waiting:
            with suppress(InvalidStateError):
                future.set_exception(
                    Unavailable(f"sequencer {swap.sequencer}: its ingester stops; ask again", written="unknown")
                )
