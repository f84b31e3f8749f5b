"""The router's core when something ends early: requests that wait too long, parsers and writers that break, a stop."""

from collections.abc import Sequence

import pytest

from common.entry import decode
from common.values.errors import DataCorrupt, Fenced, Forked, PenstockError
from router.core.events import (
    Action,
    Append,
    Cancel,
    Expired,
    Finished,
    Halt,
    Parse,
    ParseFailed,
    Respond,
    Settle,
    SettleFailed,
    Stop,
    Stopped,
)
from router.core.outcome import Failed, Outcome, Retry
from tests.support.router_core import AWAY, LATE, Steps, every, only, outcomes, statuses
from writebuffer.errors import WriterDied

DEFECT = PenstockError("defect")


def written(actions: Sequence[Action]) -> dict[int, str]:
    """What the answers to requests that are to be sent again say of their rows."""
    found = outcomes(actions)
    assert all(isinstance(outcome, Retry) for outcome in found.values())
    return {request_id: outcome.error.written for request_id, outcome in found.items() if isinstance(outcome, Retry)}


def rows(appends: Sequence[Append]) -> list[float]:
    """The values of `f` that were to be appended."""
    payloads = [record.payload for append in appends for record in append.records]
    return [row["f"] for payload in payloads for row in decode(payload).tables["t"].to_pylist()]


def test_a_write_that_takes_too_long_is_503_and_its_bytes_stay_counted() -> None:
    """At the timeout the client is answered; the record is still on its way and keeps its share of memory."""
    steps = Steps()
    steps.learn("t f=1")
    parse = only(steps.arrive("t f=2"), Parse)
    append = only(steps.parsed(parse), Append)
    assert written(steps.step(Expired(2, LATE))) == {2: "unknown"}
    assert steps.admission.bytes_held == len("t f=2")
    assert steps.appended(append) == [Finished(parse.batch_id)]
    assert steps.admission.bytes_held == 0
    assert steps.step(Expired(2, LATE)) == []


@pytest.mark.parametrize("stage", ["parsing", "parsing that ends early", "settling", "settling that ends early"])
def test_nothing_is_appended_for_a_write_that_was_given_up(stage: str) -> None:
    """A batch whose clients were all answered before its append is cancelled and dropped, not stored after they
    gave up."""
    steps = Steps()
    parse = only(steps.arrive("t f=1"), Parse)
    settle = only(steps.parsed(parse), Settle) if "settling" in stage else None
    actions = steps.step(Expired(1, LATE))
    assert written(actions) == {1: "no"}
    assert every(actions, Cancel) == [Cancel(parse.batch_id)]
    if "early" in stage:
        failed = SettleFailed(parse.batch_id, AWAY, {}) if settle else ParseFailed(parse.batch_id, AWAY)
        assert steps.step(failed) == [Finished(parse.batch_id)]
    else:
        assert (steps.settled(settle) if settle else steps.parsed(parse)) == [Finished(parse.batch_id)]
    assert steps.admission.bytes_held == 0


def test_a_write_that_waits_too_long_for_its_batch_is_answered_and_forgotten() -> None:
    """While an earlier batch takes long, a request is answered in its own time; its body is free and never parsed."""
    steps = Steps()
    steps.learn("t f=1")
    first = only(steps.arrive("t f=2"), Parse)
    steps.arrive("t f=3")
    assert written(steps.step(Expired(3, LATE))) == {3: "no"}
    assert steps.admission.bytes_held == len("t f=2")
    assert every(steps.parsed(first), Parse) == []


def test_requests_of_one_batch_expire_each_in_its_own_time() -> None:
    """One that expires does not end its neighbours; only the last one's end cancels the batch."""
    steps = Steps()
    steps.learn("t f=1")
    first = only(steps.arrive("#"), Parse)
    steps.arrive("t f=2")
    steps.arrive("t f=3")
    parse = every(steps.parsed(first), Parse)[0]
    assert [type(action) for action in steps.step(Expired(3, LATE))] == [Respond]
    again = only(steps.parsed(parse), Parse)
    assert [body.data for body in again.bodies] == [b"t f=3"]
    append = only(steps.parsed(again), Append)
    assert statuses(steps.appended(append)) == {4: 204}


@pytest.mark.parametrize("stage", ["parsing", "settling"])
def test_of_a_request_that_expires_before_its_append_nothing_is_appended(stage: str) -> None:
    """Its rows were parsed together with others': these are parsed again, and stored without it."""
    steps = Steps()
    blocking = only(steps.arrive("#"), Parse)
    steps.arrive("t f=1")
    steps.arrive("t f=2")
    (parse,) = every(steps.parsed(blocking), Parse)
    settle = only(steps.parsed(parse), Settle) if stage == "settling" else None
    assert written(steps.step(Expired(2, LATE))) == {2: "no"}
    again = only(steps.settled(settle) if settle else steps.parsed(parse), Parse)
    actions = steps.parsed(again)
    append = only(actions if settle else steps.settled(only(actions, Settle)), Append)
    assert rows([append]) == [2.0]
    assert statuses(steps.appended(append)) == {3: 204}
    assert steps.admission.bytes_held == 0


@pytest.mark.parametrize("kind", [Fenced, Forked, DataCorrupt, WriterDied])
def test_an_append_that_fails_for_good_halts_the_router(kind: type[PenstockError]) -> None:
    """When no later append can succeed in this process, the requests are answered and the driver is asked to end."""
    steps = Steps()
    steps.learn("t f=1")
    append = only(steps.parsed(only(steps.arrive("t f=2"), Parse)), Append)
    error = kind("epoch 7 holds it")
    actions = steps.append_failed(append, error)
    assert every(actions, Halt) == [Halt(error)]
    assert statuses(actions) == {2: 500 if kind is DataCorrupt else 503}


