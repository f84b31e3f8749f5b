"""A reader that follows one sequencer on a thread while a test does its worst, and keeps what it was given."""

from types import TracebackType

from common.values.errors import Unavailable
from common.values.ids import SequencerId
from tests.support.acting import Acting
from tests.support.wait import wait_until
from writebuffer.contract import Backend

Seen = list[tuple[int, bytes]]
"""Offset and bytes of each record, as polled."""


class Tail(Acting):
    """Follows from the first offset on. An outage is polled through; any other error ends it, and the test."""

    def __init__(self, backend: Backend) -> None:
        self.seen: Seen = []
        self.outages = 0
        self._reader = backend.open_reader()
        super().__init__("tail")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(60)
        self._reader.close()

    def await_offset(self, next_offset: int, timeout_s: float = 60) -> None:
        """Return once everything below `next_offset` was read. Raises what ended the reading."""
        wait_until(
            lambda: (self._error, self.seen[-1][0] + 1 if self.seen else 0),
            holds=lambda seen: seen[0] or seen[1] >= next_offset,
            timeout_s=timeout_s,
            what=f"the tail reads up to {next_offset}",
        )
        if self._error:
            raise self._error

    def _run(self) -> None:
        cursor = self._reader.cursor(SequencerId(0))
        while not self._stopped.is_set():
            try:
                batch = cursor.poll(1000, 2**22, 0.2)
            except Unavailable:
                self.outages += 1
                self._stopped.wait(0.05)
            else:
                self.seen += [(one.offset, one.record.to_bytes()) for one in batch.records]
        cursor.close()
