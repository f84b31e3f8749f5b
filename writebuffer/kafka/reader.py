"""The Kafka backend's Reader: cursors over partitions, and answers about them."""

import threading
import weakref
from collections.abc import Sequence

from common.logs import Logger
from common.values.clock import Clock
from common.values.ids import Offset, SequencerId
from writebuffer.checks import check_sequencer
from writebuffer.contract import Offsets
from writebuffer.errors import Closed
from writebuffer.kafka.cursor import KafkaCursor
from writebuffer.kafka.topic import Topic


class KafkaReader:
    """Implements Reader and Trimmable."""

    def __init__(self, topic: Topic, clock: Clock, logger: Logger) -> None:
        self._topic = topic
        self._clock = clock
        self._logger = logger
        self._cursors: weakref.WeakSet[KafkaCursor] = weakref.WeakSet()
        self._lock = threading.Lock()

    def sequencers(self) -> Sequence[SequencerId]:
        return [SequencerId(number) for number in range(self._topic.found.partitions)]

    def cursor(self, sequencer: SequencerId) -> KafkaCursor:
        self._check(sequencer)
        cursor = KafkaCursor(self._topic, sequencer, self._clock, self._logger)
        with self._lock:
            self._cursors.add(cursor)
        return cursor

    def offsets(self, sequencer: SequencerId) -> Offsets:
        """Asked from the broker at each call. Raises Unavailable, Forked, UnknownSequencer."""
        self._check(sequencer)
        return self._topic.offsets(sequencer)

    def identity(self, sequencer: SequencerId) -> str:
        """The id that Kafka gave the topic, and the partition."""
        self._check(sequencer)
        return self._topic.identity(sequencer)

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        """Removes exactly what lies below `before`, at most up to next; disk space is given back by whole segments.

        A broker keeps the first offset in a file that it writes once a minute by default: after a crash the records
        removed last may be there again, and the first offset is what it was, until the next trim. They are the
        same records, below what their consumers have made durable. Raises Unavailable, Forked, Misconfigured.

        Kafka tells no client how many bytes a partition has: the reader is not Measurable, and `keep_bytes` no limit.
        """
        self._check(sequencer)
        return self._topic.trim(sequencer, before)

    def close(self) -> None:
        """Cursors raise Closed from now on, those that wait in a poll too."""
        self._topic.close()
        with self._lock:
            cursors = list(self._cursors)
        for cursor in cursors:
            cursor.close()

    def _check(self, sequencer: SequencerId) -> None:
        if self._topic.closed.done():
            raise Closed(f"{self._topic.url.shown}: the reader was closed")
        check_sequencer(sequencer, self._topic.found.partitions)
