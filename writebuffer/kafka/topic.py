"""One topic as it was when a writer or reader opened it.

librdkafka follows a topic's name: once the topic was deleted and made again it goes on in the new one, at the old
offsets, without a word. So whoever uses it asks `verify` now and then, which compares the topic's id. What a re-made
topic can slip in before is bounded by the ages that its users give.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import contextmanager, suppress

from common.values.clock import Clock
from common.values.errors import Forked, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.contract import Offsets
from writebuffer.errors import BufferNotFound
from writebuffer.kafka.cluster import Cluster, Description
from writebuffer.kafka.url import KafkaUrl

ASKED_AGE_S = 0.25
_ABSENT_S = 1.0
"""A broker that has just started may not know every topic yet."""
_STALE_S = 5.0
"""A broker that hung, was replaced as the leader and is back answers as the leader that it was until it hears of the
new one: with the end that it knew, for some 0.1 s on a quiet machine. So long an end that would mean lost records is
asked for again."""


class Topic:
    """Safe to use from any thread. Every call raises Forked once the topic is not the one that was opened.

    closed: when it resolves, whoever waits for the broker here gets Closed.
    """

    def __init__(self, url: KafkaUrl, cluster: Cluster, clock: Clock, found: Description) -> None:
        self.url = url
        self.found = found
        self.closed: Future[None] = Future()
        self._cluster = cluster
        self._clock = clock
        self._verified_s = clock.monotonic_s()
        self._forked: str | None = None
        cluster.hold()

    def close(self) -> None:
        """Whoever waits here gets Closed. A second call does nothing."""
        with suppress(InvalidStateError):
            self.closed.set_result(None)
            self._cluster.let_go()

    def identity(self, sequencer: SequencerId) -> str:
        return f"{self.found.topic_id}/{sequencer}"

    def place(self, sequencer: SequencerId) -> str:
        return f"{self.url.shown}: sequencer {sequencer}"

    def verify(self, age_s: float) -> None:
        """Make sure that the topic was the same at some time within the last `age_s`. Raises Forked, Unavailable."""
        if self._forked:
            raise Forked(self._forked, topic_id=self.found.topic_id)
        asked_s = self._clock.monotonic_s()
        if asked_s - self._verified_s < age_s:
            return
        now = self._topic_id()
        if now != self.found.topic_id:
            what = f"made again (its id is {now}, it was {self.found.topic_id})" if now else "deleted"
            self._forked = (
                f"{self.url.shown}: the topic was {what} since it was opened; open it again, and start its readers "
                "from the first offset"
            )
            raise Forked(self._forked, topic_id=self.found.topic_id, actual=now)
        self._verified_s = asked_s

    def offsets(self, sequencer: SequencerId) -> Offsets:
        self.verify(ASKED_AGE_S)
        with self._there():
            first_offset = self._cluster.first_offset(sequencer, self.closed)
        return Offsets(first_offset, self.next_offset(sequencer))

    def next_offset(self, sequencer: SequencerId) -> Offset:
        with self._there():
            return self._cluster.next_offset(sequencer, self.closed)

    def next_offset_from(self, sequencer: SequencerId, known: Offset) -> Offset:
        """The next offset; one below `known` only after it has stayed so for some seconds."""
        return self._settled(self.next_offset, sequencer, known)

    def written_offset_from(self, sequencer: SequencerId, known: Offset) -> Offset:
        """As `next_offset_from`, but past the records of open transactions too."""
        return self._settled(self._written_offset, sequencer, known)

    def offset_at(self, sequencer: SequencerId, time_ms: int) -> Offset | None:
        self.verify(ASKED_AGE_S)
        with self._there():
            return self._cluster.offset_at(sequencer, time_ms, self.closed)

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        """At most up to next: Kafka refuses an offset above it."""
        now = self.offsets(sequencer)
        before = min(before, now.next_offset)
        if before <= now.first_offset:
            return now.first_offset
        self.verify(0)
        with self._there():
            return self._cluster.trim(sequencer, before)

    def _settled(self, ask: Callable[[SequencerId], Offset], sequencer: SequencerId, known: Offset) -> Offset:
        deadline_s = self._clock.monotonic_s() + _STALE_S
        while (found := ask(sequencer)) < known and self._clock.monotonic_s() < deadline_s:
            wait([self.closed], 0.1)
        return found

    def _written_offset(self, sequencer: SequencerId) -> Offset:
        with self._there():
            return self._cluster.written_offset(sequencer, self.closed)

    @contextmanager
    def _there(self) -> Iterator[None]:
        try:
            yield
        except BufferNotFound:
            self.verify(0)
            raise Unavailable(f"{self.url.shown}: the broker did not know the topic for a moment; try again") from None

    def _topic_id(self) -> str | None:
        """The id it has now; None once it has been absent for a while."""
        deadline_s = self._clock.monotonic_s() + _ABSENT_S
        while True:
            try:
                return self._cluster.describe(self.closed).topic_id
            except BufferNotFound:
                if self._clock.monotonic_s() > deadline_s:
                    return None
            wait([self.closed], 0.1)
