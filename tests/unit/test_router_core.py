"""The router's core, step by step: admission, coalescing, schemas, appends, answers, stopping."""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.entry import decode
from common.errors import DataCorrupt, Fenced, Forked, PenstockError, Unavailable
from common.ids import Offset, SequencerId
from common.schema import ColumnType
from common.token import TOKEN_HEADER
from router import answers
from router.admission import Admission
from router.answers import FINAL_TEXTS, Answer, Result
from router.batch import BatchParser
from router.core import RouterCore
from router.events import (
    Action,
    Append,
    AppendDone,
    AppendFailed,
    Arrived,
    Cancel,
    Event,
    Expired,
    Finished,
    Halt,
    Parse,
    Parsed,
    ParseFailed,
    Respond,
    Settle,
    Settled,
    SettleFailed,
    Stop,
    Stopped,
    WriteRequest,
)
from router.series_cache import SeriesCache
from router.table_schema import NO_SCHEMA, TableSchema, merge
from writebuffer.errors import WriterDied
from writebuffer.record import ENTRY_CONTENT_TYPE

NOW_NS = 1_700_000_000_123_456_789
PRODUCER = b"p" * 16
AWAY = Unavailable("the disk is full")
A = TypeVar("A")


class Steps:
    """A core, and a driver that does nothing until the test says so."""

    def __init__(self, in_flight: int = 10_000, batch: int = 1_000, slots: int = 1, sequencers: int = 4) -> None:
        self.admission = Admission(in_flight)
        self.core = RouterCore(PRODUCER, self.admission, batch, parse_slots=slots)
        self.parser = BatchParser(sequencers)
        self.requests = 0
        self.now_ns = NOW_NS
        self.schemas: dict[str, TableSchema] = {}

    def step(self, event: Event) -> list[Action]:
        return list(self.core.step(event, self.now_ns))

    def arrive(self, body: str, namespace: str = "ns", precision_ns: int = 1, trace: str = "") -> list[Action]:
        self.requests += 1
        return self.step(Arrived(self.requests, WriteRequest(namespace, body.encode(), precision_ns, trace)))

    def parsed(self, parse: Parse) -> list[Action]:
        return self.step(Parsed(parse.batch_id, self.parser.parse(parse.namespace, parse.bodies, parse.schemas)))

    def settled(self, settle: Settle) -> list[Action]:
        for table, additions in settle.additions.items():
            known = self.schemas.get(table, NO_SCHEMA)
            self.schemas[table] = TableSchema(known.version + 1, merge(known.columns, additions))
        return self.step(Settled(settle.batch_id, {table: self.schemas[table] for table in settle.additions}))

    def appended(self, append: Append, last_offset: int = 0) -> list[Action]:
        return self.step(AppendDone(append.batch_id, append.sequencer, Offset(last_offset)))

    def append_failed(self, append: Append, error: PenstockError = AWAY) -> list[Action]:
        return self.step(AppendFailed(append.batch_id, append.sequencer, error))

    def learn(self, body: str) -> None:
        """Bring the columns of `body` into the cache, by a write that goes all the way."""
        settle = only(self.parsed(only(self.arrive(body), Parse)), Settle)
        for append in every(self.settled(settle), Append):
            self.appended(append)


def only(actions: Sequence[Action], kind: type[A]) -> A:
    """The one action that there is, but for Finished."""
    (action,) = [action for action in actions if not isinstance(action, Finished)]
    assert isinstance(action, kind), action
    return action


