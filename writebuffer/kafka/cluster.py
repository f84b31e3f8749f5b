"""What is asked of the cluster beside producing and consuming: topics, their settings, their offsets, trimming.

One admin client, with a connection of its own: on a consumer's, a question would wait for the long poll of its
fetch. Every call ends within some seconds, or at once when one of `until` resolves. A question that is not answered
within a second is asked once more by a new client, since the broker that the first one chose may hang, and it would
not choose another. The client is there while somebody holds the cluster, and no longer.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType  # type: ignore[attr-defined]

from common.logs import Logger
from common.values.clock import Clock
from common.values.errors import Misconfigured, Written
from common.values.ids import Offset, SequencerId
from writebuffer.errors import HOW_TO_MAKE, BufferNotFound, Closed
from writebuffer.kafka.client import ANSWER_S, admin_settings
from writebuffer.kafka.client_log import ClientLog
from writebuffer.kafka.failures import ABSENT
from writebuffer.kafka.offset_answer import NONE_SO_YOUNG, offset_of
from writebuffer.kafka.url import KafkaUrl

T = TypeVar("T")

_PAUSE_S = 0.02
_AGAIN_S = 1.0
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
    KafkaError._DESTROY_BROKER,
}
"""What passes by itself when leaders change, topics are new, or a broker that hangs leaves the cluster.

