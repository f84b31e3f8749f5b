"""What is asked of a Kafka cluster, over clients whose answers come as a test says."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
import structlog
from confluent_kafka import OFFSET_END, OFFSET_INVALID, KafkaError, KafkaException

from common.values.clock import SystemClock
from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.wait import wait_until
from writebuffer.kafka import cluster as cluster_module
from writebuffer.kafka.cluster import Cluster
from writebuffer.kafka.url import parse

ONE = SequencerId(0)


class Answer(NamedTuple):
    """Of list_offsets and of delete_records."""

    offset: int

    @property
    def low_watermark(self) -> int:
        return self.offset


class SilentAdmin:
    """A client whose questions wait until the test answers them."""

    clients: list["SilentAdmin"]

    def __init__(self, settings: dict[str, Any]) -> None:
        self.questions: list[Future[Any]] = []
        self.clients.append(self)

    def list_offsets(self, wanted: dict[Any, Any], **_: Any) -> dict[Any, Future[Any]]:
        self.questions.append(Future())
        return dict.fromkeys(wanted, self.questions[-1])

    def list_topics(self, timeout: float) -> None: ...

    def poll(self, timeout_s: float) -> None: ...


class AnsweringAdmin(SilentAdmin):
    """A client that gets these offsets, one for each question, the last one again and again."""

    offsets: list[int]

    def list_offsets(self, wanted: dict[Any, Any], **_: Any) -> dict[Any, Future[Any]]:
        answer: Future[Any] = Future()
        answer.set_result(Answer(self.offsets.pop(0) if len(self.offsets) > 1 else self.offsets[0]))
        return dict.fromkeys(wanted, answer)

    def delete_records(self, wanted: list[Any], **_: Any) -> dict[Any, Future[Any]]:
        return self.list_offsets(dict.fromkeys(wanted))


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    AnsweringAdmin.clients = []
    monkeypatch.setattr(cluster_module, "AdminClient", AnsweringAdmin)
    return Cluster(parse("kafka://localhost:1/topic"), SystemClock(), structlog.get_logger())


ASK: dict[str, Callable[[Cluster], Offset | None]] = {
    "first": lambda cluster: cluster.first_offset(ONE),
    "next": lambda cluster: cluster.next_offset(ONE),
    "written": lambda cluster: cluster.written_offset(ONE),
    "at a time": lambda cluster: cluster.offset_at(ONE, 1),
    "trimmed": lambda cluster: cluster.trim(ONE, Offset(7)),
}


def test_a_broker_that_left_the_cluster_ends_its_question_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka drops the connection to a hanging broker once the others do not list it; the second client answers."""
    SilentAdmin.clients = []
    monkeypatch.setattr(cluster_module, "AdminClient", SilentAdmin)
    cluster = Cluster(parse("kafka://localhost:1/topic"), SystemClock(), structlog.get_logger())
    with cluster.held(), ThreadPoolExecutor(1) as thread:
        answer = thread.submit(cluster.next_offset, ONE)
        wait_until(lambda: len(SilentAdmin.clients) == 2, timeout_s=10, what="a second client asks")
        hanging, other = SilentAdmin.clients
        hanging.questions[0].set_exception(KafkaException(KafkaError(KafkaError._DESTROY_BROKER)))
        wait_until(lambda: len(other.questions) == 2, timeout_s=10, what="it is asked again")
        other.questions[1].set_result(Answer(7))
        assert answer.result(10) == 7


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_an_answer_without_an_offset_is_none(ask: Callable[[Cluster], Offset | None], answering: Cluster) -> None:
    """librdkafka gives OFFSET_INVALID where its request to the leader failed: the leader is asked again."""
    AnsweringAdmin.offsets = [OFFSET_INVALID, OFFSET_INVALID, 7]
    with answering.held():
        assert ask(answering) == 7


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_no_offset_until_the_end_is_unavailable(
    ask: Callable[[Cluster], Offset | None], answering: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so: nothing is known then, and nothing may be called lost."""
    monkeypatch.setattr("writebuffer.kafka.cluster.ANSWER_S", 0.2)
    AnsweringAdmin.offsets = [OFFSET_INVALID]
    with answering.held(), pytest.raises(Unavailable, match=r"sequencer 0: .*the broker gave no offset"):
        ask(answering)


def test_only_a_question_about_a_time_may_find_nothing(answering: Cluster) -> None:
    """Kafka says -1 where no record is that young; of the ends of a partition that is no answer."""
    AnsweringAdmin.offsets = [OFFSET_END, 7]
    with answering.held():
        assert answering.offset_at(ONE, 1) is None
        for ask in (answering.first_offset, answering.next_offset, answering.written_offset):
            AnsweringAdmin.offsets = [OFFSET_END, 7]
            assert ask(ONE) == 7
