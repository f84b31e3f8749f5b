"""What the answers to a batch mean for it: it is stored, put off, or failed; with and without replicas."""

from typing import Any

import pytest

from common.values.errors import DataCorrupt, Forked, Misconfigured, PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.redis.exchange import Answer, Exchange, NotDurable, PutOff, Stored
from writebuffer.redis.history import History
from writebuffer.redis.keys import Keys
from writebuffer.redis.link import Lost, NoScript, NotServing, Refused
from writebuffer.redis.stream import RedisStream

STREAM = RedisStream(SequencerId(0), Keys.of("penstock", SequencerId(0)), b"one", "redis://host")
AWAY = NotServing("a replica")


class Answers:
    """A Link that answers with these, one after the other; all must be read, or the next batch would get them."""

    def __init__(self, *answers: Any) -> None:
        self.left = list(answers)

    def receive(self, timeout_s: float) -> Any:
        answer = self.left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def received(link: Answers, replicas: int = 0) -> Answer:
    exchange = Exchange(STREAM, History(STREAM, Offset(5)), timeout_s=4, replicas=replicas)
    return exchange.receive(link)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "replicas", "meaning"),
    [
        (([7, 5, 2],), 0, Stored(7, [(5, 2)])),
        (([7, 5, 2, 1, 1], 2), 1, Stored(7, [(5, 2), (1, 1)])),
        (([7, 5, 2], 1), 2, NotDurable("the record reached 1 of 2 replicas in 2 s", "unknown")),
        ((AWAY, DataCorrupt("ERR WAIT cannot be used with replica instances")), 1, PutOff(AWAY)),
        ((NoScript(), 0), 1, PutOff(None)),
        ((Refused("HELD", "behind"),), 0, PutOff(None)),
        ((Unavailable("memory is full"), 0), 1, NotDurable("memory is full")),
        ((Misconfigured("no right"),), 0, NotDurable("no right")),
    ],
)
def test_each_answer_has_its_meaning(answers: tuple[Any, ...], replicas: int, meaning: Answer) -> None:
    """Refused ones say nothing about what may be stored from before; both answers are read, also after a refusal."""
    link = Answers(*answers)
    assert received(link, replicas) == meaning
    assert link.left == []


@pytest.mark.parametrize(
    "answers", [([7, 5, 2], DataCorrupt("WAIT is refused")), (Refused("FORGOTTEN", "4000"), DataCorrupt("the same"))]
)
def test_what_cannot_be_known_is_unknown(answers: tuple[Any, ...]) -> None:
    """Whether replicas have it where they cannot be waited for, and whether it is stored where that is forgotten."""
    meaning = received(Answers(*answers), replicas=1)
    assert isinstance(meaning, NotDurable)
    assert meaning.written == "unknown"


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (Refused("FORKED", "next 3"), Forked),
        (DataCorrupt("not what penstock wrote"), DataCorrupt),
        (Lost("no answer"), Lost),
    ],
)
def test_what_ends_the_writer_or_its_connection_is_raised(answer: Exception, raised: type[PenstockError]) -> None:
    """With what was known and what was found, where the stream is forked."""
    with pytest.raises(raised) as met:
        received(Answers(answer))
    assert raised is not Forked or "next offset 5 were known, found next 3" in met.value.message
