"""Group commit: what is appended while one commit is under way goes into the next, all of it together.

For a backend whose commit costs the same for one record and for many. It says how to commit records to one sequencer;
GroupCommit is the thread that does so, GroupedWriter a whole Writer over one for each sequencer. What a call must be,
when its future resolves and with which error, flushing and closing are kept here, as the contract has them.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import structlog

from common.logs import Logger
from common.values.errors import DataCorrupt, Forked, PenstockError, Unavailable, Written
from common.values.ids import Offset, SequencerId
from writebuffer.checks import check_append, check_sequencer
from writebuffer.contract import Appended, AppendedRange
from writebuffer.errors import Closed, WriterDied
from writebuffer.pending import Group, Pending, caused
from writebuffer.record import Record
from writebuffer.waiting import CLOSE_S, Deadline, await_appends

GROUP_BYTES_MAX = 2 * 2**20
"""4 ms of a 500 MB/s disk, and what still fits a processor's cache: groups of 8 MiB were slower (bench.append)."""
GROUP_RECORDS_MAX = 4096

Commit = Callable[[Sequence[Record]], Offset]
"""Makes records (at least one) durable at dense offsets, and returns the first one's offset.

Raising Unavailable fails these appends, and the next ones are tried; `written` says whether any of the records may
exist. Raising anything else ends the thread and with it the writer: Forked and DataCorrupt are what every caller gets
from then on, of anything else they get WriterDied.
"""


class GroupCommit:
    """The thread that commits to one sequencer. Futures resolve on it, in the order of the appends; none hangs."""

    def __init__(
        self,
        sequencer: SequencerId,
        commit: Commit,
        finish: Callable[[], None] = lambda: None,
        logger: Logger | None = None,
    ) -> None:
        """commit: called by this thread alone. finish: called by it once it is closed and nothing is left to commit."""
        self._sequencer = sequencer
        self._commit = commit
        self._finish = finish
        self._logger: Logger = logger or structlog.get_logger()
        self._queue: deque[Pending] = deque()
        """What has not resolved yet, the group being committed included."""
        self._wake = threading.Condition()
        self._closing = False
        self._ended: PenstockError | None = None
        self._thread = threading.Thread(target=self._run, name=f"commit-{sequencer}", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> PenstockError | None:
        """Why nothing more is committed; None while the thread goes on."""
        return self._ended

    def submit(self, pending: Pending) -> None:
        """Queue it. Once the thread has ended, its future fails at once with the cause."""
        with self._wake:
            ended = self._ended
            if ended is None:
                self._queue.append(pending)
                self._wake.notify()
        if ended is not None:
            pending.fail(ended)

    def newest(self) -> "Future[Any] | None":
        """The last of what has not resolved yet, before which everything else does; None where there is nothing."""
        with self._wake:
            return self._queue[-1].future if self._queue else None

    def stop(self) -> None:
        """Ask the thread to end once it has committed what is queued. Does not wait."""
        with self._wake:
            self._closing = True
            self._wake.notify()

    def await_end(self, timeout_s: float) -> bool:
        """After `stop`: wait for the thread; what is left after `timeout_s` fails. Whether the thread has ended.

        One that has not hangs in a commit, which may still return: what it writes to is still in use.
        """
        self._thread.join(timeout_s)
        self._end(lambda written: self._unavailable("the writer was closed while a commit did not return", written))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while group := self._next_group():
                self._settle(group)
            self._finish()
            self._end(lambda written: self._unavailable("the writer was closed", written))
        except BaseException as error:
            cause = error
            self._end(lambda written: self._died(cause, written))
            if isinstance(error, PenstockError):
                self._logger.error("nothing more is written", sequencer=self._sequencer, reason=error.message)
            else:
                self._logger.error("the writer's thread died", sequencer=self._sequencer, exc_info=error)

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

    def _settle(self, group: Group[Pending]) -> None:
        try:
            offset = self._commit(group.records)
        except Unavailable as error:
            for pending, _ in group.shares:
                self._forget(pending)
                pending.fail(error)
            return
        for pending, count in group.shares:
            if pending.mark_durable(offset, count):
                self._forget(pending)
            offset = Offset(offset + count)

    def _forget(self, pending: Pending) -> None:
        with self._wake:
            if self._queue and self._queue[0] is pending:
                self._queue.popleft()

    def _unavailable(self, what: str, written: Written) -> Unavailable:
        return Unavailable(f"sequencer {self._sequencer}: {what}", written=written, sequencer=self._sequencer)

    def _died(self, cause: BaseException, written: Written) -> PenstockError:
        if isinstance(cause, DataCorrupt | Forked):
            return cause
        what = f"sequencer {self._sequencer}: the writer's thread died of {cause!r}; restart the process"
        return caused(WriterDied(what, written=written, sequencer=self._sequencer), cause)

    def _end(self, error: Callable[[Written], PenstockError]) -> None:
        """Fail what is pending, and what comes later; the first reason stays."""
        with self._wake:
            if self._ended is None:
                self._ended = error("no")
            pending = list(self._queue)
            self._queue.clear()
        for one in pending:
            one.fail(error("unknown"))


class GroupedWriter:
    """A Writer over one GroupCommit for each sequencer. A backend adds what its powers need (trim, durability)."""

    def __init__(
        self,
        url: str,
        commits: Sequence[GroupCommit],
        release: Callable[[], None] = lambda: None,
        *,
        close_s: float = CLOSE_S,
        logger: Logger | None = None,
    ) -> None:
        """release: gives back what the commits use; called by `close` once nothing of this writer can write.

        close_s: how long `close` waits for what is pending, over all sequencers together.
        """
        self._url = url
        self._commits = commits
        self._release = release
        self._close_s = close_s
        self._logger: Logger = logger or structlog.get_logger()
        self._closed = False

    def sequencers(self) -> Sequence[SequencerId]:
        return [SequencerId(number) for number in range(len(self._commits))]

    def append(self, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        return self._submit(sequencer, Pending([record], single=True), [record])

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        kept = list(records)
        return self._submit(sequencer, Pending(kept), kept)

    def flush(self, timeout_s: float) -> None:
        self._check_open()
        await_appends([future for commit in self._commits if (future := commit.newest())], timeout_s, self._url)

    def close(self) -> None:
        """As the contract says, waiting `close_s` for all sequencers together.

        Where a commit hangs even then nothing is released: what the process holds it keeps until it ends.
        """
        if self._closed:
            return
        self._closed = True
        for commit in self._commits:
            commit.stop()
        if hanging := self.await_end(self._close_s):
            self._logger.error("closed over a hanging commit; keeps what it holds", url=self._url, sequencers=hanging)
        else:
            self._release()

    @property
    def is_closed(self) -> bool:
        return self._closed

    def await_end(self, timeout_s: float) -> list[SequencerId]:
        """After `close`: wait for the threads, all of them together; the sequencers whose commit hangs even then."""
        deadline = Deadline(timeout_s)
        return [
            sequencer
            for sequencer, commit in zip(self.sequencers(), self._commits, strict=True)
            if not commit.await_end(deadline.left_s())
        ]

    def check(self, sequencer: SequencerId) -> None:
        """For calls that a backend adds. Raises Closed, UnknownSequencer."""
        self._check_open()
        check_sequencer(sequencer, len(self._commits))

    def _submit(self, sequencer: SequencerId, pending: Pending, records: Sequence[Record]) -> "Future[Any]":
        self._check_open()
        check_append(sequencer, len(self._commits), records)
        self._commits[sequencer].submit(pending)
        return pending.future

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self._url}: the writer was closed")
