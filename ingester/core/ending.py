"""How an ingester comes to its end: asked to stop, or because its stream was lost.

What was applied of a lost stream was durable and acknowledged, and is nowhere else any more: it is persisted and
committed first, also with on_stop=leave. The replay offset then lies in the stream that was followed: the next start
goes on from there once that stream is back, and ends with Forked, or with what is missing, on any other stream.

An end waits for the store as long as it answers; after stop_timeout without an answer it gives up, and says what is
left. A stop has a deadline, too, before whoever asked for it kills the process. It gives up at once on a store that is
known to be away: the rows are in the log. Without its store no stop ends well, also where nothing is left to persist.
"""

from copy import copy
from dataclasses import dataclass

from common.values.errors import PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from common.values.shown import counted
from ingester.core.events import (
    CommitFailed,
    DeadLetterFailed,
    Finish,
    Outcome,
    PersistFailed,
    StopRequested,
    StreamLost,
)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What is not durable yet. work: jobs or a commit are under way. replay_offset: the committed one."""

    rows: int
    dead_letters: int
    work: bool
    replay_offset: Offset

    def __bool__(self) -> bool:
        return bool(self.rows or self.dead_letters or self.work)


class Ending:
    """Times are the lifecycle clock's elapsed_ns."""

    def __init__(self, sequencer: SequencerId, timeout_ns: int, deadline_ns: int) -> None:
        """timeout_ns: without an answer of the store. deadline_ns: of a stop in all."""
        self._sequencer = sequencer
        self._timeout_ns = timeout_ns
        self._deadline_ns = deadline_ns
        self._begun_at_ns = 0
        self._persists = False
        self._begun = False
        self._finished = False
        self._lost: PenstockError | None = None
        self._answered_at_ns = 0
        self._reason = "the object store does not answer"
        self._is_store_away = False

    @property
    def begun(self) -> bool:
        """No record is applied any more."""
        return self._begun

    @property
    def persists(self) -> bool:
        """What is in memory is made durable first."""
        return self._begun and self._persists

    @property
    def finished(self) -> bool:
        return self._finished

    def begin(self, event: StopRequested | StreamLost, now_ns: int) -> None:
        """The first reason wins, except when the stream is lost meanwhile: then the end is an error."""
        if isinstance(event, StreamLost):
            self._lost = self._lost or event.error
        if not self._begun:
            self._begun = True
            self._answered_at_ns = self._begun_at_ns = now_ns
            self._persists = isinstance(event, StreamLost) or event.persist

    def note(self, outcome: Outcome, now_ns: int) -> None:
        """The store answered, or did not."""
        if isinstance(outcome, PersistFailed | CommitFailed | DeadLetterFailed):
            self._reason = outcome.error.message
        else:
            self._answered_at_ns = now_ns
            self._is_store_away = False

    def store_away(self, reason: str) -> None:
        self._reason = reason
        self._is_store_away = True

    def finish(self, left: Unfinished, now_ns: int) -> Finish | None:
        """The end, once all is durable, or nothing has to be, or the store has not answered for too long."""
        if not self._begun or self._finished:
            return None
        if not (self._persists and left):
            self._finished = True
            return Finish(self._lost or self._without_store(left))
        gives_up = self._is_store_away and not self._lost
        is_late = now_ns - self._begun_at_ns >= self._deadline_ns and not self._lost
        if not (gives_up or is_late) and now_ns - self._answered_at_ns < self._timeout_ns:
            return None
        if is_late and not gives_up:
            self._reason = f"stop_deadline_s, {self._deadline_ns / 1e9:g} s, is over"
        self._finished = True
        return Finish(self._given_up(left))

    def _without_store(self, left: Unfinished) -> PenstockError | None:
        """Nothing has to be persisted, but what was persisted is away: that is no orderly stop."""
        if not self._is_store_away:
            return None
        return Unavailable(
            f"sequencer {self._sequencer}: stopped while its object store is away: {self._reason}. Bring it back: the "
            f"next start then reads on from offset {left.replay_offset} of the log",
            sequencer=self._sequencer,
            replay_offset=left.replay_offset,
        )

    def _given_up(self, left: Unfinished) -> PenstockError:
        what = counted(left.rows, "row") + (
            f" and {counted(left.dead_letters, 'dead letter')}" if left.dead_letters else ""
        )
        if self._lost is None:
            return Unavailable(
                f"sequencer {self._sequencer}: stopped, but not everything is persisted: {what} left in the log, to "
                f"be read again at the next start from offset {left.replay_offset} on: {self._reason}",
                sequencer=self._sequencer,
                rows=left.rows,
                replay_offset=left.replay_offset,
            )
        error = copy(self._lost)
        error.message = (
            f"{self._lost.message}. Of what had been applied, {what} could not be persisted: {self._reason}. They are "
            f"lost unless a write buffer that holds this stream from offset {left.replay_offset} on is brought back"
        )
        error.args = (error.message,)
        return error
