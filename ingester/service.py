"""The ingester's driver: does what the core asks and feeds back what came of it.

The core runs on the thread that calls `run`. Around it: one thread polls and decodes, a pool runs persist jobs, one
thread does what must be in order (commits, dead letters, the look for a newer epoch), Flight and HTTP serve on their
own.
"""

import contextlib
import queue
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from common.clock import Clock
from common.config import IngesterConfig
from common.errors import Unavailable
from common.ids import Offset
from common.logs import Logger
from common.objectstore import ObjectStore, run
from ingester.core import IngesterCore
from ingester.dead_letter import put_aside
from ingester.events import (
    Action,
    Commit,
    CommitFailed,
    Committed,
    DeadLetter,
    DeadLettered,
    DeadLetterFailed,
    Event,
    Finish,
    Pause,
    Persist,
    Persisted,
    PersistFailed,
    Polled,
    Resume,
    StopRequested,
    Tick,
)
from ingester.persist import manifest
from ingester.persist.job import PersistJob, persist
from ingester.persist.manifest_state import ManifestState
from ingester.persist.unnamed import remove_unnamed_files
from ingester.poller import Poller
from ingester.published import Published
from writebuffer.contract import Reader

WATCH_S = 5.0
"""How often an ingester looks whether a newer epoch was claimed."""


class IngesterService:
    """One sequencer's ingester between its claim and its end."""

    def __init__(
        self,
        core: IngesterCore,
        reader: Reader,
        store: ObjectStore,
        published: Published,
        config: IngesterConfig,
        clock: Clock,
        logger: Logger,
    ) -> None:
        self.stopping = False
        self.core = core
        self._store = store
        self._published = published
        self._config = config
        self._clock = clock
        self._logger = logger
        # SimpleQueue, because its put may be called from a signal handler that interrupted a get.
        self._inbox: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        sequencer, followed = core.state.sequencer, core.state.stream
        self.poller = Poller(reader, sequencer, core.applied_offset, followed, self._inbox.put, self._inbox.put, logger)
        self._persist_workers = ThreadPoolExecutor(config.persist_workers, f"persist-{sequencer}")
        self._in_order = ThreadPoolExecutor(1, f"commit-{sequencer}")
        self._watching: Future[None] | None = None

    @property
    def next_offset(self) -> Offset | None:
        """The buffer's next offset as last seen."""
        return self.poller.next_offset

    def stop(self) -> None:
        """Ask for the ordered end. May be called from a signal handler."""
        self.stopping = True
        self._inbox.put(StopRequested(persist=self._config.on_stop == "persist"))

    def run(self) -> None:
        """Work until stopped. Raises what makes going on wrong: Fenced, Forked, OffsetTrimmed, DataCorrupt."""
        self.poller.start()
        self._persist_workers.submit(self._guarded, self._remove_unnamed, self.core.state)
        try:
            self._loop()
        finally:
            self.poller.stop()
            self._persist_workers.shutdown(wait=True, cancel_futures=True)
            self._in_order.shutdown(wait=True, cancel_futures=True)

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
                if self._watching is None or self._watching.done():
                    self._watching = self._in_order.submit(self._guarded, self._watch, self.core.state)
            try:
                event = self._inbox.get(timeout=max(0.0, next_tick_s - self._clock.monotonic_s()))
            except queue.Empty:
                continue
            if isinstance(event, BaseException):
                raise event
            if self._step(event):
                return

    def _step(self, event: Event) -> bool:
        """One step of the core and what it asks for; true once there is nothing left to do."""
        actions = self.core.step(event)
        if isinstance(event, Polled):
            self.poller.taken()
        self._published.publish(self.core.view)
        finished = [self._do(action) for action in actions]
        return any(finished)

    def _do(self, action: Action) -> bool:
        match action:
            case Persist(job):
                self._persist_workers.submit(self._guarded, self._persist, job)
            case Commit():
                self._in_order.submit(self._guarded, self._commit, action)
            case DeadLetter():
                self._in_order.submit(self._guarded, self._dead_letter, action)
            case Pause():
                self.poller.pause()
            case Resume():
                self.poller.resume()
            case Finish():
                return True
        return False

    # On workers: each ends in an event, or in an error that ends the ingester.

    def _guarded(self, work: Any, argument: Any) -> None:
        try:
            work(argument)
        except BaseException as error:  # noqa: BLE001  a worker's end is the ingester's, whatever the cause
            self._inbox.put(error)

    def _persist(self, job: PersistJob) -> None:
        started_s = time.perf_counter()
        try:
            result = persist(job, self._store)
        except Unavailable as error:
            self._logger.warning(
                "persist failed; it is tried again",
                table=str(job.key.table_id),
                day=job.key.day_name,
                reason=error.message,
            )
            self._inbox.put(PersistFailed(job))
            return
        self._logger.info(
            "persisted",
            table=str(job.key.table_id),
            day=job.key.day_name,
            rows=sum(file.rows for file in result.files),
            bytes=sum(file.size_bytes for file in result.files),
            overwritten=result.overwritten,
            seconds=round(time.perf_counter() - started_s, 3),
        )
        self._inbox.put(Persisted(job, result))

    def _commit(self, action: Commit) -> None:
        try:
            state = run(manifest.commit(action.state, action.change, action.nonce), self._store)
        except Unavailable as error:
            self._logger.warning("commit failed; it is tried again", reason=error.message)
            self._inbox.put(CommitFailed())
            return
        self._inbox.put(Committed(state))

    def _dead_letter(self, letter: DeadLetter) -> None:
        try:
            path = put_aside(self._store, self.core.state.sequencer, letter)
        except Unavailable as error:
            self._logger.warning("dead letter could not be put; it is tried again", reason=error.message)
            self._inbox.put(DeadLetterFailed(letter.offset))
            return
        self._logger.error("record put aside", offset=letter.offset, reason=letter.reason, path=path)
        self._inbox.put(DeadLettered(letter.offset))

    def _watch(self, state: ManifestState) -> None:
        with contextlib.suppress(Unavailable):
            run(manifest.watch(state), self._store)

    def _remove_unnamed(self, state: ManifestState) -> None:
        try:
            removed = remove_unnamed_files(state, self._store)
        except Unavailable as error:
            self._logger.warning("unnamed files of lower epochs were not removed", reason=error.message)
            return
        if removed:
            self._logger.info("removed unnamed files of lower epochs", files=removed)
