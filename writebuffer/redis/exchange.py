"""A batch's exchange with the server: the command it is sent as, and what the answers to it mean."""

from dataclasses import dataclass
from typing import Any

from common.values.errors import DataCorrupt, Forked, PenstockError, Written
from writebuffer.redis.commands import append_command, wait_command
from writebuffer.redis.history import History
from writebuffer.redis.in_flight import Batch, Stretch
from writebuffer.redis.link import ANSWER_S, Link, Lost, NoScript, NotServing, Refused
from writebuffer.redis.stream import RedisStream

_WAIT_SHARE = 0.5
"""Of the timeout, for replicas: what is left is for the answer that says they are too few."""


@dataclass(frozen=True, slots=True)
class Stored:
    """All of it is as durable as was asked."""

    next_offset: int
    stretches: list[Stretch]


@dataclass(frozen=True, slots=True)
class PutOff:
    """Nothing was done: it is to be sent again. why: the server does not serve now; None where only the script is
    missing, or the batch ahead.
    """

    why: NotServing | None


@dataclass(frozen=True, slots=True)
class NotDurable:
    """The append fails. written: None where this call stored nothing; an earlier one may have."""

    what: str
    written: Written | None = None


Answer = Stored | PutOff | NotDurable


class Exchange:
    def __init__(self, stream: RedisStream, history: History, *, timeout_s: float, replicas: int) -> None:
        self._stream = stream
        self._history = history
        self._wait_s = _WAIT_SHARE * timeout_s
        self._replicas = replicas

    def send(self, link: Link, batch: Batch) -> None:
        """Raises Lost."""
        keys, identity, known = self._stream.keys, self._stream.identity, self._history.next_offset
        pieces = append_command(keys, identity, known, batch.doubt, batch.after, batch.runs, batch.records)
        if self._replicas:
            pieces.append(wait_command(self._replicas, self._wait_s))
        link.send(pieces)

    def receive(self, link: Link) -> Answer:
        """What became of the oldest batch that was sent over `link`. Raises Lost, Forked, DataCorrupt."""
        answer = _received(link, ANSWER_S)
        reached = _received(link, self._wait_s + ANSWER_S) if self._replicas else 0
        if isinstance(answer, Exception):
            return self._refusal(answer)
        if isinstance(reached, Exception):
            return NotDurable(f"whether {self._replicas} replicas have the record is not known: {reached}", "unknown")
        if reached < self._replicas:
            what = f"the record reached {reached} of {self._replicas} replicas in {self._wait_s:g} s"
            return NotDurable(what, "unknown")
        return Stored(answer[0], list(zip(answer[1::2], answer[2::2], strict=True)))

    def _refusal(self, error: Exception) -> Answer:
        match error:
            case NotServing():
                return PutOff(error)
            case NoScript() | Refused(word="HELD"):
                return PutOff(None)
            case Refused(word="FORKED"):
                raise self._history.differs(error.rest)
            case Refused(word="FORGOTTEN"):
                what = f"an acknowledgement was lost, and the server remembers only records from offset {error.rest} on"
                return NotDurable(what, "unknown")
            case DataCorrupt() | Forked():
                raise error
        return NotDurable(str(error))


def _received(link: Link, timeout_s: float) -> Any:
    """An answer, or the server's error in its place. Raises Lost."""
    try:
        return link.receive(timeout_s)
    except Lost:
        raise
    except (PenstockError, NoScript, Refused) as error:
        return error
