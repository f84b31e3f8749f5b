"""Group commit to the log of one sequencer, which is opened again after a failed sync has poisoned it.

That is done by the first append after a back-off; those before it fail with `written: no`.
"""

import threading
from collections.abc import Callable, Sequence

from common.logs import Logger
from common.values.clock import Clock
from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.file.log import LogWriter
from writebuffer.grouping import GroupCommit
from writebuffer.record import Record

_REOPEN_FIRST_S = 0.25
_REOPEN_MAX_S = 30.0


class Committer(GroupCommit):
    """Owns one LogWriter besides the thread that commits to it."""

    def __init__(self, sequencer: SequencerId, open_log: Callable[[], LogWriter], clock: Clock, logger: Logger) -> None:
        """Raises what `open_log` raises."""
        self._open_log = open_log
        self._clock = clock
        self._log = open_log()
        self._files = threading.Lock()
        """Held while segments are removed, and while the log is closed or opened again."""
        self._reopen_at_s = clock.monotonic_s()
        self._reopen_wait_s = _REOPEN_FIRST_S
        super().__init__(sequencer, self._commit_to_log, self._close_log, logger)

    def trim(self, before: Offset) -> Offset:
        """Raises OSError, DataCorrupt, and once the thread has ended its cause."""
        with self._files:
            if self.ended is not None:
                raise self.ended
            return self._log.trim(before)

    def _commit_to_log(self, records: Sequence[Record]) -> Offset:
        try:
            offset = self._usable_log().commit(records)
        except Unavailable:
            self._plan_reopen()
            raise
        self._reopen_wait_s = _REOPEN_FIRST_S
        return offset

    def _close_log(self) -> None:
        with self._files:
            self._log.close()

    def _usable_log(self) -> LogWriter:
        """The log, opened again when it was poisoned and the back-off is over. Raises Unavailable, DataCorrupt."""
        poison = self._log.poison
        if poison is None:
            return self._log
        if self._clock.monotonic_s() < self._reopen_at_s:
            raise self._unavailable(
                f"a sync failed ({poison}) and the log is opened again in a moment", "no"
            ) from poison
        try:
            with self._files:
                self._log.close()
                self._log = self._open_log()
        except OSError as error:
            what = f"after a failed sync ({poison}) it cannot be opened again: {error}"
            raise self._unavailable(what, "no") from error
        self._logger.warning("log opened again after a failed sync", sequencer=self._sequencer, error=str(poison))
        return self._log

    def _plan_reopen(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._log.poison and now_s >= self._reopen_at_s:
            self._reopen_at_s = now_s + self._reopen_wait_s
            self._reopen_wait_s = min(2 * self._reopen_wait_s, _REOPEN_MAX_S)
