"""The Kafka backend: what a kafka:// URL names, and how its topic is made, checked and opened."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait

import structlog
from confluent_kafka import KafkaException, Producer

from common.logs import Logger
from common.values.clock import Clock, SystemClock
from common.values.errors import Misconfigured, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.checks import check_count, check_found_count
from writebuffer.contract import Durable, SeekableByTime, Trimmable, Writer
from writebuffer.errors import BufferNotFound
from writebuffer.kafka import promise, url
from writebuffer.kafka.client import producer_settings
from writebuffer.kafka.client_log import ClientLog
from writebuffer.kafka.cluster import Cluster, Description
from writebuffer.kafka.reader import KafkaReader
from writebuffer.kafka.topic import Topic
from writebuffer.kafka.url import KafkaUrl
from writebuffer.kafka.watch import Watch
from writebuffer.kafka.writer import KafkaWriter
from writebuffer.proving import Breakable

_REPLICAS_MAX = 3
_SETTLED_S = 20.0
_PAUSE_S = 0.02


class KafkaBackend:
    """Implements Provable and Breakable. Any number of writers and readers, on any machine."""

    powers: frozenset[type] = frozenset({Durable, Trimmable, SeekableByTime, Breakable})

    def __init__(self, parsed: KafkaUrl, *, clock: Clock | None = None, logger: Logger | None = None) -> None:
        self.url = parsed.shown
        self._parsed = parsed
        self._clock = clock or SystemClock()
        self._logger: Logger = logger or structlog.get_logger()
        self._made_cluster: Cluster | None = None

    @classmethod
    def from_url(cls, text: str, *, clock: Clock | None = None, logger: Logger | None = None) -> "KafkaBackend":
        """Reads and checks `text` without asking a broker. Raises Misconfigured."""
        return cls(url.parse(text), clock=clock, logger=logger)

    def create(self, sequencers: int) -> None:
        """Make the topic, and wait until every partition has a leader. Raises as the contract says.

        One that exists is checked as for a writer (promise.py), and left as it is.
        """
        check_count(self.url, sequencers)
        with self._cluster.held():
            self._create(sequencers)

    def _create(self, sequencers: int) -> None:
        try:
            found = self._cluster.describe()
        except BufferNotFound:
            self._make(sequencers)
            found = self._until_there()
        check_found_count(self.url, found.partitions, sequencers, "a topic")
        self._checked_settings(found)
        for number in range(sequencers):
            self._cluster.next_offset(SequencerId(number))

    def open_writer(self) -> KafkaWriter:
        """Also raises Misconfigured, for a topic that could lose what is acknowledged, with the setting to change."""
        log = ClientLog(self._clock, self._logger, topic=self._parsed.topic)
        producer = self._producer(log)  # takes up to half a second to get its id; the questions below go on meanwhile
        with self._cluster.held():
            found = self._cluster.describe()
            settings = self._checked_settings(found)
            self._log_promise(found, settings)
            numbers = map(SequencerId, range(found.partitions))
            newest = {number: Offset(self._cluster.written_offset(number) - 1) for number in numbers}
            topic = self._topic(found)
        watch = Watch(topic, newest, self._clock, self._logger)
        durability = promise.durability(settings, found.replicas)
        return KafkaWriter(topic, producer, watch, log, durability, self._clock, self._logger)

    def open_reader(self) -> KafkaReader:
        with self._cluster.held():
            return KafkaReader(self._topic(self._cluster.describe()), self._clock, self._logger)

    def beside(self, name: str) -> "KafkaBackend":
        """Another topic of the same cluster."""
        parsed = url.with_topic(self._parsed, f"{self._parsed.topic}-{name}")
        return KafkaBackend(parsed, clock=self._clock, logger=self._logger)

    def delete(self) -> None:
        """Returns once the cluster knows the topic no more."""
        with self._cluster.held():
            if self._cluster.delete():
                self._until(self._is_gone, "the topic is gone")

    def break_writer(self, writer: Writer, cause: Exception) -> None:
        assert isinstance(writer, KafkaWriter)
        writer.die_of(cause)

    @property
    def _cluster(self) -> Cluster:
        if self._made_cluster is None:
            self._made_cluster = Cluster(self._parsed, self._clock, self._logger)
        return self._made_cluster

    def _topic(self, found: Description) -> Topic:
        return Topic(self._parsed, self._cluster, self._clock, found)

    def _producer(self, log: ClientLog) -> Producer:
        try:
            return Producer(producer_settings(self._parsed, log))
        except KafkaException as error:
            raise Misconfigured(f"{self.url}: librdkafka refuses the settings: {error}", url=self.url) from error

    def _make(self, sequencers: int) -> None:
        replicas = self._parsed.replication or min(_REPLICAS_MAX, self._cluster.brokers())
        if self._cluster.create(sequencers, replicas, promise.settings_of_new(replicas)):
            self._logger.info("topic made", topic=self._parsed.topic, sequencers=sequencers, replicas=replicas)

    def _checked_settings(self, found: Description) -> Mapping[str, str]:
        settings = self._cluster.settings()
        promise.check(self.url, settings, found.replicas)
        return settings

    def _log_promise(self, found: Description, settings: Mapping[str, str]) -> None:
        topic = self._parsed.topic
        if found.replicas == 1:
            self._logger.warning("one replica only", topic=topic, promise=promise.durability(settings, 1))
        if removed := promise.retention(settings):
            self._logger.warning("Kafka trims by itself, persisted or not", topic=topic, by=removed)

    def _until_there(self) -> Description:
        found: list[Description] = []

        def look() -> bool:
            try:
                found.append(self._cluster.describe())
            except BufferNotFound:
                return False
            return True

        self._until(look, "the topic that was made is there")
        return found[0]

    def _is_gone(self) -> bool:
        try:
            self._cluster.describe()
        except BufferNotFound:
            return True
        return False

    def _until(self, look: Callable[[], bool], what: str) -> None:
        deadline_s = self._clock.monotonic_s() + _SETTLED_S
        never: Future[None] = Future()
        while not look():
            if self._clock.monotonic_s() > deadline_s:
                raise Unavailable(f"{self.url}: waited {_SETTLED_S:g} s until {what}", written="unknown")
            wait([never], _PAUSE_S)
