"""One call of append or append_many on its way: a delivery report for each record, one future for all of them."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, Message

from common.values.errors import PenstockError, Unavailable, Written
from common.values.ids import Offset, SequencerId
from writebuffer.contract import Appended, AppendedRange
from writebuffer.record import Record


class _UncancellableFuture(Future[Any]):
    """A caller's cancel() changes nothing and cannot get in the way of the result."""

    def cancel(self) -> bool:
        return False


class Places:
    """What the reports of one sequencer, in their order, say of offsets.

    Where a broker had a batch already, too long ago to know where, it gives no offset (-1), and librdkafka counts on
    from that: the first record has none, the second 0, the third 1. A real offset is never below the number of records
    before it.
    """

    __slots__ = ("unplaced",)

    def __init__(self) -> None:
        self.unplaced = 0
        """Records without an offset since the last one with it."""


class Delivery:
    """Resolves once every record that was handed to librdkafka has its report; reports come in order of offsets.

    Reports are read by the writer's thread, `stop` is called by the one that appends; each sees what the other did
    last, and whichever comes last settles.
    """

    __slots__ = (
        "_failure",
        "_first",
        "_last",
        "_left",
        "_places",
        "_records",
        "_settle",
        "_single",
        "_unplaced",
        "_unsent",
        "future",
        "sequencer",
    )

    def __init__(
        self,
        sequencer: SequencerId,
        places: Places,
        records: Sequence[Record],
        settle: "Callable[[Delivery, Offset | None, KafkaError | PenstockError | None], None]",
        *,
        single: bool,
    ) -> None:
        """settle(delivery, last offset, failure): called once, or in a race twice, when nothing more will come.

        Without offset and failure all of it exists, but the broker did not say where.
        """
        self.sequencer = sequencer
        self._places = places
        self._records = records
        self._settle = settle
        self._single = single
        self._left = len(records)
        self._unsent = 0
        self._first = self._last = -1
        self._unplaced = False
        self._failure: KafkaError | PenstockError | None = None
        self.future: Future[Any] = _UncancellableFuture()

    def reported(self, error: KafkaError | None, message: Message) -> None:
        """librdkafka's report for the next record."""
        self._left -= 1
        if error is not None:
            self._failure = self._failure or error
        elif (offset := message.offset()) is None or offset < self._places.unplaced:
            self._places.unplaced += 1
            self._unplaced = True
        else:
            if self._places.unplaced:
                self._places.unplaced = 0
            self._last = offset
            if self._first < 0:
                self._first = offset
        if self._left == self._unsent:
            self._settle(self, None if self._unplaced else Offset(self._last), self._failure)

    def stop(self, sent: int, error: PenstockError) -> None:
        """Only the first `sent` records were handed over, because of `error`."""
        self._failure = error
        self._unsent = len(self._records) - sent
        if self._left == self._unsent:
            self._settle(self, None, error)

    def newest(self) -> Record:
        return self._records[-1]

    def resolve(self) -> None:
        first = Appended(Offset(self._first), self._records[0].append_time_ns)
        last = Appended(Offset(self._last), self._records[-1].append_time_ns)
        with suppress(InvalidStateError):  # closed meanwhile
            self.future.set_result(first if self._single else AppendedRange(first, last))

    def fail(self, error: PenstockError) -> None:
        if isinstance(error, Unavailable) and self._first >= 0:
            error = as_unknown(error)
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    def written(self) -> Written:
        """Whether any of its records may exist, should it end now."""
        return "no" if self._unsent == len(self._records) else "unknown"


def as_unknown(error: Unavailable) -> Unavailable:
    known = type(error)(error.message, **(error.details | {"written": "unknown"}))
    known.__cause__ = error.__cause__
    return known