_DESTROY_BROKER: librdkafka ends its connection to a broker that the cluster does not list any more, and with it the
questions that wait there.
"""


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
        self._log = ClientLog(clock, logger, topic=url.topic)
        self._never: Future[None] = Future()
        self._lock = threading.Lock()
        self._holders = 0
        self._made_admin: AdminClient | None = None

    def hold(self) -> None:
        """The client may stay until `let_go`."""
        with self._lock:
            self._holders += 1

    def let_go(self) -> None:
        """With the last one that does, the client's connections and threads end."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._made_admin = None

    @contextmanager
    def held(self) -> Iterator["Cluster"]:
        self.hold()
        try:
            yield self
        finally:
            self.let_go()

    def describe(self, *until: "Future[None]") -> Description:
        """Raises BufferNotFound where there is no such topic."""
        topic = self._url.topic

        def ask(admin: AdminClient, left_s: float) -> "Future[Any]":
            return admin.describe_topics(TopicCollection([topic]), request_timeout=left_s)[topic]

        found = self._answer("describe the topic", ask, until)
        replicas = min(len(partition.replicas) for partition in found.partitions)
        return Description(str(found.topic_id), len(found.partitions), replicas)

    def settings(self) -> dict[str, str]:
        """The topic's settings in force, whoever made them."""
        resource = ConfigResource(ResourceType.TOPIC, self._url.topic)

        def ask(admin: AdminClient, left_s: float) -> "Future[Any]":
            return admin.describe_configs([resource], request_timeout=left_s)[resource]

        return {name: entry.value for name, entry in self._answer("read the topic's settings", ask).items()}

    def brokers(self) -> int:
        def ask(admin: AdminClient, left_s: float) -> "Future[Any]":
            return admin.describe_cluster(request_timeout=left_s)

        return len(self._answer("count the brokers", ask).nodes)

    def first_offset(self, sequencer: SequencerId, *until: "Future[None]") -> Offset:
        return self._offset(sequencer, OffsetSpec.earliest(), until)  # type: ignore[no-untyped-call]

    def next_offset(self, sequencer: SequencerId, *until: "Future[None]") -> Offset:
        """One past the last record that consumers may see: replicated, and below any open transaction."""
        return self._offset(sequencer, OffsetSpec.latest(), until)  # type: ignore[no-untyped-call]

    def written_offset(self, sequencer: SequencerId, *until: "Future[None]") -> Offset:
        """One past the last replicated record, whether consumers may see it yet or not."""
        return self._offset(sequencer, OffsetSpec.latest(), until, IsolationLevel.READ_UNCOMMITTED)  # type: ignore[no-untyped-call]

    def offset_at(self, sequencer: SequencerId, time_ms: int, *until: "Future[None]") -> Offset | None:
        """The first offset, in order of offsets, whose record's time is at or after `time_ms`; None without any."""
        found = self._offset(sequencer, OffsetSpec.for_timestamp(time_ms), until, least=NONE_SO_YOUNG)
        return None if found == NONE_SO_YOUNG else found

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        """Exactly what is below `before`, which is at most next; returns the first offset left."""
        at = TopicPartition(self._url.topic, sequencer, before)

        def ask(admin: AdminClient, left_s: float) -> "Future[Offset]":
            answer = admin.delete_records([at], request_timeout=left_s, operation_timeout=left_s)[at]
            return offset_of(answer, lambda deleted: deleted.low_watermark)

        return self._answer(f"sequencer {sequencer}: trim below {before}", ask, written="unknown")

    def create(self, partitions: int, replicas: int, settings: dict[str, str]) -> bool:
        """Whether this call made the topic; False where it exists already."""
        topic = NewTopic(self._url.topic, partitions, replicas, config=settings)

        def ask(admin: AdminClient, left_s: float) -> "Future[Any]":
            return admin.create_topics([topic], request_timeout=left_s, operation_timeout=left_s)[topic.topic]

        return self._unless(KafkaError.TOPIC_ALREADY_EXISTS, "create the topic", ask)

    def delete(self) -> bool:
        """Whether there was one."""
        topic = self._url.topic

        def ask(admin: AdminClient, left_s: float) -> "Future[Any]":
            return admin.delete_topics([topic], request_timeout=left_s, operation_timeout=left_s)[topic]

        try:
            self._answer("delete the topic", ask, written="unknown")
        except BufferNotFound:
            return False
        return True

    def _unless(self, code: int, what: str, ask: Callable[[AdminClient, float], "Future[Any]"]) -> bool:
        try:
            self._answer(what, ask, written="unknown", passing=code)
        except KafkaException:
            return False
        return True

    def _offset(
        self,
        sequencer: SequencerId,
        spec: Any,
        until: Sequence["Future[None]"],
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
        *,
        least: int = 0,
    ) -> Offset:
        at = TopicPartition(self._url.topic, sequencer)

        def ask(admin: AdminClient, left_s: float) -> "Future[Offset]":
            answer = admin.list_offsets({at: spec}, request_timeout=left_s, isolation_level=isolation)[at]
            return offset_of(answer, lambda listed: listed.offset, least)

        return self._answer(f"sequencer {sequencer}: ask for offsets", ask, until)

    def _answer(
        self,
        what: str,
        ask: Callable[[AdminClient, float], "Future[T]"],
        until: Sequence["Future[None]"] = (),
        *,
        written: Written = "no",
        passing: int | None = None,
    ) -> T:
        """The answer, asked again while leaders settle. An error of code `passing` comes through as it is.

        What changes something (`written` unknown) is not asked a second time while it may be under way.
        """
        asked: dict[Future[T], AdminClient] = {}
        try:
            return self._ask_until_answered(what, ask, until, asked, written, passing)
        finally:
            asked.clear()  # an error that somebody keeps must not keep a client with it

    def _ask_until_answered(
        self,
        what: str,
        ask: Callable[[AdminClient, float], "Future[T]"],
        until: Sequence["Future[None]"],
        asked: dict["Future[T]", AdminClient],
        written: Written,
        passing: int | None,
    ) -> T:
        deadline_s = self._clock.monotonic_s() + ANSWER_S
        while True:
            left_s = max(deadline_s - self._clock.monotonic_s(), 0.1)
            current = self._ask(ask, left_s, asked)
            answer = self._wait(asked, min(left_s, _AGAIN_S) if written == "no" else left_s, until)
            late = self._clock.monotonic_s() + _PAUSE_S > deadline_s
            if answer is None:
                if late:
                    raise self._failed(what, KafkaError(KafkaError._TIMED_OUT), "unknown")
                self._drop(asked[current])
                continue
            raised = answer.exception()
            if raised is None:
                self._log.answered()
                return answer.result()
            if not isinstance(raised, KafkaException):
                raise raised
            error: KafkaError = raised.args[0]
            if error.code() == passing:
                raise raised
            if error.code() not in _SETTLING or late:
                raise self._failed(what, error, written) from raised
            pause: list[Future[None]] = [*until, self._never]
            wait(pause, _PAUSE_S, FIRST_COMPLETED)
            with suppress(KafkaException):  # else the client asks again by the leaders it remembers
                asked.pop(answer).list_topics(timeout=1.0)

    def _ask(
        self, ask: Callable[[AdminClient, float], "Future[T]"], left_s: float, asked: dict["Future[T]", AdminClient]
    ) -> "Future[T]":
        admin = self._admin()
        question = ask(admin, left_s)
        asked[question] = admin
        return question

    def _wait(
        self, asked: Mapping["Future[T]", AdminClient], timeout_s: float, until: Sequence["Future[None]"]
    ) -> "Future[T] | None":
        """The first of `asked` that is answered, if one is."""
        waited_for: list[Future[Any]] = [*asked, *until]
        wait(waited_for, timeout_s, FIRST_COMPLETED)
        _take_events(asked.values())
        if any(one.done() for one in until):
            raise Closed(f"{self._url.shown}: closed while it waited for the broker")
        return next((one for one in asked if one.done()), None)

    def _admin(self) -> AdminClient:
        with self._lock:
            if self._made_admin is not None:
                return self._made_admin
            try:
                admin = AdminClient(admin_settings(self._url, self._log))
            except KafkaException as error:
                raise Misconfigured(f"{self._url.shown}: librdkafka refuses the settings: {error}") from error
            if self._holders:  # else it is one that asked while the last one let go
                self._made_admin = admin
            return admin

    def _drop(self, admin: AdminClient) -> None:
        """The next question makes a new client; who still waits for this one keeps it."""
        with self._lock:
            if self._made_admin is admin:
                self._made_admin = None

    def _failed(self, what: str, error: KafkaError, written: Written) -> Exception:
        shown = self._url.shown
        if error.code() in ABSENT:
            return BufferNotFound(
                f"{shown}: there is no topic {self._url.topic!r}; {HOW_TO_MAKE}. Kafka's own tools can make "
                "one, too, with the settings of docs/formats/kafka.md",
                url=shown,
            )
        if error.code() == KafkaError._TIMED_OUT:
            what = f"{what}: no answer within {ANSWER_S:g} s"
        return self._log.failure(error, f"{shown}: {what}", written=written)


def _take_events(admins: Iterable[AdminClient]) -> None:
    """The clients' log lines and troubles."""
    for admin in admins:
        admin.poll(0)
