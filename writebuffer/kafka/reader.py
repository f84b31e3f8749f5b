"""The Kafka backend's Reader: cursors over partitions, and answers about them."""

import weakref
from collections.abc import Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress

from common.clock import Clock
from common.ids import Offset, SequencerId
from common.logs import Logger
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

    def sequencers(self) -> Sequence[SequencerId]:
        return [SequencerId(number) for number in range(self._topic.found.partitions)]

    def reader(self, sequencer: SequencerId) -> KafkaCursor:
        self._check(sequencer)
        cursor = KafkaCursor(self._topic, sequencer, self._clock, self._logger)
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
        removed last may be there again, and the first offset stands where it stood, until the next trim. They are the
        same records, below what their consumers have made durable. Raises Unavailable, Forked, Misconfigured.
        """
        self._check(sequencer)
        return self._topic.trim(sequencer, before)

    def close(self) -> None:
        """Cursors raise Closed from now on, those that wait in a poll too."""
        with suppress(InvalidStateError):  # closed before
            self._topic.closed.set_result(None)
        for cursor in list(self._cursors):
            cursor.close()

    def _check(self, sequencer: SequencerId) -> None:
        if self._topic.closed.done():
            raise Closed(f"{self._topic.url.shown}: the reader was closed")
        check_sequencer(sequencer, self._topic.found.partitions)
