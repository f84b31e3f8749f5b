"""The thread of one sequencer: sends batches in order, a few ahead of their answers, and resolves the futures.

A batch is one call of the APPEND script. What keeps order and loses nothing, whatever happens to connections:
- A batch sent before the one ahead of it was answered names the last record of that one, and the script refuses it
  where that does not stand. So it never gets in front.
- What was sent and not answered is in doubt. It is sent again, and the script answers what stands already with its
  offset. Where the server no longer remembers so far back, the future fails with `written: unknown` instead.
- After each connect the server must still be what this writer knew: the same identity, a next offset not below the
  one last acknowledged, and the last acknowledged record in its place. Otherwise the stream is Forked.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from common.clock import Clock
from common.errors import DataCorrupt, Forked, Misconfigured, PenstockError, Unavailable, Written
from common.ids import Offset
from common.logs import Logger
from writebuffer.errors import WriterDied
from writebuffer.pending import Group, Pending, caused
from writebuffer.record import Record
from writebuffer.redis.link import ANSWER_S, Link, Lost, NoScript, NotServing, Refused
from writebuffer.redis.scripts import APPEND, Runs, append_command, wait_command
from writebuffer.redis.stream import Stream, read_one

BATCH_BYTES_MAX = 2 * 2**20
"""10 ms of the server's time, in which it serves nobody else."""
BATCH_RECORDS_MAX = 2048
BATCHES_AHEAD = 2
"""One is carried out while the next is packed; more would only add to what is in doubt."""
_WAIT_SHARE = 0.5
"""Of the timeout, for replicas: what is left is for the answer that says they are too few."""
_RECONNECT_FIRST_S = 0.05
_RECONNECT_MAX_S = 2.0


class Append(Pending):
    """One call that must resolve by `deadline_s` (monotonic)."""

    def __init__(self, records: Sequence[Record], deadline_s: float, *, single: bool) -> None:
        super().__init__(records, single=single)
        self.deadline_s = deadline_s
        self.in_flight = 0
        """Batches with records of it that were sent and not answered yet."""
        self.doubt: Offset | None = None
        """At or above it its records may stand, from a batch that was never answered."""

    @property
    def written(self) -> Written:
        return "unknown" if self.in_flight or self.doubt is not None else "no"


@dataclass(frozen=True, slots=True)
class _Batch:
    """On its way to the server."""

    group: Group[Append]
    last: bytes


