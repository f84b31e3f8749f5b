"""Records that occur in the stream more than once: each row is applied once, and counted each time it came again.

The model knows nothing of ranges, tables or manifests: the first of equal (producer, sequence) counts, others repeat.
"""

import random
from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from common.values.ids import SequencerId
from ingester.serving.metrics import IngesterCollector
from tests.support.buffer_records import read_all
from tests.support.ingester_rig import RULES, IngesterRig
from tests.support.records import DAY0_NS, Row, record, row
from writebuffer.faults import Faults, FaultyWriter
from writebuffer.memory import MemoryBackend

Sending = tuple[int, int]
"""Producer and sequence."""

ONE = SequencerId(0)


def rows(sending: Sending) -> dict[str, list[Row]]:
    """What a record holds follows from its producer and sequence; no two have a key in common."""
    producer, sequence = sending
    return {"cpu": [row(DAY0_NS + sequence, f"p{producer}-{number}", v=1.0) for number in range(1 + sequence % 3)]}


def rows_of(sendings: list[Sending]) -> int:
    return sum(len(rows(each)["cpu"]) for each in sendings)


sendings = st.tuples(st.integers(1, 3), st.integers(0, 12))
"""Drawn freely: repeats, holes, k + 1 before k, and producers that come back after another took over."""

events = st.lists(
    st.one_of(
        st.tuples(st.just("send"), sendings),
        st.tuples(st.just("poll"), st.integers(1, 4)),
        st.tuples(st.just("tick"), st.sampled_from([1, 61, 301])),
        st.tuples(st.just("persist"), st.just(0)),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=60,
)


@dataclass
class Checked:
    """A rig, and everything that was sent to it."""

    rig: IngesterRig
    sent: list[Sending]

    def act(self, kind: str, value: object) -> None:
        rig = self.rig
        match kind, value:
            case "send", (int(producer), int(sequence)):
                rig.append(rows((producer, sequence)), producer=producer, sequence=sequence)
                self.sent.append((producer, sequence))
            case "poll", int():
                rig.poll(value)
            case "tick", int():
                rig.tick(value)
            case "persist", _ if rig.persists:
                rig.persist()
            case "commit", _ if rig.commits:
                rig.commit()
            case "restart", _:
                rig.restart()

    def check(self) -> None:
        """What is seen are the rows of the first sendings applied; the others count, none is lost or there twice."""
        applied = self.sent[: self.rig.core.applied_offset]
        firsts = list(dict.fromkeys(applied))
        assert len(self.rig.read()) == rows_of(firsts)
        assert self.rig.core.accounts.duplicate == rows_of(applied) - rows_of(firsts)


@settings(max_examples=200)
@given(events)
def test_rows_are_applied_once_and_counted_as_often_as_they_came_again(drawn: list[tuple[str, object]]) -> None:
    """In any order of sendings, with a restart and a replay from the replay offset at any step."""
    checked = Checked(IngesterRig(RULES), [])
    for kind, value in drawn:
        checked.act(kind, value)
        checked.check()
    rig = checked.rig
    for _ in range(2):  # the second time after one more restart, from a replay offset at the end
        rig.poll()
        rig.go_cold()
        rig.tick(61)
        rig.settle()
        checked.check()
        accounts, firsts = rig.core.state.accounts, list(dict.fromkeys(checked.sent))
        assert (accounts.stored, accounts.overwritten, accounts.dead) == (rows_of(firsts), 0, 0)
        assert accounts.duplicate == rows_of(checked.sent) - rows_of(firsts)
        rig.restart()


@settings(max_examples=50)
@given(st.lists(sendings, min_size=1, max_size=15), st.lists(sendings, max_size=15))
def test_the_manifests_table_is_as_of_its_replay_offset(below: list[Sending], above: list[Sending]) -> None:
    """It holds what was sent below the replay offset and nothing above, or a replay would take firsts for repeats."""
    checked = Checked(IngesterRig(RULES), [])
    for sending in below:
        checked.act("send", sending)
    checked.rig.poll()
    checked.rig.tick(301)  # cuts a job for these alone
    for sending in above:
        checked.act("send", sending)
    checked.rig.poll()
    checked.rig.settle()
    state = checked.rig.core.state
    assert state.replay_offset >= len(below)
    passed = set(checked.sent[: state.replay_offset])
    for producer in (1, 2, 3):
        seen = {n for n in range(14) if state.as_of.producers.seen(producer.to_bytes(16), n, state.as_of.log_time_ns)}
        assert seen == {n for each, n in passed if each == producer}
    checked.rig.restart()
    checked.rig.poll()
    checked.check()


def test_producers_that_are_gone_for_long_take_no_memory() -> None:
    """Routers take a new id at each start: an ingester that runs for months knows those of the last day alone."""
    rig = IngesterRig(RULES)
    for producer in range(1, 11):
        rig.append(rows((producer, 0)), producer=producer, sequence=0)
        rig.poll()
        rig.tick(25 * 3600)
        rig.settle()
    assert len(rig.core._intake.ledger._producers) == 1
    assert len(rig.core.state.as_of.producers) == 1


def test_a_restarted_routers_records_are_its_own() -> None:
    """It has a new producer id: the same sequences again are no repeats, and those of the old id still are."""
    checked = Checked(IngesterRig(RULES), [])
    for sending in ((1, 0), (1, 1), (2, 0), (2, 1), (1, 1), (2, 0)):
        checked.act("send", sending)
    checked.rig.poll()
    checked.check()
    assert checked.rig.core.accounts.duplicate == rows_of([(1, 1), (2, 0)])


def test_what_a_faulty_buffer_stores_twice_is_seen_once() -> None:
    """Lost acknowledgements and duplicate sendings by the wrapper: every row once, for any seed."""
    for seed in range(10):
        backend = MemoryBackend()
        backend.create(1)
        faults = Faults(sent_twice=0.3, lost_acknowledgement=0.3, delayed=0.2)
        writer = FaultyWriter(backend.open_writer(), random.Random(seed), faults)
        for sequence in range(20):
            sending = record(rows((1, sequence)), producer=1, sequence=sequence)
            futures = [writer.append(ONE, sending)]
            writer.flush(1)
            while futures[-1].exception(0) is not None:  # as a client does after `written: unknown`
                futures.append(writer.append(ONE, sending))
                writer.flush(1)
        stored = [found.headers.producer_sequence for _, found in read_all(backend)]
        assert max(Counter(stored).values()) > 1, f"seed {seed}"
        checked = Checked(IngesterRig(RULES), [])
        for sequence in stored:
            checked.act("send", (1, sequence))
        checked.rig.poll()
        checked.check()
        assert len(checked.rig.read()) == rows_of([(1, sequence) for sequence in range(20)]), f"seed {seed}"


def test_repeats_show_in_the_metrics() -> None:
    """penstock_ingester_rows_total{result="duplicate"} counts rows, also after a restart took them in again."""
    checked = Checked(IngesterRig(RULES), [])
    for sending in ((1, 2), (1, 2), (1, 2)):
        checked.act("send", sending)
    checked.rig.poll()
    for _ in range(2):
        assert _metric(checked.rig) == 2 * rows_of([(1, 2)])
        checked.rig.restart()
        checked.rig.poll()


def _metric(rig: IngesterRig) -> float | None:
    @dataclass
    class Service:
        core: object
        next_offset: int | None = None

    collector = IngesterCollector(Service(rig.core))  # type: ignore[arg-type]
    return collector.registry.get_sample_value("penstock_ingester_rows_total", {"result": "duplicate"})
