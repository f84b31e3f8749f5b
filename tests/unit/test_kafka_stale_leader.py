"""A broker that hung and is back answers for a moment as the leader that it was: no records are lost by that."""

import pytest
import structlog

from common.values.clock import SystemClock
from common.values.errors import Forked
from common.values.ids import Offset, SequencerId
from writebuffer.errors import OffsetInFuture
from writebuffer.kafka import topic as topic_module
from writebuffer.kafka.cluster import Description
from writebuffer.kafka.cursor import KafkaCursor
from writebuffer.kafka.topic import Topic
from writebuffer.kafka.url import parse

ONE = SequencerId(0)


class StaleCluster:
    """The cluster behind a topic, whose next offset is each of these in turn, the last one for ever."""

    def __init__(self, *next_offsets: int) -> None:
        self._next_offsets = [Offset(offset) for offset in next_offsets]

    def hold(self) -> None: ...

    def let_go(self) -> None: ...

    def describe(self, *_: object) -> Description:
        return Description("id", 1, 3)

    def first_offset(self, *_: object) -> Offset:
        return Offset(0)

    def next_offset(self, *_: object) -> Offset:
        return self._next_offsets.pop(0) if len(self._next_offsets) > 1 else self._next_offsets[0]


def topic_over(*next_offsets: int) -> Topic:
    cluster = StaleCluster(*next_offsets)
    return Topic(parse("kafka://localhost:1/topic"), cluster, SystemClock(), cluster.describe())  # type: ignore[arg-type]


def test_a_seek_waits_until_the_new_leader_answers() -> None:
    """The first answer is that of the cursor's opening."""
    topic = topic_over(10, 7, 7, 10)
    cursor = KafkaCursor(topic, ONE, SystemClock(), structlog.get_logger())
    cursor.seek(Offset(10))
    cursor.close()


def test_an_end_that_stays_below_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_module, "_STALE_S", 0.3)
    topic = topic_over(10, 7)
    cursor = KafkaCursor(topic, ONE, SystemClock(), structlog.get_logger())
    with pytest.raises(OffsetInFuture) as caught:
        cursor.seek(Offset(10))
    assert caught.value.details["next_offset"] == 7
    cursor.close()


@pytest.mark.parametrize(("answers", "lost"), [((10, 7, 7, 10), False), ((10, 7), True)])
def test_an_empty_poll_tells_a_stale_leader_from_lost_records(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[int, ...], lost: bool
) -> None:
    monkeypatch.setattr(topic_module, "_STALE_S", 0.3)
    cursor = KafkaCursor(topic_over(10, *answers), ONE, SystemClock(), structlog.get_logger())
    cursor.seek(Offset(10))
    if lost:
        with pytest.raises(Forked, match="read up to 10, but the next offset is 7"):
            cursor.poll(1, 1, 0)
    else:
        assert cursor.poll(1, 1, 0).records == ()
    cursor.close()
