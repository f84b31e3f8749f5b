"""The ingester's driver: does what the core asks and feeds back what came of it.

The core runs on the thread that calls `run`. Around it: one thread polls and decodes, some run persist jobs, one does
what must be in order (commits, dead letters, the look for a newer epoch), Flight and HTTP serve on their own. All of it
comes back through one queue, and each event through IngesterCore.step.
"""

import contextlib
import queue
import time
from concurrent.futures import Future

from common.catalog.joined_store import JoinedStore
from common.catalog.manifest import manifest
from common.catalog.manifest.state import ManifestState
from common.catalog.manifest.swap import Swap
from common.logs import Logger
from common.store.objects import run
from common.values.clock import Clock
from common.values.config import IngesterConfig
from common.values.errors import PenstockError, Unavailable
from common.values.ids import Offset
from common.values.shown import counted
from ingester.core.core import IngesterCore
from ingester.core.events import (
    Action,
    Answer,
    Commit,
    CommitFailed,
    DeadLetter,
    DeadLettered,
    DeadLetterFailed,
    Event,
    Finish,
    Outcome,
    Pause,
    Persist,
    Persisted,
    PersistFailed,
    Polled,
    Resume,
    StopRequested,
    StoreAway,
    StreamLost,
    SwapAsked,
    Tick,
)
from ingester.following.followed import Followed
from ingester.following.poller import Poller, read_between
from ingester.following.suspects import Suspects
from ingester.following.trial import try_records
from ingester.performing import StoreAction, perform
from ingester.persist.unnamed import remove_unnamed_files
from ingester.serving.published import Published
from ingester.stop_point import StopPoint
from ingester.swaps import AskedSwaps
from ingester.workers import Workers
from writebuffer.contract import Reader

WATCH_S = 5.0
"""How often an ingester looks whether a newer epoch was claimed."""

SMALL_JOBS_PER_JOB = 16
SMALL_WORKERS = 8
"""Threads for small persist jobs, which mostly wait for the disk: together they wait for the same."""

WORKERS_STOP_S = 5.0
"""At the end, so long for store calls that are still under way: what they do is of no use any more."""


