"""The thread of one sequencer: sends batches in order, a few ahead of their answers, and resolves the futures.

A batch is one call of the APPEND script (exchange.py). These rules keep order and lose nothing when its
connection breaks:
- A batch sent before the one ahead of it was answered names the last record of that one, and the script refuses it
  where that is not stored. So a later batch is never stored first (in_flight.py).
- What was sent and not answered is in doubt. It is sent again, and the script answers what is stored already with its
  offset. Where the server no longer remembers so far back, the future fails with `written: unknown` instead.
- After each connect the server must still be what this writer knew, or the stream is Forked (history.py).

The thread may hang in a connect or a question for seconds. Deadlines do not wait for it: `expire` is called from
outside, by the writer (writer.py).
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from common.logs import Logger
from common.values.clock import Clock
from common.values.errors import DataCorrupt, Forked, Misconfigured, PenstockError, Unavailable, Written
from common.values.ids import Offset
from writebuffer.errors import WriterDied
from writebuffer.pending import caused
from writebuffer.record import Record
from writebuffer.redis.exchange import Exchange, NotDurable, PutOff, Stored
from writebuffer.redis.history import History
from writebuffer.redis.in_flight import Append, Batch, Failed, InFlight
from writebuffer.redis.link import Link, NotServing
from writebuffer.redis.reconnecting import Reconnecting
from writebuffer.redis.scripts import APPEND
from writebuffer.redis.stream import RedisStream
from writebuffer.waiting import CLOSE_S

_CLOSE_SLACK_S = 0.5
"""After the last deadline: for whoever fails what is past it, and for the thread to end."""


class Appender:
    """Owns the connection and the thread that uses it."""

    def __init__(
        self,
        stream: RedisStream,
        next_offset: Offset,
        link: Link,
        connect: Callable[[], Link],
        clock: Clock,
        logger: Logger,
        *,
        timeout_s: float,
        replicas: int,
    ) -> None:
        """link: the first. connect: another to the server that holds the stream, with settings that will do."""
        self._stream = stream
        self._clock = clock
        self._logger = logger
        self._timeout_s = timeout_s
        self._history = History(stream, next_offset)
        self._exchange = Exchange(stream, self._history, timeout_s=timeout_s, replicas=replicas)
        self._connection = Reconnecting(link, connect, self._history, stream.sequencer, logger)
        self._put_off_by: NotServing | None = None
        self._wake = threading.Condition()
        """Holds what follows; never while a future resolves."""
        self._in_flight = InFlight()
        self._closing = False
        self._ended: PenstockError | None = None
        self._break: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"redis-{stream.sequencer}", daemon=True)
        self._thread.start()

    def submit(self, records: Sequence[Record], *, single: bool) -> "Future[Any]":
        append = Append(records, 0.0, single=single)
        with self._wake:
            append.deadline_s = self._clock.monotonic_s() + self._timeout_s
            ended = self._ended
            if ended is None:
                self._in_flight.add(append)
                self._wake.notify_all()
        if ended is not None:
            append.fail(ended)
        return append.future

    def unresolved(self) -> "list[Future[Any]]":
        with self._wake:
            return [append.future for append in self._in_flight.open()]

    def expire(self) -> float:
        """Fail what is past its deadline; in how many seconds there may be more. Called from outside the thread."""
        with self._wake:
            now_s = self._clock.monotonic_s()
            late = self._in_flight.expired(now_s)
            next_s = self._in_flight.next_deadline_s()
        trouble = self._connection.trouble
        why = trouble.message if trouble else "the server did not answer"
        self._fail(late, f"not durable within {self._timeout_s:g} s: {why}")
        return self._timeout_s if next_s is None else next_s - now_s

    def break_with(self, cause: Exception) -> None:
        """The thread raises `cause` at its next step (proving.Breakable)."""
        with self._wake:
            self._break = cause
            self._wake.notify_all()
        self._connection.interrupt()

    def close(self) -> None:
        """Every append resolves by its deadline; then the thread ends, or where it hangs in a connect, after that."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            self._wake.wait_for(self._is_over, min(self._timeout_s, CLOSE_S) + _CLOSE_SLACK_S)
        self._end("the writer was closed")
        self._connection.interrupt()
        self._thread.join(_CLOSE_SLACK_S)

    def _is_over(self) -> bool:
        return self._closing and self._in_flight.is_empty

    def _run(self) -> None:
        try:
            while self._step():
                pass
            self._end("the writer was closed")
        except BaseException as error:
            self._logger.error("the writer's thread died", sequencer=self._stream.sequencer, exc_info=error)
            self._end(f"the writer's thread died of {error!r}; restart the process", error)
        finally:
            self._connection.close()

    def _step(self) -> bool:
        """One thing: connect, send a batch, or take an answer. False once closing with nothing left."""
        with self._wake:
            self._wake.wait_for(lambda: self._break or self._closing or not self._in_flight.is_idle)
            if self._break:
                raise self._break
            if self._is_over():
                return False
        try:
            self._send_or_receive(self._connection.link())
        except (Unavailable, Misconfigured) as error:
            self._lose(error)
        return True

    def _send_or_receive(self, link: Link) -> None:
        with self._wake:
            batch = self._in_flight.next_batch()
            oldest = self._in_flight.oldest()
        if batch:
            self._exchange.send(link, batch)
        elif oldest:
            self._receive(link, oldest)

    def _receive(self, link: Link, batch: Batch) -> None:
        """Take the oldest batch's answer, and act on it."""
        answer = self._exchange.receive(link)
        match answer:
            case Stored():
                self._settle(batch, answer)
            case NotDurable():
                self._give_up(answer)
            case PutOff():
                self._put_off_by = answer.why or self._put_off_by
                with self._wake:
                    self._in_flight.put_off()
        with self._wake:
            all_put_off = self._in_flight.send_again()
        if all_put_off:
            refusal, self._put_off_by = self._put_off_by, None
            if refusal:
                raise refusal
            link.call(b"SCRIPT", b"LOAD", APPEND.text)

    def _settle(self, batch: Batch, answer: Stored) -> None:
        self._connection.got_through()
        self._history.learned(answer.next_offset, answer.stretches, batch.records)
        placed = batch.placed(answer.stretches)
        whole = [append for append, first_offset, count in placed if append.mark_durable(first_offset, count)]
        with self._wake:
            self._in_flight.answered(whole)
            self._notify_if_closing()

    def _give_up(self, answer: NotDurable) -> None:
        self._connection.got_through()
        with self._wake:
            failed = self._in_flight.refused()
        self._fail([(append, answer.written or written) for append, written in failed], answer.what)

    def _lose(self, trouble: PenstockError) -> None:
        """What was in flight is in doubt and goes back to the front of the queue. Wait a little."""
        with self._wake:
            self._in_flight.lost(self._history.next_offset)
            failed = self._in_flight.abandon() if isinstance(trouble, Misconfigured) else []
        self._fail(failed, trouble.message)
        if not self._is_over():
            pause_s = self._connection.lost(trouble)
            with self._wake:
                self._wake.wait_for(lambda: self._break or self._is_over(), pause_s)

    def _fail(self, failed: Failed, what: str) -> None:
        for append, written in failed:
            append.fail(self._unavailable(what, written))
        if failed:
            with self._wake:
                self._notify_if_closing()

    def _notify_if_closing(self) -> None:
        if self._closing:
            self._wake.notify_all()

    def _unavailable(self, what: str, written: Written) -> Unavailable:
        return Unavailable(f"{self._stream}: {what}", written=written, sequencer=self._stream.sequencer)

    def _end(self, what: str, cause: BaseException | None = None) -> None:
        """Fail what is pending, and what comes later; the first reason stays."""

        def error(written: Written) -> PenstockError:
            if isinstance(cause, DataCorrupt | Forked):
                return cause
            if cause is None:
                return self._unavailable(what, written)
            died = WriterDied(f"{self._stream}: {what}", written=written, sequencer=self._stream.sequencer)
            return caused(died, cause)

        with self._wake:
            if self._ended is None:
                self._ended = error("no")
            pending = self._in_flight.abandon()
            self._wake.notify_all()
        for append, written in pending:
            append.fail(error(written))