def every(actions: Sequence[Action], kind: type[A]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


def answered(actions: Sequence[Action]) -> dict[int, Answer]:
    return {action.request_id: action.answer for action in every(actions, Respond)}


def statuses(actions: Sequence[Action]) -> dict[int, int]:
    return {request_id: answer.status for request_id, answer in answered(actions).items()}


def message(answer: Answer) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(answer.body)
    return values


def host_on(sequencer: int, table: str = "t") -> str:
    """A host whose series of `table` lives on `sequencer` of four."""
    cache = SeriesCache(4)
    return next(f"h{n}" for n in range(100) if cache.place("ns", f"{table},host=h{n}".encode()).sequencer == sequencer)


def test_a_write_of_new_columns_goes_parse_settle_append_respond() -> None:
    """A first write is parsed, its columns settled, its rows appended; only then is it answered 204 with a token."""
    steps = Steps()
    parse = only(steps.arrive(f"t,host={host_on(3)} f=1 5"), Parse)
    settle = only(steps.parsed(parse), Settle)
    assert settle.additions == {"t": {"host": ColumnType.TAG, "f": ColumnType.FLOAT}}
    append = only(steps.settled(settle), Append)
    assert append.sequencer == 3
    actions = steps.appended(append, 77)
    assert actions[-1] == Finished(parse.batch_id)
    answer = answered(actions)[1]
    assert (answer.status, answer.body, answer.lines_accepted) == (204, b"", 1)
    assert answer.headers == {TOKEN_HEADER: "1:3=77"}


def test_known_columns_need_no_store() -> None:
    """Once settled, columns are appended without asking the store again, also in another table of the batch."""
    steps = Steps()
    steps.learn("t f=1")
    assert every(steps.parsed(only(steps.arrive("t f=2"), Parse)), Append)


def test_idle_traffic_passes_at_once_and_busy_traffic_collects_by_namespace() -> None:
    """The first body is parsed at once; what comes meanwhile is parsed together, by namespace, in order."""
    steps = Steps()
    first = only(steps.arrive("t f=1"), Parse)
    assert [steps.arrive(f"t f={n}", namespace) for n, namespace in enumerate(["a", "b", "a", "ns"])] == [[]] * 4
    second = every(steps.parsed(first), Parse)[0]
    third = every(steps.parsed(second), Parse)[0]
    fourth = every(steps.parsed(third), Parse)[0]
    assert [(parse.namespace, [body.data for body in parse.bodies]) for parse in (second, third, fourth)] == [
        ("a", [b"t f=0", b"t f=2"]),
        ("b", [b"t f=1"]),
        ("ns", [b"t f=3"]),
    ]


def test_a_batch_stops_at_its_size_and_a_large_body_goes_alone() -> None:
    """Bodies join up to batch_bytes_max; the rest waits behind other namespaces; a larger body goes by itself."""
    steps = Steps(batch=20)
    first = only(steps.arrive("t f=1"), Parse)
    for body in ("#" * 10, "#" * 10, "#" * 1, "#" * 50):
        steps.arrive(body, "a")
    steps.arrive("#", "b")
    sizes = []
    parse = first
    while True:
        found = every(steps.parsed(parse), Parse)
        if not found:
            break
        parse = found[0]
        sizes.append((parse.namespace, [len(body.data) for body in parse.bodies]))
    assert sizes == [("a", [10, 10]), ("b", [1]), ("a", [1]), ("a", [50])]


def test_several_slots_parse_several_batches() -> None:
    """With two slots two batches are parsed at once, and the third waits."""
    steps = Steps(slots=2)
    assert only(steps.arrive("t f=1"), Parse)
    assert only(steps.arrive("t f=2"), Parse)
    assert steps.arrive("t f=3") == []


def test_too_many_bytes_in_flight_are_answered_503_with_whole_seconds() -> None:
    """Over the bound the answer is 503 at once with a whole-number Retry-After; bytes come back at the end."""
    steps = Steps(in_flight=10)
    parse = only(steps.arrive("#" * 6), Parse)
    answer = answered(steps.arrive("#" * 5))[2]
    assert (answer.status, answer.result) == (503, Result.OVERLOADED)
    assert answer.headers["Retry-After"].isdigit()
    steps.parsed(parse)
    assert steps.admission.bytes_held == 0
    assert only(steps.arrive("#" * 10), Parse)


@pytest.mark.parametrize("body", ["", "\n\n", "# nothing\n", "   "])
def test_nothing_to_store_is_a_success(body: str) -> None:
    """An empty body, or one of comments and blanks, is 204 without a token, and nothing is appended."""
    steps = Steps()
    actions = steps.arrive(body)
    if body:
        actions = steps.parsed(only(actions, Parse))
    answer = answered(actions)[1]
    assert (answer.status, answer.headers) == (204, {})
    assert not every(actions, Append)
    assert steps.admission.bytes_held == 0


def test_a_partly_good_request_is_400_with_lines_and_a_token() -> None:
    """Good lines are durable before the 400 that lists the bad ones; the token covers the good ones."""
    steps = Steps()
    steps.learn("t f=1")
    append = only(steps.parsed(only(steps.arrive("t f=2\nt f=\nt,=x f=1\nt f=4"), Parse)), Append)
    answer = answered(steps.appended(append, 9))[2]
    assert (answer.status, answer.result) == (400, Result.PARTIAL)
    assert (answer.lines_accepted, answer.lines_refused) == (2, 2)
    assert answer.headers[TOKEN_HEADER] == f"1:{append.sequencer}=9"
    assert answer.headers["X-Platform-Error-Code"] == "invalid"
    assert message(answer) == {
        "code": "invalid",
        "message": "partial write: 2 of 4 lines refused:\nline 2: missing field value\nline 3: missing tag key",
        "line": 2,
        "error": "partial write of line protocol occurred",
        "refused_count": 2,
        "data": [
            {"error_message": "missing field value", "line_number": 2, "original_line": "t f="},
            {"error_message": "missing tag key", "line_number": 3, "original_line": "t,=x f=1"},
        ],
    }


def test_a_wholly_bad_request_is_400_unable_to_parse() -> None:
    """Nothing stored: the message starts as InfluxDB's does, and there is no token."""
    steps = Steps()
    answer = answered(steps.parsed(only(steps.arrive("bad\n" * 150), Parse)))[1]
    assert (answer.status, answer.result, answer.lines_refused) == (400, Result.REFUSED, 150)
    told = message(answer)
    assert told["message"].startswith("unable to parse: 150 of 150 lines refused:\nline 1: missing fields\n")
    assert told["message"].endswith("\nand 50 more")
    assert len(told["data"]) == 100
    assert told["refused_count"] == 150
    assert TOKEN_HEADER not in answer.headers


def test_a_request_waits_for_its_own_sequencers_and_for_all_of_them() -> None:
    """204 comes only after the last sequencer touched is durable; a neighbour in the batch does not wait for it."""
    steps = Steps()
    steps.learn("t,host=a f=1")
    first = only(steps.arrive("t,host=a f=1"), Parse)
    steps.arrive(f"t,host={host_on(0)} f=1\nt,host={host_on(1)} f=1")
    steps.arrive(f"t,host={host_on(1)} f=2")
    actions = steps.parsed(first)
    zero, one = every(steps.parsed(every(actions, Parse)[0]), Append)
    assert (zero.sequencer, one.sequencer) == (0, 1)
    early = steps.appended(one, 5)
    assert statuses(early) == {4: 204}
    assert answered(early)[4].headers == {TOKEN_HEADER: "1:1=5"}
    late = steps.appended(zero, 6)
    assert answered(late)[3].headers == {TOKEN_HEADER: "1:0=6,1=5"}


def test_a_failed_append_fails_every_request_with_rows_in_it_and_no_other() -> None:
    """Requests that touched the failed sequencer get 503; those whose rows are all elsewhere get 204 or 400."""
    steps = Steps()
    steps.learn("t,host=a f=1")
    first = only(steps.arrive("#"), Parse)
    steps.arrive(f"t,host={host_on(0)} f=1\nt,host={host_on(1)} f=1")
    steps.arrive(f"t,host={host_on(0)} f=1\nbad")
    steps.arrive(f"t,host={host_on(1)} f=2\nbad")
    steps.arrive(f"t,host={host_on(1)} f=2")
    zero, one = every(steps.parsed(every(steps.parsed(first), Parse)[0]), Append)
    results = statuses(steps.append_failed(zero)) | statuses(steps.appended(one, 5))
    assert results == {3: 503, 4: 503, 5: 400, 6: 204}
    assert steps.admission.bytes_held == 0


def test_an_outage_says_what_is_wrong_and_when_to_come_back() -> None:
    """The 503 of a failed append carries the reason and a whole-number Retry-After."""
    steps = Steps()
    steps.learn("t f=1")
    append = only(steps.parsed(only(steps.arrive("t f=2"), Parse)), Append)
    answer = answered(steps.append_failed(append))[2]
    assert message(answer) == {"code": "unavailable", "message": "the disk is full"}
    assert answer.headers["Retry-After"].isdigit()


@pytest.mark.parametrize("text", FINAL_TEXTS)
def test_no_retryable_text_can_be_taken_for_final(text: str) -> None:
    """Whatever an error says, what is to be sent again holds none of the texts on which clients drop a batch."""
    for error in (Unavailable(f"log of {text.upper()} is away"), DataCorrupt(f"{text} is torn")):
        answer = answers.failed(error)
        assert answer.status in (500, 503)
        assert text not in answer.body.decode().lower()


def test_a_defect_in_the_parser_answers_500_and_frees_the_slot() -> None:
    """When the parser breaks, the requests of that batch get 500 and the next batch is parsed."""
    steps = Steps()
    parse = only(steps.arrive("t f=1"), Parse)
    steps.arrive("t f=2")
    actions = steps.step(ParseFailed(parse.batch_id, PenstockError("defect")))
    assert statuses(actions) == {1: 500}
    assert len(every(actions, Parse)) == 1


def test_records_carry_headers_and_sequences_without_a_gap() -> None:
    """Headers say content type, namespace, producer, append time and the first request's trace; sequences count up."""
    steps = Steps(sequencers=1)
    steps.learn("t f=1")
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    sequences = []
    for number in range(3):
        (record,) = only(steps.parsed(only(steps.arrive(f"t f={number}", trace=trace), Parse)), Append).records
        headers = record.headers
        sequences.append(headers.producer_sequence)
        assert (headers.content_type, headers.namespace) == (ENTRY_CONTENT_TYPE, "ns")
        assert (headers.producer_id, headers.append_time_ns, headers.trace_parent) == (PRODUCER, NOW_NS, trace)
        assert decode(record.payload).namespace == "ns"
    assert sequences == [1, 2, 3]


def test_lines_without_a_time_take_the_arrival_rounded_to_the_precision() -> None:
    """The default time is when the request arrived, not when it was parsed, in units of its precision."""
    steps = Steps()
    first = only(steps.arrive("#"), Parse)
    steps.arrive("t f=1", precision_ns=1_000_000)
    steps.now_ns += 10**10
    parse = every(steps.parsed(first), Parse)[0]
    assert parse.bodies[0].default_time_ns == NOW_NS // 1_000_000 * 1_000_000


def test_a_type_that_another_router_settled_first_is_checked_again() -> None:
    """When the store decides otherwise the batch is parsed again: lines that do not fit are refused, others stored."""
    steps = Steps()
    settle = only(steps.parsed(only(steps.arrive("t f=1i,g=1\nt g=2"), Parse)), Settle)
    steps.schemas["t"] = TableSchema(3, {"f": ColumnType.FLOAT})
    again = only(steps.settled(settle), Parse)
    assert again.schemas["t"].columns == {"f": ColumnType.FLOAT, "g": ColumnType.FLOAT}
    append = only(steps.parsed(again), Append)
    (record,) = append.records
    assert decode(record.payload).tables["t"].column("g").to_pylist() == [2.0]
    assert message(answered(steps.appended(append))[1])["line"] == 1


def test_without_the_schema_store_known_columns_go_on_and_nothing_of_the_others_is_appended() -> None:
    """A request that needs an unknown column is 503 and leaves no row; its neighbours in the batch are stored."""
    steps = Steps(sequencers=1)
    steps.learn("t f=1")
    first = only(steps.arrive("#"), Parse)
    for body in ("t f=2", "t f=3\nt new=1", "t new=2i\nt f=4", "t f=5\nbad"):
        steps.arrive(body)
    settle = every(steps.parsed(every(steps.parsed(first), Parse)[0]), Settle)[0]
    failed = steps.step(SettleFailed(settle.batch_id, Unavailable("the store is away"), {}))
    assert statuses(failed) == {4: 503}
    append_or_settle = steps.parsed(every(failed, Parse)[0])
    again = only(append_or_settle, Settle)  # `new` is an integer now that the line which said float is gone
    failed = steps.step(SettleFailed(again.batch_id, Unavailable("the store is away"), {}))
    assert statuses(failed) == {5: 503}
    append = only(steps.parsed(every(failed, Parse)[0]), Append)
    (record,) = append.records
    assert decode(record.payload).tables["t"].column("f").to_pylist() == [2.0, 5.0]
    assert statuses(steps.appended(append)) == {3: 204, 6: 400}


def test_tables_settled_before_the_store_went_away_are_kept() -> None:
    """What was settled before the error is known from then on, so that a client's next try needs less."""
    steps = Steps()
    settle = only(steps.parsed(only(steps.arrive("t f=1\nu f=1"), Parse)), Settle)
    settled = {"t": TableSchema(1, {"f": ColumnType.FLOAT})}
    assert statuses(steps.step(SettleFailed(settle.batch_id, AWAY, settled))) == {1: 503}
    assert only(steps.parsed(only(steps.arrive("t f=1"), Parse)), Append)


def test_a_corrupt_schema_file_is_500_not_an_endless_retry_hint() -> None:
    """An error that no retry cures has no Retry-After."""
    steps = Steps()
    settle = only(steps.parsed(only(steps.arrive("t f=1"), Parse)), Settle)
    answer = answered(steps.step(SettleFailed(settle.batch_id, DataCorrupt("schema/x"), {})))[1]
    assert answer.status == 500
    assert "Retry-After" not in answer.headers


def test_a_write_that_takes_too_long_is_503_and_its_bytes_stay_counted() -> None:
    """At the timeout the client is answered; the record is still on its way and keeps its share of memory."""
    steps = Steps()
    steps.learn("t f=1")
    parse = only(steps.arrive("t f=2"), Parse)
    append = only(steps.parsed(parse), Append)
    assert statuses(steps.step(Expired(2, AWAY))) == {2: 503}
    assert steps.admission.bytes_held == len("t f=2")
    assert steps.appended(append) == [Finished(parse.batch_id)]
    assert steps.admission.bytes_held == 0
    assert steps.step(Expired(2, AWAY)) == []


@pytest.mark.parametrize("stage", ["parsing", "parsing that ends early", "settling", "settling that ends early"])
def test_nothing_is_appended_for_a_write_that_was_given_up(stage: str) -> None:
    """A batch whose clients were all answered before its append is cancelled and dropped, not stored behind their
    backs."""
    steps = Steps()
    parse = only(steps.arrive("t f=1"), Parse)
    settle = only(steps.parsed(parse), Settle) if "settling" in stage else None
    actions = steps.step(Expired(1, AWAY))
    assert statuses(actions) == {1: 503}
    assert every(actions, Cancel) == [Cancel(parse.batch_id)]
    if "early" in stage:
        failed = SettleFailed(parse.batch_id, AWAY, {}) if settle else ParseFailed(parse.batch_id, AWAY)
        assert steps.step(failed) == [Finished(parse.batch_id)]
    else:
        assert (steps.settled(settle) if settle else steps.parsed(parse)) == [Finished(parse.batch_id)]
    assert steps.admission.bytes_held == 0


def test_a_write_that_waits_too_long_for_its_batch_is_answered_and_forgotten() -> None:
    """Behind a batch that takes long a request is answered in its own time; its body is free and never parsed."""
    steps = Steps()
    steps.learn("t f=1")
    first = only(steps.arrive("t f=2"), Parse)
    steps.arrive("t f=3")
    assert statuses(steps.step(Expired(3, AWAY))) == {3: 503}
    assert steps.admission.bytes_held == len("t f=2")
    assert every(steps.parsed(first), Parse) == []


def test_requests_of_one_batch_expire_each_in_its_own_time() -> None:
    """One that expires takes no neighbour along; only the last one's end cancels the batch."""
    steps = Steps()
    steps.learn("t f=1")
    first = only(steps.arrive("#"), Parse)
    steps.arrive("t f=2")
    steps.arrive("t f=3")
    parse = every(steps.parsed(first), Parse)[0]
    assert [type(action) for action in steps.step(Expired(3, AWAY))] == [Respond]
    append = only(steps.parsed(parse), Append)
    assert statuses(steps.appended(append)) == {4: 204}


@pytest.mark.parametrize("kind", [Fenced, Forked, DataCorrupt, WriterDied])
def test_an_append_that_fails_for_good_halts_the_router(kind: type[PenstockError]) -> None:
    """When no later append can succeed in this process, the requests are answered and the driver is told to end."""
    steps = Steps()
    steps.learn("t f=1")
    append = only(steps.parsed(only(steps.arrive("t f=2"), Parse)), Append)
    error = kind("epoch 7 holds it")
    actions = steps.append_failed(append, error)
    assert every(actions, Halt) == [Halt(error)]
    assert statuses(actions) == {2: 503 if kind is WriterDied else 500}


def test_stopping_refuses_new_writes_and_finishes_the_others() -> None:
    """After Stop new requests get 503, collected ones are still stored, and Stopped comes behind the last answer."""
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


LINES = st.sampled_from(
    ["t,host=a f=1", "t,host=b f=2", "t,host=c f=3", "t,host=d new=1", "u x=1i", "u x=1", "bad", "#", "t f="]
)


@settings(max_examples=150)
@given(st.data())
def test_under_any_schedule_each_request_is_answered_once_and_truthfully(data: st.DataObject) -> None:
    """Whatever order and failures come: one answer each, 204 only for durable rows, sequences in order."""
    steps = Steps(in_flight=200, batch=40, slots=data.draw(st.integers(1, 3)), sequencers=3)
    todo: list[Action] = []
    answers_of: dict[int, Answer] = {}
    asked: dict[int, list[int]] = {}
    durable: set[tuple[int, int]] = set()
    bodies: dict[int, str] = {}

    def take(actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Respond):
                assert action.request_id not in answers_of
                answers_of[action.request_id] = action.answer
            elif isinstance(action, Append):
                sequences = [record.headers.producer_sequence for record in action.records]
                asked.setdefault(action.sequencer, []).extend(sequences)
                todo.append(action)
            elif not isinstance(action, Cancel | Finished | Stopped):
                todo.append(action)

    def perform(action: Action) -> list[Action]:
        match action:
            case Parse():
                return steps.parsed(action)
            case Settle() if data.draw(st.booleans(), "settles"):
                return steps.settled(action)
            case Settle(batch_id):
                return steps.step(SettleFailed(batch_id, AWAY, {}))
            case Append(_, sequencer, records) if data.draw(st.booleans(), "appends"):
                durable.update((sequencer, record.headers.producer_sequence) for record in records)
                return steps.appended(action, max(record.headers.producer_sequence for record in records))
            case Append():
                return steps.append_failed(action)
        raise AssertionError(action)

    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans(), "arrives") or not todo:
            body = "\n".join(data.draw(st.lists(LINES, min_size=1, max_size=3)))
            actions = steps.arrive(body)
            bodies[steps.requests] = body
            take(actions)
        elif data.draw(st.booleans(), "expires"):
            take(steps.step(Expired(data.draw(st.integers(1, steps.requests)), AWAY)))
        else:
            take(perform(todo.pop(data.draw(st.integers(0, len(todo) - 1)))))
    take(steps.step(Stop()))
    while todo:
        take(perform(todo.pop(data.draw(st.integers(0, len(todo) - 1)))))
    assert answers_of.keys() == bodies.keys()
    assert steps.admission.bytes_held == 0
    for sequences in asked.values():
        assert sequences == list(range(len(sequences)))
    for request_id, answer in answers_of.items():
        lines = [line for line in bodies[request_id].split("\n") if line != "#"]
        if answer.status in (204, 400):
            assert answer.lines_accepted + answer.lines_refused == len(lines)
            offsets = answers_token(answer)
            assert bool(offsets) == bool(answer.lines_accepted)
            assert offsets <= durable


def answers_token(answer: Answer) -> set[tuple[int, int]]:
    """Sequencer and offset pairs of the token; in this test an offset is the record's producer sequence."""
    token = answer.headers.get(TOKEN_HEADER, "1:")
    return {(SequencerId(int(one.split("=")[0])), int(one.split("=")[1])) for one in token[2:].split(",") if one}
