"""What is asked of the cluster beside producing and consuming: topics, their settings, their offsets, trimming.

One admin client, with a connection of its own: on a consumer's, a question would wait behind the long poll of its
fetch. Every call ends within some seconds, or at once when one of `until` resolves.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType  # type: ignore[attr-defined]

from common.clock import Clock
from common.errors import Unavailable, Written
from common.ids import Offset, SequencerId
from common.logs import Logger
from writebuffer.errors import BufferNotFound, Closed
from writebuffer.kafka.client import ABSENT, ANSWER_S, ClientLog, admin_settings, translated
from writebuffer.kafka.url import KafkaUrl

T = TypeVar("T")

_PAUSE_S = 0.02
_SETTLING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_CONTROLLER,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError._TRANSPORT,
}
"""What passes by itself when leaders change or topics are new."""


@dataclass(frozen=True, slots=True)
class Description:
    """A topic as the cluster has it now. `replicas`: the least number of any partition."""

    topic_id: str
    partitions: int
    replicas: int


class Cluster:
    """Safe to use from any thread. Raises, unless said otherwise, Unavailable and Misconfigured."""

    def __init__(self, url: KafkaUrl, clock: Clock, logger: Logger) -> None:
        self._url = url
        self._clock = clock
        self._log = ClientLog(logger, topic=url.topic)
        self._never: Future[None] = Future()
        self._admin = AdminClient(admin_settings(url, self._log))

    def describe(self, *until: "Future[None]") -> Description:
        """Raises BufferNotFound where there is no such topic."""
        topic = self._url.topic

        def ask(left_s: float) -> "Future[Any]":
            return self._admin.describe_topics(TopicCollection([topic]), request_timeout=left_s)[topic]

        found = self._answer("describe the topic", ask, until)
        replicas = min(len(partition.replicas) for partition in found.partitions)
        return Description(str(found.topic_id), len(found.partitions), replicas)

    def settings(self) -> dict[str, str]:
        """The topic's settings in force, whoever made them."""
        resource = ConfigResource(ResourceType.TOPIC, self._url.topic)

        def ask(left_s: float) -> "Future[Any]":
            return self._admin.describe_configs([resource], request_timeout=left_s)[resource]

        return {name: entry.value for name, entry in self._answer("read the topic's settings", ask).items()}

    def brokers(self) -> int:
        def ask(left_s: float) -> "Future[Any]":
            return self._admin.describe_cluster(request_timeout=left_s)

        return len(self._answer("count the brokers", ask).nodes)

    def first_offset(self, sequencer: SequencerId, *until: "Future[None]") -> Offset:
        return self._offset(sequencer, OffsetSpec.earliest(), until)  # type: ignore[no-untyped-call]

    def next_offset(self, sequencer: SequencerId, *until: "Future[None]") -> Offset:
        """One past the last record that consumers may see: replicated, and below any open transaction."""
        return self._offset(sequencer, OffsetSpec.latest(), until)  # type: ignore[no-untyped-call]

    def offset_at(self, sequencer: SequencerId, time_ms: int, *until: "Future[None]") -> Offset | None:
        """The first offset, in order of offsets, whose record's time is at or after `time_ms`; None without any."""
        found = self._offset(sequencer, OffsetSpec.for_timestamp(time_ms), until)
        return None if found < 0 else found

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        """Exactly what is below `before`, which is at most next; returns the first offset left."""
        at = TopicPartition(self._url.topic, sequencer, before)

        def ask(left_s: float) -> "Future[Any]":
            return self._admin.delete_records([at], request_timeout=left_s, operation_timeout=left_s)[at]

        return Offset(self._answer(f"sequencer {sequencer}: trim below {before}", ask, written="unknown").low_watermark)

    def create(self, partitions: int, replicas: int, settings: dict[str, str]) -> bool:
        """Whether this call made the topic; False where it stands already."""
        topic = NewTopic(self._url.topic, partitions, replicas, config=settings)

        def ask(left_s: float) -> "Future[Any]":
            return self._admin.create_topics([topic], request_timeout=left_s, operation_timeout=left_s)[topic.topic]

        return self._unless(KafkaError.TOPIC_ALREADY_EXISTS, "create the topic", ask)

    def delete(self) -> bool:
        """Whether there was one."""
        topic = self._url.topic

        def ask(left_s: float) -> "Future[Any]":
            return self._admin.delete_topics([topic], request_timeout=left_s, operation_timeout=left_s)[topic]

        try:
            self._answer("delete the topic", ask, written="unknown")
        except BufferNotFound:
            return False
        return True

    def _unless(self, code: int, what: str, ask: Callable[[float], "Future[Any]"]) -> bool:
        try:
            self._answer(what, ask, written="unknown", passing=code)
        except KafkaException:
            return False
        return True

    def _offset(self, sequencer: SequencerId, spec: Any, until: Sequence["Future[None]"]) -> Offset:
        at = TopicPartition(self._url.topic, sequencer)

        def ask(left_s: float) -> "Future[Any]":
            asked = self._admin.list_offsets(
                {at: spec}, request_timeout=left_s, isolation_level=IsolationLevel.READ_COMMITTED
            )
            return asked[at]

        return Offset(self._answer(f"sequencer {sequencer}: ask for offsets", ask, until).offset)

    def _answer(
        self,
        what: str,
        ask: Callable[[float], "Future[T]"],
        until: Sequence["Future[None]"] = (),
        *,
        written: Written = "no",
        passing: int | None = None,
    ) -> T:
        """The answer, asked again while leaders settle. An error of code `passing` comes through as it is."""
        deadline_s = self._clock.monotonic_s() + ANSWER_S
        while True:
            left_s = max(deadline_s - self._clock.monotonic_s(), 0.1)
            try:
                return self._wait(what, ask(left_s), left_s, until)
            except KafkaException as raised:
                error: KafkaError = raised.args[0]
                if error.code() == passing:
                    raise
                late = self._clock.monotonic_s() + _PAUSE_S > deadline_s
                if error.code() not in _SETTLING or late:
                    raise self._failed(what, error, written) from raised
            pause: list[Future[None]] = [*until, self._never]
            wait(pause, _PAUSE_S, FIRST_COMPLETED)
            with suppress(KafkaException):  # else the client asks again by the leaders it remembers
                self._admin.list_topics(timeout=1.0)

    def _wait(self, what: str, asked: "Future[T]", timeout_s: float, until: Sequence["Future[None]"]) -> T:
        waited_for: list[Future[Any]] = [asked, *until]
        wait(waited_for, timeout_s, FIRST_COMPLETED)
        self._admin.poll(0)  # takes the client's log lines and troubles
        if any(one.done() for one in until):
            raise Closed(f"{self._url.shown}: closed while it waited for the broker")
        if asked.done():
            return asked.result()
        trouble = self._log.explain(KafkaError(KafkaError._TIMED_OUT))
        raise self._failed(what, trouble, "unknown")

    def _failed(self, what: str, error: KafkaError, written: Written) -> Exception:
        shown = self._url.shown
        if error.code() in ABSENT:
            return BufferNotFound(
                f"{shown}: there is no topic {self._url.topic!r}; `penstock up` or a router makes it, or "
                "`connect(url).create(sequencers)`, or Kafka's own tools with the settings of docs/formats/kafka.md",
                url=shown,
            )
        explained = self._log.explain(error)
        raised = translated(explained, f"{shown}: {what}", written=written)
        if isinstance(raised, Unavailable) and explained is error and error.code() == KafkaError._TIMED_OUT:
            return Unavailable(f"{shown}: {what}: no answer within {ANSWER_S:g} s", written=written)
        return raised
