"""All workers of one router."""

from collections.abc import Callable, Mapping
from functools import partial

from common.logs import Logger
from router.core.events import Parse
from router.workers.process import WorkerProcess
from router.workers.slot import Report, Slot


class Workers:
    """A context: its processes are started by the constructor, while the rest of the router starts, and killed at its
    end. Between, on one event loop, a driver opens it and has batches parsed.
    """

    def __init__(self, count: int, sequencers: int, log: Logger) -> None:
        """Raises OSError."""
        self.slots = count
        self._slots: list[Slot] = []
        start = partial(WorkerProcess, sequencers)
        try:
            for number in range(count):
                self._slots.append(Slot(number, start, log))
        except OSError:
            self.close()
            raise

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        for slot in self._slots:
            slot.close()

    def open(self, report: Report, on_restart: Callable[[], None]) -> None:
        """From now on, on the running event loop, batches are parsed, and workers that died have successors.

        report: called once for each `parse`, on the loop.
        """
        for slot in self._slots:
            slot.open(report, on_restart)

    def parse(self, action: Parse) -> None:
        """Begin, or wait until that slot's worker has done what it was given before."""
        self._slots[action.slot].parse(action)

    def cancel(self, batch_id: int) -> None:
        """Nobody waits for this batch any longer: its parse ends soon, with its failure. It may be unknown here."""
        for slot in self._slots:
            slot.cancel(batch_id)

    def figures(self) -> Mapping[str, Mapping[str, int | None]]:
        """For the status page, by slot."""
        return {str(number): slot.figures() for number, slot in enumerate(self._slots)}