class IngesterService:
    """One sequencer's ingester between its claim and its end."""

    def __init__(
        self,
        core: IngesterCore,
        reader: Reader,
        store: JoinedStore,
        published: Published,
        config: IngesterConfig,
        clock: Clock,
        logger: Logger,
        suspects: Suspects | None = None,
    ) -> None:
        """suspects: records that may have killed the process before; without it no death is remembered."""
        self.stopping = False
        self._suspects = suspects
        self.core = core
        self._reader = reader
        self._store = store
        self._published = published
        self._config = config
        self._clock = clock
        self._logger = logger
        # SimpleQueue, because its put may be called from a signal handler that interrupted a get.
        self._inbox: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        sequencer = core.state.sequencer
        followed = Followed(sequencer, core.applied_offset, core.state.as_of.stream)
        self.poller = Poller(
            reader, sequencer, followed, self._inbox.put, self._poller_ended, logger, suspects=suspects
        )
        self._persist_workers = Workers(config.persist_workers, f"persist-{sequencer}", self._inbox.put)
        self._small_workers = Workers(SMALL_WORKERS, f"persist-small-{sequencer}", self._inbox.put)
        self._in_order = Workers(1, f"commit-{sequencer}", self._inbox.put)
        self._is_watching = False
        self._stop_point: StopPoint | None = None
        self._swaps = AskedSwaps()

    @property
    def next_offset(self) -> Offset | None:
        """The buffer's next offset as last seen."""
        return self.poller.next_offset

    def stop(self) -> None:
        """Ask for the ordered end. May be called from a signal handler."""
        self.stopping = True
        self._inbox.put(StopRequested(persist=self._config.on_stop == "persist"))

    def swap(self, swap: Swap) -> "Future[Answer]":
        """Have files that somebody else made named by the next record. From any thread. Fails with Unavailable."""
        answer = self._swaps.ask(swap)
        self._inbox.put(SwapAsked(swap))
        return answer

    @property
    def left_behind(self) -> str:
        """What an end at once leaves undone, for the person who asks for it. May be read in a signal handler."""
        core = self.core
        return (
            f"sequencer {core.state.sequencer}: ended at once: {counted(core.rows_buffered, 'row')} not persisted. "
            f"The next start reads the write buffer again from offset {core.state.replay_offset} on, as far as it is "
            "intact\n"
        )

    def run(self) -> None:
        """Work until stopped.

        Raises what makes going on wrong: Fenced at once; Forked, OffsetTrimmed, DataCorrupt of the stream once what was
        applied is committed. Raises Unavailable where a stop gave up on the store, with what it left to the log.
        """
        if self._suspects:
            self._try_suspects(self._suspects)
        self.poller.start()
        self._persist_workers.submit(lambda: self._remove_unnamed(self.core.state))
        try:
            self._loop()
            self._end_in_order()
        except PenstockError:
            self._end_in_order()
            raise
        finally:
            self._swaps.end()
            self.poller.stop()
            self._persist_workers.stop(WORKERS_STOP_S)
            self._small_workers.stop(WORKERS_STOP_S)
            self._in_order.stop(WORKERS_STOP_S)

    def _end_in_order(self) -> None:
        if self._suspects:
            self._suspects.end()

    def _try_suspects(self, suspects: Suspects) -> None:
        """Before they are applied once more: records over which several processes died, one by one."""
        due = suspects.due
        if due is None:
            return
        self._logger.warning("trying records that processes died over", **due._asdict())
        try:
            condemned = try_records(read_between(self._reader, self.core.state.sequencer, due.first, due.end))
        except PenstockError as error:
            self._logger.error("suspect records could not be tried; they are applied untried", reason=error.message)
            return
        for offset, reason in condemned.items():
            self._logger.error("a record is not applied any more", offset=offset, reason=reason)
        suspects.tried(condemned)

    def _loop(self) -> None:
        next_tick_s = next_watch_s = self._clock.monotonic_s()
        while True:
            now_s = self._clock.monotonic_s()
            if now_s >= next_tick_s:
                next_tick_s = now_s + self._config.tick_s
                if self._step(Tick(self._clock.now_ns())):
                    return
            if now_s >= next_watch_s:
                next_watch_s = now_s + WATCH_S
                self._begin_watch()
            if self._stop_point and self._stop_point.reached(self.core.applied_offset, now_s):
                self._stop_point = None
                event: Event | BaseException = StopRequested(persist=True)
            else:
                try:
                    event = self._inbox.get(timeout=max(0.0, next_tick_s - self._clock.monotonic_s()))
                except queue.Empty:
                    continue
                if isinstance(event, StopRequested) and self._reads_on(event):
                    continue
            if isinstance(event, BaseException):
                raise event
            ends = self.core.ending or isinstance(event, StopRequested)
            if (ends and self._look_at_store()) or self._step(event):
                return

    def _reads_on(self, stop: StopRequested) -> bool:
        """Whether `stop` waits until all that the stream holds by now is applied."""
        if not stop.persist or self.core.ending or self._store.away:
            return False
        point = self._stop_point = StopPoint(self._clock.monotonic_s())
        self.poller.hurry()
        self._in_order.submit(lambda: self._find_end(point))
        return True

    def _look_at_store(self) -> bool:
        """An end need not wait for calls to fail where the store is known to be away; true once it has come."""
        reason = self._store.away
        return bool(reason) and self._step(StoreAway(reason))

    def _step(self, event: Event) -> bool:
        """One step of the core, and what it asks for; true once nothing is left to do. Raises what it ends with."""
        actions = self.core.step(event)
        if isinstance(event, Polled):
            self.poller.applied(self.core.applied_offset)
        self._published.publish(self.core.view)
        finished = [self._do(action) for action in actions]
        return any(finished)

    def _do(self, action: Action) -> bool:
        match action:
            case Persist(job):
                workers = self._small_workers if job.is_small else self._persist_workers
                workers.submit(lambda: self._perform(action))
            case Commit() | DeadLetter():
                self._in_order.submit(lambda: self._perform(action))
            case Answer():
                self._swaps.answer(action)
            case Pause():
                self.poller.pause()
            case Resume():
                self.poller.resume()
            case Finish(error):
                if error is not None:
                    raise error
                return True
        return False

    # On the poller's thread

    def _poller_ended(self, error: BaseException) -> None:
        if not isinstance(error, PenstockError):
            self._inbox.put(error)  # a defect: nothing is known of the stream, and the log has everything
            return
        self._logger.error("the stream is lost; what was applied is persisted first", reason=error.message)
        self._inbox.put(StreamLost(error))

    # On workers: each ends in an event, or in an error that ends the ingester.

    def _perform(self, action: StoreAction) -> None:
        started_s = time.perf_counter()
        outcome = perform(action, self._store)
        log_outcome(self._logger, outcome, time.perf_counter() - started_s)
        self._inbox.put(outcome)

    def _find_end(self, point: StopPoint) -> None:
        try:
            point.found(self._reader.offsets(self.core.state.sequencer).next_offset)
        except PenstockError as error:
            self._logger.warning("stopping without the records that were not read yet", reason=error.message)
            point.found(Offset(0))
        self._inbox.put(Tick(self._clock.now_ns()))  # so that it is looked at now

    def _begin_watch(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            self._in_order.submit(lambda: self._watch(self.core.state))

    def _watch(self, state: ManifestState) -> None:
        with contextlib.suppress(Unavailable):
            run(manifest.watch(state), self._store)
        self._is_watching = False

    def _remove_unnamed(self, state: ManifestState) -> None:
        try:
            removed = remove_unnamed_files(state, self._store)
        except Unavailable as error:
            self._logger.warning(
                "files that no manifest record names were not removed; the next start tries again", reason=error.message
            )
            return
        if removed:
            self._logger.info("removed files that no manifest record names", files=removed)


def log_outcome(logger: Logger, outcome: Outcome, seconds: float) -> None:
    """What an operator wants to read of it. seconds: how long it took."""
    match outcome:
        case Persisted(job, result):
            logger.info(
                "persisted",
                table=str(job.key.table_id),
                day=job.key.day_name,
                rows=sum(file.rows for file in result.files),
                bytes=sum(file.size_bytes for file in result.files),
                overwritten=result.overwritten,
                seconds=round(seconds, 3),
            )
        case PersistFailed(job, error):
            logger.warning(
                "persist failed; it is tried again",
                table=str(job.key.table_id),
                day=job.key.day_name,
                reason=error.message,
            )
        case CommitFailed(error):
            logger.warning("commit failed; it is tried again", reason=error.message)
        case DeadLettered(letter, path):
            logger.error("record kept as a dead letter", offset=letter.offset, reason=letter.reason, path=path)
        case DeadLetterFailed(letter, error):
            logger.warning(
                "dead letter could not be put; it is tried again", offset=letter.offset, reason=error.message
            )
