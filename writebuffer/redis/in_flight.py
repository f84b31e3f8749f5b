"""What one writer has under way to one sequencer: its queue, the batches sent and not answered, and what is in doubt.

Only bookkeeping: no thread, no server, no clock, no lock. The Appender calls it under its lock, does what was decided
outside of it, and resolves the futures there too, since callbacks run at once.

- Records leave in the order in which they came, in batches. What the server put off, and what was in flight when its
  connection was lost, goes back to the front, in order.
- A batch that is sent while one ahead is not answered names the last record of that one, and is not stored without it.
- An append fails at its deadline wherever it is. Its records may then exist if they are in flight or in doubt, and if
  they are not they never will: what failed is sent no more.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from functools import cached_property

from common.values.errors import Written
from common.values.ids import Offset
from writebuffer.pending import Group, Pending
from writebuffer.record import Record
from writebuffer.redis.commands import Runs

BATCH_BYTES_MAX = 2 * 2**20
"""10 ms of the server's time, in which it serves nobody else."""
BATCH_RECORDS_MAX = 2048
BATCHES_AHEAD = 2
"""One is carried out while the next is packed; more would only add to what is in doubt."""


class Append(Pending):
    """One call that must resolve by `deadline_s` (monotonic)."""

    def __init__(self, records: Sequence[Record], deadline_s: float, *, single: bool) -> None:
        super().__init__(records, single=single)
        self.deadline_s = deadline_s
        self.in_flight = 0
        """Batches with records of it that were sent and not answered yet."""
        self.doubt: Offset | None = None
        """At or above it its records may exist, from a batch that was never answered."""

    @property
    def written(self) -> Written:
        return "unknown" if self.in_flight or self.doubt is not None else "no"


Failed = list[tuple[Append, Written]]
"""Appends to fail, and whether records of them may exist."""
Stretch = tuple[int, int]
"""Records at consecutive offsets: the first one's, and how many."""
Share = tuple[Append, int]
"""An append, and how many of its records."""


class Batch:
    """Records that go to the server in one call."""

    def __init__(self, group: Group[Append], after: bytes) -> None:
        """after: the last run of the batch that must be stored before it; empty where there is none."""
        self.records = group.records
        self.shares: Sequence[Share] = group.shares
        self.after = after
        self.doubt = min((append.doubt for append, _ in group.shares if append.doubt is not None), default=None)

    @cached_property
    def runs(self) -> Runs:
        return Runs.of(self.records)

    def placed(self, stretches: Iterable[Stretch]) -> list[tuple[Append, Offset, int]]:
        """The offsets of each append's records, as the answer says. One in two stretches has two parts."""
        parts: list[tuple[Append, Offset, int]] = []
        following = iter(stretches)
        at = left = 0
        for append, count in self.shares:
            while count:
                if not left:
                    at, left = next(following)
                part = min(count, left)
                parts.append((append, Offset(at), part))
                at, left, count = at + part, left - part, count - part
        return parts


class InFlight:
    """Of each append it knows the records that are queued, in flight or put off, until it resolves."""

    def __init__(self) -> None:
        self._queue: deque[Append] = deque()
        """What has records that are in no batch."""
        self._open: dict[Append, None] = {}
        """All that has not resolved, oldest first."""
        self._sent: deque[Batch] = deque()
        self._put_off: list[Batch] = []
        """Batches that the server refused for now; sent again once nothing is in flight."""

    def add(self, append: Append) -> None:
        self._queue.append(append)
        self._open[append] = None

    def open(self) -> list[Append]:
        return list(self._open)

    @property
    def is_empty(self) -> bool:
        """Every append has resolved. Batches of those that failed may still be in flight."""
        return not self._open

    @property
    def is_idle(self) -> bool:
        """Nothing to send and nothing to wait for."""
        return not self._open and not self._sent

    def next_deadline_s(self) -> float | None:
        return next((append.deadline_s for append in self._open), None)

    def next_batch(self) -> Batch | None:
        """Counts as sent from now on. None where nothing may be sent before an answer came, or nothing is queued."""
        if self._put_off or len(self._sent) == BATCHES_AHEAD:
            return None
        group: Group[Append] = Group(BATCH_RECORDS_MAX, BATCH_BYTES_MAX)
        while self._queue:
            append = self._queue[0]
            if append in self._open and not group.take(append):
                break
            self._queue.popleft()
        if not group.records:
            return None
        for append, _ in group.shares:
            append.in_flight += 1
        batch = Batch(group, self._sent[-1].runs.last if self._sent else b"")
        self._sent.append(batch)
        return batch

    def oldest(self) -> Batch | None:
        """The batch whose answer comes next."""
        return self._sent[0] if self._sent else None

    def answered(self, whole: Iterable[Append]) -> None:
        """The oldest batch is durable, and so is `whole`, whose futures have resolved."""
        self._arrived()
        for append in whole:
            self._open.pop(append, None)

    def refused(self) -> Failed:
        """Nothing was done with the oldest batch, and never will be."""
        return self._removed(append for append, _ in self._arrived().shares)

    def put_off(self) -> None:
        """Nothing was done with the oldest batch, and it is to be sent again."""
        self._put_off.append(self._arrived())

    def send_again(self) -> bool:
        """Once nothing is in flight any more, what was put off goes back to the queue; whether that was so."""
        if self._sent or not self._put_off:
            return False
        self._return(self._put_off)
        self._put_off = []
        return True

    def lost(self, next_offset: Offset) -> None:
        """No answer comes any more: what is in flight may exist, at or above `next_offset`, and is to be sent again."""
        for batch in self._sent:
            for append, _ in batch.shares:
                append.doubt = next_offset if append.doubt is None else append.doubt
                append.in_flight -= 1
        self._return([*self._put_off, *self._sent])
        self._sent.clear()
        self._put_off = []

    def expired(self, now_s: float) -> Failed:
        """What is past its deadline."""
        late: list[Append] = []
        for append in self._open:
            if append.deadline_s > now_s:
                break
            late.append(append)
        return self._removed(late)

    def abandon(self) -> Failed:
        """All that has not resolved."""
        return self._removed(self.open())

    def _arrived(self) -> Batch:
        batch = self._sent.popleft()
        for append, _ in batch.shares:
            append.in_flight -= 1
        return batch

    def _removed(self, appends: Iterable[Append]) -> Failed:
        """Those of them that are open, which they are no longer."""
        removed: Failed = []
        for append in appends:
            if append in self._open:
                del self._open[append]
                removed.append((append, append.written))
        return removed

    def _return(self, batches: Sequence[Batch]) -> None:
        for batch in reversed(batches):
            for append, count in reversed(batch.shares):
                append.ungrouped(count)
                if not self._queue or self._queue[0] is not append:
                    self._queue.appendleft(append)
