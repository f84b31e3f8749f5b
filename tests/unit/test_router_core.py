"""The router's core, step by step: admission, coalescing, appends, and what becomes of requests."""

import pytest

from common.entry import decode
from common.values.schema import ColumnType
from router.core.core import SMALL_BYTES
from router.core.events import (
    Append,
    Finished,
    Linger,
    Lingered,
    Parse,
    Settle,
)
from router.core.outcome import LinesRefused, PartlyStored, Retry, Stored
from router.parsing.messages import RefusedLine, RequestLines
from tests.support.router_core import (
    AWAY,
    NOW_NS,
    PRODUCER,
    Steps,
    every,
    host_on,
    last_offsets,
    only,
    outcomes,
    statuses,
)
from writebuffer.record import ENTRY_CONTENT_TYPE


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
    assert outcomes(actions)[1] == Stored(RequestLines(accepted=1, sequencers={3}, needs_additions=True), {3: 77})


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
    """Bodies join up to batch_bytes_max; the rest waits for the other namespaces; a larger body goes by itself."""
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
    """With two slots two large batches are parsed at once, and the third waits."""
    steps = Steps(slots=2, batch=2**20, in_flight=2**20)
    large = "t f=1\n" * (SMALL_BYTES // 6 + 1)
    assert only(steps.arrive(large), Parse)
    assert only(steps.arrive(large), Parse)
    assert steps.arrive(large) == []


def test_small_bodies_collect_while_another_batch_is_parsed() -> None:
    """A second parser begins once nobody else parses, or the driver has lingered, which is asked for once."""
    steps = Steps(slots=2, batch=2**20, in_flight=2**20)
    steps.learn("t f=1")
    first = only(steps.arrive("t f=1"), Parse)
    assert steps.arrive("t f=2") == [Linger()]
    assert steps.arrive("t f=3") == []
    second = only(steps.step(Lingered()), Parse)
    assert len(second.bodies) == 2
    assert steps.arrive("t f=4") == []
    assert every(steps.parsed(first), Linger) == [Linger()]
    assert len(only(every(steps.parsed(second), Parse), Parse).bodies) == 1
    assert steps.step(Lingered()) == []


def test_enough_small_bodies_do_not_wait_for_another_batch() -> None:
    """At SMALL_BYTES they are as good as a large one."""
    steps = Steps(slots=2, batch=2**20, in_flight=2**20)
    half = "t f=1\n" * (SMALL_BYTES // 12 + 1)
    steps.arrive("t f=1")
    assert steps.arrive(half) == [Linger()]
    assert len(only(steps.arrive(half), Parse).bodies) == 2
    assert steps.step(Lingered()) == []


@pytest.mark.parametrize("body", ["", "\n\n", "# nothing\n", "   "])
def test_nothing_to_store_is_a_success(body: str) -> None:
    """An empty body, or one of comments and blanks, is 204 without a token, and nothing is appended."""
    steps = Steps()
    actions = steps.arrive(body)
    if body:
        actions = steps.parsed(only(actions, Parse))
    assert outcomes(actions)[1] == Stored()
    assert not every(actions, Append)
    assert steps.admission.bytes_held == 0


def test_a_partly_good_request_is_partly_stored_with_its_lines() -> None:
    """Good lines are durable before the outcome that lists the bad ones; the offsets are those of the good ones."""
    steps = Steps()
    steps.learn("t f=1")
    append = only(steps.parsed(only(steps.arrive("t f=2\nt f=\nt,=x f=1\nt f=4"), Parse)), Append)
    outcome = outcomes(steps.appended(append, 9))[2]
    assert isinstance(outcome, PartlyStored)
    assert (outcome.lines.accepted, outcome.lines.refused_count) == (2, 2)
    assert outcome.last_offsets == {append.sequencer: 9}
    assert outcome.lines.refused == [
        RefusedLine(2, "missing field value", "t f="),
        RefusedLine(3, "missing tag key", "t,=x f=1"),
    ]


def test_a_wholly_bad_request_is_refused() -> None:
    """Nothing is appended, and the reasons are there."""
    steps = Steps()
    actions = steps.parsed(only(steps.arrive("bad\n" * 150), Parse))
    outcome = outcomes(actions)[1]
    assert isinstance(outcome, LinesRefused)
    assert (outcome.lines.accepted, outcome.lines.refused_count) == (0, 150)
    assert not every(actions, Append)


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
    assert last_offsets(outcomes(early)[4]) == {1: 5}
    late = steps.appended(zero, 6)
    assert last_offsets(outcomes(late)[3]) == {0: 6, 1: 5}


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


def test_an_outage_says_what_is_wrong() -> None:
    """A request whose append failed may come again, and has the reason."""
    steps = Steps()
    steps.learn("t f=1")
    append = only(steps.parsed(only(steps.arrive("t f=2"), Parse)), Append)
    assert outcomes(steps.append_failed(append))[2] == Retry(AWAY)


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
