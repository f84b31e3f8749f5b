"""What parses for a router without worker processes: the same function, on one thread of this process."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from router.core.events import Parse, Parsed, ParseFailed
from router.parsing.batch import BatchParser
from router.workers.worker import answer


class LocalParser:
    """One slot. `parse` returns the event that answers the action; a driver that parses step by step calls nothing
    else."""

    def __init__(self, sequencers: int, parser: BatchParser | None = None) -> None:
        self._parser = parser or BatchParser(sequencers)
        self._cancelled: set[int] = set()

    def parse(self, action: Parse) -> Parsed | ParseFailed:
        return answer(self._parser, action, lambda: action.batch_id in self._cancelled).event

    def cancel(self, batch_id: int) -> None:
        self._cancelled.add(batch_id)


class ThreadParsers:
    """As router.workers.Workers, for a router's service in this process."""

    slots = 1

    def __init__(self, sequencers: int, call_soon: Callable[..., object]) -> None:
        """call_soon: the loop's call_soon_threadsafe."""
        self._parser = LocalParser(sequencers)
        self._call_soon = call_soon
        self._thread = ThreadPoolExecutor(1, "parse")

    def open(self, report: Callable[[Parsed | ParseFailed], None], on_restart: Callable[[], None]) -> None:
        self._report = report

    def parse(self, action: Parse) -> None:
        self._thread.submit(lambda: self._call_soon(self._report, self._parser.parse(action)))

    def cancel(self, batch_id: int) -> None:
        self._parser.cancel(batch_id)

    def figures(self) -> Mapping[str, Mapping[str, int | None]]:
        return {}

    def close(self) -> None:
        self._thread.shutdown()
