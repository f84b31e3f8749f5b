"""A producer and a cluster whose answers the test sets: those that no real broker can be made to give on time."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from common.values.clock import FakeClock
from common.values.ids import Offset, SequencerId
from writebuffer.kafka.client_log import ClientLog
from writebuffer.kafka.cluster import Cluster, Description
from writebuffer.kafka.topic import Topic
from writebuffer.kafka.url import parse
from writebuffer.kafka.watch import Watch
from writebuffer.kafka.writer import KafkaWriter


class FakeMessage(NamedTuple):
    """A delivery report's message. offset: None where the broker did not say it."""

    at: int | None

    def offset(self) -> int | None:
        return self.at


class FakeProducer:
    """Accepts messages, and reports on them when the test says so. refusal: what the next calls of produce raise."""

    def __init__(self) -> None:
        self.refusal: KafkaError | None = None
        self._unreported: queue.SimpleQueue[Callable[[KafkaError | None, FakeMessage], None]] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def produce(self, topic: str, value: bytes, *, partition: int, timestamp: int, on_delivery: Any) -> None:
        if self.refusal:
            raise KafkaException(self.refusal)
        self._unreported.put(on_delivery)

    def poll(self, timeout_s: float) -> int:
        try:
            event = self._events.get(timeout=timeout_s) if timeout_s else self._events.get_nowait()
        except queue.Empty:
            return 0
        event()
        return 1

    def purge(self) -> None: ...

    def happens(self, event: Callable[[], None]) -> None:
        """As librdkafka calls back: within a poll."""
        self._events.put(event)

    def report(self, offset: int | None = None, error: KafkaError | None = None) -> None:
        """On the oldest message that has no report yet."""
        reported = self._unreported.get(timeout=10)
        self._events.put(lambda: reported(error, FakeMessage(offset)))


class FakeCluster:
    """Describes one topic. While `answering` is clear its answers do not come. topic_id: may change under a writer."""

    def __init__(self) -> None:
        self.answering = threading.Event()
        self.answering.set()
        self.asked = threading.Event()
        self.topic_id = "id"

    def describe(self, *until: "Future[None]") -> Description:
        self.asked.set()
        assert self.answering.wait(30)
        return Description(self.topic_id, 2, 1)

    def hold(self) -> None: ...

    def let_go(self) -> None: ...


class FakeWriting:
    """A writer over both, opened with so many records in each sequencer, with a fake clock."""

    def __init__(self, records: int = 0) -> None:
        self.clock = FakeClock()
        self.producer, self.cluster = FakeProducer(), FakeCluster()
        logger = structlog.get_logger()
        self.log = ClientLog(self.clock, logger)
        topic = Topic(parse("kafka://host/topic"), cast(Cluster, self.cluster), self.clock, self.cluster.describe())
        self.cluster.asked.clear()
        newest = {SequencerId(number): Offset(records - 1) for number in range(2)}
        watch = Watch(topic, newest, self.clock, logger)
        producer = cast(Producer, self.producer)
        self.writer = KafkaWriter(topic, producer, watch, self.log, "never", self.clock, logger)

    @classmethod
    @contextmanager
    def opened(cls, records: int = 0) -> Iterator["FakeWriting"]:
        writing = cls(records)
        try:
            yield writing
        finally:
            writing.cluster.answering.set()
            writing.writer.close()