class Appender:
    """Owns one Link and the thread that uses it."""

    def __init__(
        self,
        stream: Stream,
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
        self._next_offset = next_offset
        """As far as this writer was told."""
        self._acknowledged: tuple[Offset, Record] | None = None
        """The newest record that was, for the comparison after a reconnect."""
        self._connect = connect
        self._clock = clock
        self._logger = logger
        self._timeout_s = timeout_s
        self._replicas = replicas
        self._wake = threading.Condition()
        self._queue: deque[Append] = deque()
        """What has records that are in no batch."""
        self._open: dict[Append, None] = {}
        """All that has not resolved, oldest first."""
        self._closing = False
        self._ended: PenstockError | None = None
        self._break: Exception | None = None
        self._link: Link | None = link
        self._in_flight: deque[_Batch] = deque()
        self._returned: list[_Batch] = []
        """Batches refused for now; sent again once nothing is in flight."""
        self._refusal: NotServing | None = None
        """Why they were, where it is the server that does not serve."""
        self._trouble: PenstockError | None = None
        """Why there is no link."""
        self._reconnect_s = _RECONNECT_FIRST_S
        self._thread = threading.Thread(target=self._run, name=f"redis-{stream.sequencer}", daemon=True)
        self._thread.start()

    def submit(self, records: Sequence[Record], *, single: bool) -> "Future[Any]":
        append = Append(records, self._clock.monotonic_s() + self._timeout_s, single=single)
        with self._wake:
            ended = self._ended
            if ended is None:
                self._queue.append(append)
                self._open[append] = None
                self._wake.notify()
        if ended is not None:
            append.fails(ended)
        return append.future

    def unresolved(self) -> "list[Future[Any]]":
        with self._wake:
            return [append.future for append in self._open]

    def break_with(self, cause: Exception) -> None:
        """The thread raises `cause` at its next step (proving.Breakable)."""
        with self._wake:
            self._break = cause
            self._wake.notify()
        if link := self._link:
            link.interrupt()

    def close(self) -> None:
        """Every append resolves by its deadline, so the thread ends soon after the last of them."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(self._timeout_s + 2 * ANSWER_S)
        self._end(lambda append: self._unavailable("the writer was closed", append.written))
        if link := self._link:
            link.interrupt()

    def _run(self) -> None:
        try:
            while self._step():
                pass
            self._end(lambda append: self._unavailable("the writer was closed", append.written))
        except BaseException as error:  # noqa: BLE001  every call gets it
            cause = error
            self._end(lambda append: self._died(cause, append.written))
        finally:
            self._drop_link()

    def _step(self) -> bool:
        """One thing: connect, send a batch, or take an answer. False once closing with nothing left."""
        with self._wake:
            while not (self._queue or self._in_flight or self._closing or self._break):
                self._wake.wait()
            if self._break:
                raise self._break
            if not self._queue and not self._in_flight:
                return False
        try:
            self._exchange(self._link or self._reconnect())
        except (Unavailable, Misconfigured) as error:
            self._lose(error)
        return True

    def _exchange(self, link: Link) -> None:
        may_send = not self._returned and len(self._in_flight) < BATCHES_AHEAD
        if may_send and (group := self._next_group()):
            self._send(link, group)
        elif self._in_flight:
            self._receive(link)

    def _next_group(self) -> Group[Append] | None:
        group: Group[Append] = Group(BATCH_RECORDS_MAX, BATCH_BYTES_MAX)
        with self._wake:
            while self._queue:
                append = self._queue[0]
                if not append.future.done() and not group.take(append):
                    break
                self._queue.popleft()
        return group if group.records else None

    def _send(self, link: Link, group: Group[Append]) -> None:
        runs = Runs.of(group.records)
        behind = self._in_flight[-1].last if self._in_flight else b""
        doubts = [append.doubt for append, _ in group.shares if append.doubt is not None]
        stream, known = self._stream, self._next_offset
        doubt = min(doubts, default=None)
        command = append_command(stream.keys, stream.identity, known, doubt, behind, runs, group.records)
        if self._replicas:
            command.append(wait_command(self._replicas, _WAIT_SHARE * self._timeout_s))
        for append, _ in group.shares:
            append.in_flight += 1
        self._in_flight.append(_Batch(group, runs.last))
        link.send(command)

    def _receive(self, link: Link) -> None:
        """Take the oldest batch's answers, and act on them."""
        batch = self._in_flight[0]
        timeout_s = self._patience_s(batch)
        answer = self._answer(link, timeout_s)
        reached = link.receive(timeout_s) if self._replicas else 0
        self._in_flight.popleft()
        for append, _ in batch.group.shares:
            append.in_flight -= 1
        if isinstance(answer, list):
            self._settle(batch.group, answer, reached)
        elif isinstance(answer, NoScript | NotServing) or (isinstance(answer, Refused) and answer.word == "HELD"):
            self._returned.append(batch)
            self._refusal = answer if isinstance(answer, NotServing) else self._refusal
        else:
            self._refuse(batch.group, answer)
        if self._returned and not self._in_flight:
            self._send_again(link)

    def _patience_s(self, batch: _Batch) -> float:
        """Until the first deadline, but no longer than a living server takes."""
        deadlines_s = [append.deadline_s for append, _ in batch.group.shares if not append.future.done()]
        left_s = min(deadlines_s, default=0.0) - self._clock.monotonic_s()
        longest_s = ANSWER_S + (_WAIT_SHARE * self._timeout_s if self._replicas else 0.0)
        return max(0.1, min(left_s, longest_s))

    def _answer(self, link: Link, timeout_s: float) -> "list[int] | Exception":
        try:
            found: list[int] = link.receive(timeout_s)
            return found
        except Lost:
            raise
        except (PenstockError, NoScript, Refused) as error:
            return error

    def _send_again(self, link: Link) -> None:
        """Nothing is in flight, and the batches that were refused for now go back to the front of the queue."""
        self._return_to_queue(self._returned)
        self._returned = []
        refusal, self._refusal = self._refusal, None
        if refusal:
            raise refusal
        link.call(b"SCRIPT", b"LOAD", APPEND.text)

    def _return_to_queue(self, batches: Sequence[_Batch]) -> None:
        with self._wake:
            for batch in reversed(batches):
                for append, count in reversed(batch.group.shares):
                    append.ungrouped(count)
                    if not append.future.done() and (not self._queue or self._queue[0] is not append):
                        self._queue.appendleft(append)

    def _settle(self, group: Group[Append], answer: list[int], reached: int) -> None:
        """answer: next offset, then first offset and count of each stretch."""
        if reached < self._replicas:
            what = f"the record reached {reached} of {self._replicas} replicas in {_WAIT_SHARE * self._timeout_s:g} s"
            for append, _ in group.shares:
                self._fail(append, self._unavailable(what, "unknown"))
            return
        self._next_offset = max(self._next_offset, Offset(answer[0]))
        stretches = deque(zip(answer[1::2], answer[2::2], strict=True))
        for append, count in group.shares:
            while count:
                first_offset, length = stretches.popleft()
                taken = min(count, length)
                if append.stands(Offset(first_offset), taken):
                    self._forget(append)
                if taken < length:
                    stretches.appendleft((first_offset + taken, length - taken))
                count -= taken
        self._acknowledged = Offset(sum(answer[-2:]) - 1), group.records[-1]

    def _refuse(self, group: Group[Append], error: Exception) -> None:
        """The server did nothing with the batch; what of it is in doubt stays so."""
        if isinstance(error, Refused) and error.word == "FORKED":
            known = f"identity {self._stream.identity.decode()} and next offset {self._next_offset}"
            raise self._stream.forked(f"{known} were known, found {error.rest}")
        if isinstance(error, DataCorrupt | Forked):
            raise error
        for append, _ in group.shares:
            if isinstance(error, Refused) and error.word == "FORGOTTEN":
                what = f"an acknowledgement was lost, and the server remembers only what stands from {error.rest} on"
                self._fail(append, self._unavailable(what, "unknown"))
            else:
                self._fail(append, self._unavailable(str(error), append.written))

    def _reconnect(self) -> Link:
        """Raises Lost, NotServing, Misconfigured, Forked."""
        link = self._connect()
        try:
            self._check_history(link)
            link.call(b"SCRIPT", b"LOAD", APPEND.text)
        except BaseException:
            link.close()
            raise
        if self._trouble:
            self._logger.info("connected again", sequencer=self._stream.sequencer, server=link.server)
        self._trouble = None
        self._reconnect_s = _RECONNECT_FIRST_S
        self._link = link
        return link

    def _check_history(self, link: Link) -> None:
        identity, next_text = link.call(b"HMGET", self._stream.keys.state, b"identity", b"next")
        if identity != self._stream.identity:
            raise self._stream.forked(f"identity {self._stream.identity!r} was known, found {identity!r}")
        if int(next_text) < self._next_offset:
            raise self._stream.forked(
                f"offsets below {self._next_offset} were acknowledged, found next {int(next_text)}"
            )
        if self._acknowledged:
            self._check_record(link, *self._acknowledged)

    def _check_record(self, link: Link, offset: Offset, acknowledged: Record) -> None:
        """Known by producer and sequence: of a record sent twice the first one's bytes stand."""
        found = read_one(link, self._stream, offset)
        if found and Runs.of([found]).last != Runs.of([acknowledged]).last:
            raise self._stream.forked(f"offset {offset} holds another record than the one acknowledged")

    def _lose(self, trouble: PenstockError) -> None:
        """The link is gone: what was in flight is in doubt and goes back to the front of the queue. Wait a little."""
        self._drop_link()
        for batch in self._in_flight:
            for append, _ in batch.group.shares:
                append.in_flight -= 1
                append.doubt = self._next_offset if append.doubt is None else append.doubt
        self._return_to_queue([*self._returned, *self._in_flight])
        self._in_flight.clear()
        self._returned = []
        if self._trouble is None:
            self._logger.warning("connection lost", sequencer=self._stream.sequencer, reason=trouble.message)
        self._trouble = trouble
        if isinstance(trouble, Misconfigured):
            for append in self._all_open():
                self._fail(append, self._unavailable(trouble.message, append.written))
        self._expire()
        with self._wake:
            if self._break is None and not (self._closing and not self._queue):
                self._wake.wait_for(lambda: self._break, self._reconnect_s)
        self._reconnect_s = min(2 * self._reconnect_s, _RECONNECT_MAX_S)

    def _expire(self) -> None:
        """Fail what is past its deadline."""
        now_s = self._clock.monotonic_s()
        for append in self._all_open():
            if append.deadline_s > now_s:
                break
            why = self._trouble.message if self._trouble else "the server did not answer"
            self._fail(append, self._unavailable(f"not durable within {self._timeout_s:g} s: {why}", append.written))

    def _all_open(self) -> list[Append]:
        with self._wake:
            return list(self._open)

    def _fail(self, append: Append, error: PenstockError) -> None:
        append.fails(error)
        self._forget(append)

    def _forget(self, append: Append) -> None:
        with self._wake:
            self._open.pop(append, None)

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link:
            link.close()

    def _unavailable(self, what: str, written: Written) -> Unavailable:
        return Unavailable(f"{self._stream}: {what}", written=written, sequencer=self._stream.sequencer)

    def _died(self, cause: BaseException, written: Written) -> PenstockError:
        if isinstance(cause, DataCorrupt | Forked):
            return cause
        what = f"{self._stream}: the writer's thread died of {cause!r}; restart the process"
        return caused(WriterDied(what, written=written, sequencer=self._stream.sequencer), cause)

    def _end(self, error: Callable[[Append], PenstockError]) -> None:
        """Fail what is pending, and what comes later; the first reason stays."""
        with self._wake:
            if self._ended is None:
                self._ended = error(Append([], 0, single=False))
            pending = list(self._open)
            self._open.clear()
            self._queue.clear()
        for append in pending:
            append.fails(error(append))
