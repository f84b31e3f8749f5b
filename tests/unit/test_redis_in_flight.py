"""What is under way to a Redis: order, doubts and deadlines, against a server of a few lines."""

import itertools
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from common.values.errors import Unavailable
from common.values.ids import Offset
from tests.support.buffer_records import numbers, records
from writebuffer.redis import in_flight
from writebuffer.redis.in_flight import Append, Batch, InFlight, Stretch

TIMEOUT_S = 10.0


class Stream:
    """Takes batches as the APPEND script does: one offset for each sequence, and none without the batch before it."""

    def __init__(self) -> None:
        self.offsets: dict[int, int] = {}

    def append(self, batch: Batch) -> list[Stretch] | None:
        """None: the batch that must be stored before it is not."""
        before = int.from_bytes(batch.after[16:], "big")
        if batch.after and before not in self.offsets:
            return None
        return [(self.offsets.setdefault(number, len(self.offsets)), 1) for number in numbers(batch.records)]


class Sender:
    """An InFlight and what an Appender does with it; time and the server's answers come from the test."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.stream = Stream()
        self.under_way = InFlight()
        self.numbers: dict[Append, list[int]] = {}
        self.sent: deque[Batch] = deque()
        self.resolved: list[Append] = []
        self._numbers = itertools.count(1)

    def add(self, count: int = 1) -> Append:
        kept = [next(self._numbers) for _ in range(count)]
        append = Append(records(kept), self.now_s + TIMEOUT_S, single=False)
        append.future.add_done_callback(lambda _: self.resolved.append(append))
        self.numbers[append] = kept
        self.under_way.add(append)
        return append

    @property
    def appends(self) -> list[Append]:
        return list(self.numbers)

    def send(self) -> Batch | None:
        if batch := self.under_way.next_batch():
            self.sent.append(batch)
        return batch

    def add_and_send(self) -> None:
        self.add()
        self.send()

    def answer(self) -> None:
        """The oldest batch is carried out, or put off where it must."""
        if batch := self.under_way.oldest():
            assert batch is self.sent.popleft()
            stretches = self.stream.append(batch)
            if stretches is None:
                self.under_way.put_off()
            else:
                placed = batch.placed(stretches)
                self.under_way.answered([one for one, offset, count in placed if one.mark_durable(offset, count)])
        self.under_way.send_again()

    def put_off(self) -> None:
        if self.under_way.oldest():
            self.sent.popleft()
            self.under_way.put_off()
        self.under_way.send_again()

    def refuse(self) -> None:
        if self.under_way.oldest():
            self.sent.popleft()
            self.fail(self.under_way.refused())
        self.under_way.send_again()

    def lose(self, carried_out: int) -> None:
        """The connection breaks, after so many of the batches in flight were carried out."""
        known = Offset(len(self.stream.offsets))
        for batch in itertools.islice(self.sent, carried_out):
            self.stream.append(batch)
        self.sent.clear()
        self.under_way.lost(known)

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.fail(self.under_way.expired(self.now_s))

    def fail(self, failed: in_flight.Failed) -> None:
        for append, written in failed:
            append.fail(Unavailable("failed", written=written))


steps = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 5)),
    st.tuples(st.just("send")),
    st.tuples(st.just("add_and_send")),
    st.tuples(st.just("add_and_send")),
    st.tuples(st.just("answer")),
    st.tuples(st.just("put_off")),
    st.tuples(st.just("refuse")),
    st.tuples(st.just("lose"), st.integers(0, 2)),
    st.tuples(st.just("pass_time"), st.sampled_from([1.0, 4.0, TIMEOUT_S])),
)


@settings(max_examples=400)
@given(st.lists(steps, max_size=40))
def test_after_any_events_each_append_resolves_once_in_order_and_truthfully(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    """Those that succeed resolve and are stored in the order of the calls; where `written` is no, nothing is stored."""
    sender = Sender()
    for name, *arguments in steps:
        getattr(sender, name)(*arguments)
    while not sender.under_way.is_idle:
        sender.send()
        sender.answer()
    assert sorted(map(id, sender.resolved)) == sorted(map(id, sender.appends))
    stored = [one for one in sender.resolved if one.future.exception() is None]
    assert stored == [one for one in sender.appends if one in stored]
    assert stored == sorted(stored, key=lambda one: one.future.result().first.offset)
    offsets = sender.stream.offsets
    for append, kept in sender.numbers.items():
        error = append.future.exception()
        if error is None:
            span = append.future.result()
            assert (span.first.offset, span.last.offset) == (offsets[kept[0]], offsets[kept[-1]])
        elif isinstance(error, Unavailable) and error.written == "no":
            assert not offsets.keys() & set(kept)


def test_a_batch_names_the_last_record_of_the_one_ahead_while_that_is_not_answered() -> None:
    """And none after that; no more than BATCHES_AHEAD are sent ahead of their answers."""
    sender = Sender()
    batches = []
    for number in range(in_flight.BATCHES_AHEAD):
        sender.add()
        batch = sender.send()
        assert batch
        assert int.from_bytes(batch.after[16:], "big") == number
        batches.append(batch)
    sender.add()
    assert batches[0].after == b""
    assert sender.send() is None
    for _ in batches:
        sender.answer()
    last = sender.send()
    assert last is not None
    assert last.after == b""


def test_what_is_put_off_waits_for_what_is_in_flight_and_keeps_its_place() -> None:
    """Nothing is sent in between; then it leaves again in the old order, before what came later."""
    sender = Sender()
    for _ in range(2):
        sender.add()
        sender.send()
    sender.add()
    sender.under_way.put_off()
    assert not sender.under_way.send_again()
    assert sender.send() is None
    sender.under_way.put_off()
    assert sender.under_way.send_again()
    again = sender.send()
    assert again is not None
    assert numbers(again.records) == [1, 2, 3]


def test_what_was_put_off_is_not_lost_with_the_connection() -> None:
    """It goes back to the queue, before what was in flight after it, and without a doubt."""
    sender = Sender()
    for _ in range(2):
        sender.add()
        sender.send()
    sender.put_off()
    sender.lose(0)
    assert [one.written for one in sender.appends] == ["no", "unknown"]
    again = sender.send()
    assert again is not None
    assert numbers(again.records) == [1, 2]


def test_only_what_was_never_sent_or_was_refused_is_surely_not_written() -> None:
    """In flight, and after a lost connection, it may be stored; the doubt reaches back to what was known then."""
    sender = Sender()
    sent, queued = sender.add(), sender.add()
    sender.send()
    late = sender.add()
    assert [one.written for one in (sent, queued, late)] == ["unknown", "unknown", "no"]
    sender.under_way.lost(Offset(7))
    assert [one.written for one in (sent, queued, late)] == ["unknown", "unknown", "no"]
    again = sender.send()
    assert again is not None
    assert again.doubt == 7
    assert again.after == b""


def test_what_expired_is_sent_no_more() -> None:
    """Neither from the queue nor when the batch it was in is sent again; the others of that batch are."""
    sender = Sender()
    sender.add()
    sender.now_s = 5.0
    sender.add()
    sender.send()
    sender.pass_time(5.0)
    assert [one.future.done() for one in sender.appends] == [True, False]
    assert sender.under_way.next_deadline_s() == 15.0
    sender.under_way.lost(Offset(0))
    again = sender.send()
    assert again is not None
    assert numbers(again.records) == [2]


def test_a_large_append_leaves_in_several_batches_and_resolves_with_the_last() -> None:
    """Records one after the other make one stretch, over the edges of batches too."""
    sender = Sender()
    append = sender.add(in_flight.BATCH_RECORDS_MAX + 1)
    first, second = sender.send(), sender.send()
    assert first is not None
    assert second is not None
    assert (len(first.records), len(second.records)) == (in_flight.BATCH_RECORDS_MAX, 1)
    sender.answer()
    assert not append.future.done()
    sender.answer()
    span = append.future.result(0)
    assert (span.first.offset, span.last.offset) == (0, in_flight.BATCH_RECORDS_MAX)
    assert sender.under_way.is_idle


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_stretches_are_shared_out_among_the_appends_of_a_batch(counts: list[int], lengths: list[int]) -> None:
    """However the two are cut, each record of each append is placed once, where the answer says."""
    under_way = InFlight()
    for count in counts:
        under_way.add(Append(records(range(count)), 0.0, single=False))
    batch = under_way.next_batch()
    assert batch is not None
    stretches, left, at = [], sum(counts), 100
    for length in itertools.chain(lengths, itertools.repeat(4)):
        if left:
            stretches.append((at, min(length, left)))
            left -= min(length, left)
            at += 10
        else:
            break
    offsets = [first + i for first, length in stretches for i in range(length)]
    placed = [first + i for _, first, count in batch.placed(stretches) for i in range(count)]
    assert placed == offsets
    shares = [append for append, _, count in batch.placed(stretches) for _ in range(count)]
    assert shares == [append for append, count in batch.shares for _ in range(count)]