def test_stopping_refuses_new_writes_and_finishes_the_others() -> None:
    """After Stop new requests get 503, collected ones are still stored, and Stopped comes after the last answer."""
    steps = Steps()
    steps.learn("t f=1")
    parse = only(steps.arrive("t f=2"), Parse)
    steps.arrive("t f=3")
    assert steps.step(Stop()) == []
    assert statuses(steps.arrive("t f=4")) == {4: 503}
    first, second = steps.parsed(parse)
    assert isinstance(first, Append)
    assert isinstance(second, Parse)
    assert not every(steps.appended(first), Stopped)
    last = steps.appended(only(steps.parsed(second), Append))
    assert statuses(last) == {3: 204}
    assert last[-1] == Stopped()


def test_stopping_an_idle_router_is_immediate() -> None:
    """With nothing in flight Stop is answered by Stopped at once."""
    assert Steps().step(Stop()) == [Stopped()]


def test_a_defect_in_the_parser_answers_500_and_frees_the_slot() -> None:
    """When the parser breaks, the requests of that batch get 500 and the next batch is parsed."""
    steps = Steps()
    parse = only(steps.arrive("t f=1"), Parse)
    steps.arrive("t f=2")
    actions = steps.step(ParseFailed(parse.batch_id, PenstockError("defect")))
    assert statuses(actions) == {1: 500}
    assert len(every(actions, Parse)) == 1


def test_a_body_that_breaks_the_parser_costs_the_others_nothing() -> None:
    """Each body of its batch is parsed again alone, in order and before later ones; it alone is answered 500."""
    steps = Steps()
    blocking = only(steps.arrive("t f=0"), Parse)
    first = steps.requests + 1
    for n in range(3):
        assert steps.arrive(f"t f={n}") == []
    (batch,) = every(steps.parsed(blocking), Parse)
    assert len(batch.bodies) == 3
    assert steps.arrive("t f=9") == []
    held = steps.admission.bytes_held
    answered: dict[int, Outcome] = {}
    actions = steps.step(ParseFailed(batch.batch_id, DEFECT))
    for n in range(3):
        (alone,) = every(actions, Parse)
        assert [body.data for body in alone.bodies] == [f"t f={n}".encode()]
        actions = steps.step(ParseFailed(alone.batch_id, DEFECT)) if n == 1 else steps.parsed(alone)
        answered |= outcomes(actions)
    (later,) = every(actions, Parse)
    assert [body.data for body in later.bodies] == [b"t f=9"]
    assert answered == {first + 1: Failed(DEFECT)}
    assert steps.admission.bytes_held == held - len("t f=1")


def test_a_body_whose_parser_died_is_parsed_once_more() -> None:
    """A process may die of something else; a second death is the body's, and answered."""
    steps = Steps()
    steps.learn("t f=1")
    first = only(steps.arrive("t f=2"), Parse)
    again = only(steps.step(ParseFailed(first.batch_id, DEFECT, parser_died=True)), Parse)
    assert again.bodies == first.bodies
    assert statuses(steps.step(ParseFailed(again.batch_id, DEFECT, parser_died=True))) == {2: 500}
    assert steps.admission.bytes_held == 0


def test_a_stream_whose_parser_died_is_parsed_once_more() -> None:
    """It always has a batch of its own; so it was not found by that to be what kills parsers."""
    steps = Steps()
    first = only(steps.arrive("a stream", table="t"), Parse)
    again = only(steps.step(ParseFailed(first.batch_id, DEFECT, parser_died=True)), Parse)
    assert statuses(steps.step(ParseFailed(again.batch_id, DEFECT, parser_died=True))) == {1: 500}
    assert steps.admission.bytes_held == 0


def test_a_body_is_not_blamed_for_one_that_went_meanwhile() -> None:
    """Two were parsed when the parser broke: the one that still waits is parsed again alone, and stored."""
    steps = Steps()
    steps.learn("t f=0")
    first = only(steps.arrive("t f=1"), Parse)
    steps.arrive("t f=2")
    steps.arrive("t f=3")
    (batch,) = every(steps.parsed(first), Parse)
    steps.step(Expired(3, LATE))
    again = only(steps.step(ParseFailed(batch.batch_id, DEFECT)), Parse)
    assert [body.data for body in again.bodies] == [b"t f=3"]


def test_a_body_that_nobody_waits_for_is_not_parsed_again_after_its_parser_died() -> None:
    """Its batch was given up, and its parser killed for it: that is all."""
    steps = Steps()
    parse = only(steps.arrive("t f=1"), Parse)
    steps.step(Expired(1, AWAY))
    assert steps.step(ParseFailed(parse.batch_id, DEFECT, parser_died=True)) == [Finished(parse.batch_id)]


def test_a_body_that_waits_to_be_parsed_alone_may_expire() -> None:
    """Its bytes are free again, and it is not parsed."""
    steps = Steps()
    blocking = only(steps.arrive("t f=0"), Parse)
    for n in range(2):
        steps.arrive(f"t f={n}")
    (batch,) = every(steps.parsed(blocking), Parse)
    (alone,) = every(steps.step(ParseFailed(batch.batch_id, DEFECT)), Parse)
    held = steps.admission.bytes_held
    assert written(steps.step(Expired(steps.requests, LATE))) == {steps.requests: "no"}
    assert steps.admission.bytes_held == held - len("t f=1")
    assert every(steps.step(ParseFailed(alone.batch_id, DEFECT)), Parse) == []
