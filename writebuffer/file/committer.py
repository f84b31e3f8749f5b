"""The thread of one sequencer: takes what was appended meanwhile, commits it as one group, resolves the futures.

A future resolves on this thread, in the order of the appends. A poisoned log is opened anew by the first append after a
back-off. Whatever ends the thread fails every pending and later call: DataCorrupt and Forked as they are, anything else
as WriterDied.
"""

import threading
from collections import deque
from collections.abc import Callable

from common.clock import Clock
from common.errors import DataCorrupt, Forked, PenstockError, Unavailable, Written
from common.ids import Offset, SequencerId
from common.logs import Logger
from writebuffer.errors import WriterDied
from writebuffer.file.log import LogWriter
from writebuffer.pending import Group, Pending, caused

GROUP_BYTES_MAX = 8 * 2**20
"""16 ms of a 500 MB/s disk: more would only make the first of the group wait longer."""
GROUP_RECORDS_MAX = 4096
_REOPEN_FIRST_S = 0.25
_REOPEN_MAX_S = 30.0


class Committer:
    """Owns one LogWriter and the thread that commits to it."""

    def __init__(self, sequencer: SequencerId, open_log: Callable[[], LogWriter], clock: Clock, logger: Logger) -> None:
        """Raises what `open_log` raises."""
        self._sequencer = sequencer
        self._open_log = open_log
        self._clock = clock
        self._logger = logger
        self._log = open_log()
        self._files = threading.Lock()
        """Held while segments are removed, and while the log is closed or opened anew."""
        self._reopen_at_s = self._clock.monotonic_s()
        self._reopen_wait_s = _REOPEN_FIRST_S
        self._queue: deque[Pending] = deque()
        """What has not resolved yet, the group being committed included."""
        self._wake = threading.Condition()
        self._closing = False
        self._ended: PenstockError | None = None
        self._thread = threading.Thread(target=self._run, name=f"log-{sequencer}", daemon=True)
        self._thread.start()

    def submit(self, pending: Pending) -> None:
        """Queue it. Once the thread has ended, its future fails at once with the cause."""
        with self._wake:
            ended = self._ended
            if ended is None:
                self._queue.append(pending)
                self._wake.notify()
        if ended is not None:
            pending.fails(ended)

    def trim(self, before: Offset) -> Offset:
        """Raises OSError, DataCorrupt, and once the thread has ended its cause."""
        with self._files:
            if self._ended is not None:
                raise self._ended
            return self._log.trim(before)

    def close(self, timeout_s: float) -> bool:
        """Let the thread finish what is queued; what is left after `timeout_s` fails. Whether the thread has ended.

        One that has not hangs in a call to the disk, and may yet write and publish what it holds.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_s)
        self._end(lambda written: self._unavailable(f"closed; the disk did not answer for {timeout_s} s", written))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while group := self._next_group():
                self._commit(group)
            with self._files:
                self._log.close()
            self._end(lambda written: self._unavailable("the writer was closed", written))
        except BaseException as error:
            cause = error
            self._end(lambda written: self._died(cause, written))
            self._logger.error("the log's thread died", sequencer=self._sequencer, exc_info=error)

    def _next_group(self) -> Group[Pending] | None:
        """Wait for something to commit; None once closing with nothing left."""
        with self._wake:
            while not self._queue and not self._closing:
                self._wake.wait()
            if not self._queue:
                return None
            group: Group[Pending] = Group(GROUP_RECORDS_MAX, GROUP_BYTES_MAX)
            for pending in self._queue:
                if not group.take(pending):
                    break
            return group

    def _commit(self, group: Group[Pending]) -> None:
        try:
            offset = self._usable_log().commit(group.records) if group.records else Offset(0)
        except Unavailable as error:
            self._plan_reopen()
            for pending, _ in group.shares:
                self._forget(pending)
                pending.fails(error)
            return
        self._reopen_wait_s = _REOPEN_FIRST_S
        for pending, count in group.shares:
            if pending.stands(offset, count):
                self._forget(pending)
            offset = Offset(offset + count)

    def _forget(self, pending: Pending) -> None:
        with self._wake:
            if self._queue and self._queue[0] is pending:
                self._queue.popleft()

    def _usable_log(self) -> LogWriter:
        """The log, opened anew when it was poisoned and the back-off is over. Raises Unavailable, DataCorrupt."""
        poison = self._log.poison
        if poison is None:
            return self._log
        if self._clock.monotonic_s() < self._reopen_at_s:
            raise self._unavailable(f"a sync failed ({poison}) and the log is opened anew in a moment") from poison
        try:
            with self._files:
                self._log.close()
                self._log = self._open_log()
        except OSError as error:
            raise self._unavailable(f"after a failed sync ({poison}) it cannot be opened anew: {error}") from error
        self._logger.warning("log opened anew after a failed sync", sequencer=self._sequencer, error=str(poison))
        return self._log

    def _plan_reopen(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._log.poison and now_s >= self._reopen_at_s:
            self._reopen_at_s = now_s + self._reopen_wait_s
            self._reopen_wait_s = min(2 * self._reopen_wait_s, _REOPEN_MAX_S)

    def _unavailable(self, what: str, written: Written = "no") -> Unavailable:
        return Unavailable(f"sequencer {self._sequencer}: {what}", written=written, sequencer=self._sequencer)

    def _died(self, cause: BaseException, written: Written) -> PenstockError:
        if isinstance(cause, DataCorrupt | Forked):
            return cause
        what = f"sequencer {self._sequencer}: the log's thread died of {cause!r}; restart the process"
        return caused(WriterDied(what, written=written, sequencer=self._sequencer), cause)

    def _end(self, error: Callable[[Written], PenstockError]) -> None:
        """Fail what is pending, and what comes later; the first reason stays."""
        with self._wake:
            if self._ended is None:
                self._ended = error("no")
            pending = list(self._queue)
            self._queue.clear()
        for one in pending:
            one.fails(error("unknown"))
