"""Records in: applied whole, repeats counted, refusals the same whenever they are read."""

import threading

import pytest

from common.values.errors import DataCorrupt
from common.values.ids import Offset
from common.values.schema import DAY_NS
from ingester.core.events import DeadLetter, Polled
from tests.support.ingester_rig import a_rig, cpu
from tests.support.records import DAY0_NS, decoded, row


def test_rows_are_seen_as_soon_as_their_record_is_applied() -> None:
    """The view a step leaves holds every row applied, and the offset it reaches to."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.append(cpu(1))
    rig.poll(1)
    assert (rig.core.view.applied_offset, rig.core.rows_buffered) == (1, 1)
    rig.poll()
    assert rig.read() == rig.expected()
    assert len(rig.read()) == 2


def test_a_repeated_record_is_applied_once() -> None:
    """The same producer and sequence at a higher offset: its rows are counted as duplicates and change nothing."""
    rig = a_rig()
    rig.append(cpu(0, v=1.0))
    rig.append(cpu(0, v=2.0))
    rig.again(0)
    rig.poll()
    assert rig.core.counters.rows_duplicate == 1
    assert [*rig.read().values()] == [{"v": 2.0}]


def test_k_plus_1_before_k_is_applied() -> None:
    """Sequences in another order are no repeats; each repeat of one is."""
    rig = a_rig()
    rig.append(cpu(1), sequence=1)
    rig.append(cpu(0), sequence=0)
    rig.again(0)
    rig.again(1)
    rig.poll()
    assert (rig.core.rows_buffered, rig.core.counters.rows_duplicate) == (2, 2)


def test_repeats_are_recognised_across_a_restart() -> None:
    """The manifest's table is as of the replay offset: what is above it is rebuilt, and is no repeat."""
    rig = a_rig()
    rig.append(cpu(1), sequence=1)
    rig.poll()
    rig.go_cold()
    rig.append(cpu(0), sequence=0)
    rig.append(cpu(2), sequence=2)
    rig.poll()
    rig.restart()
    rig.again(0)
    rig.again(2)
    rig.poll()
    assert (rig.core.rows_buffered, rig.core.counters.rows_duplicate) == (2, 2)
    assert rig.read() == rig.expected()


def test_an_offset_that_goes_back_is_refused() -> None:
    """A buffer that hands a record out twice is broken: better stop than count rows twice."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    with pytest.raises(DataCorrupt, match="offset 0 was read again after everything below 1 was applied"):
        rig.core.step(Polled((decoded(0, cpu(0)),), Offset(1), caught_up=True))


def test_a_column_of_another_type_is_refused_whole() -> None:
    """The record goes to a dead letter; its other tables are not applied either."""
    rig = a_rig()
    rig.append(cpu(0, v=1.0))
    rig.append({"cpu": [row(DAY0_NS, "a", v=2)], "mem": [row(DAY0_NS, "a", free=1.0)]})
    actions = rig.poll()
    letters = [action for action in actions if isinstance(action, DeadLetter)]
    assert [letter.offset for letter in letters] == [1]
    assert "'v' is integer in this record and float before" in letters[0].reason
    assert rig.core.counters.rows_dead == 2
    assert rig.read() == rig.expected()


def test_what_was_refused_is_refused_again_by_a_replay() -> None:
    """Refusal follows from the stream, not from what happens to be in memory: no row is stored and dead at once."""
    rig = a_rig()
    rig.append({"mem": [row(DAY0_NS, "a", free=1.0)]})
    rig.append(cpu(0, v=1.0))
    rig.append({"cpu": [row(DAY0_NS, "b", v=2)], "disk": [row(DAY0_NS, "a", used=1.0)]})
    rig.poll()
    rig.tick(200)
    rig.append({"mem": [row(DAY0_NS + 1, "a", free=1.0)]})
    rig.poll()
    rig.tick(101)  # cpu is cold, mem pins the replay offset
    rig.settle()
    assert rig.core.state.replay_offset == 0
    rig.restart()
    rig.poll()
    assert [letter.offset for letter in rig.letters] == [2]
    assert rig.read() == rig.expected()
    rig.go_cold()
    rig.tick(61)
    rig.settle()
    assert rig.read() == rig.expected()
    assert rig.core.state.accounts.dead == 2


def test_time_int64_min_and_max() -> None:
    """The ends of time are rows like any other, in partitions of their own days."""
    rig = a_rig()
    rig.append({"cpu": [row(-(2**63), "a", v=1.0), row(2**63 - 1, "a", v=2.0), row(-1, "a", v=3.0)]})
    rig.poll()
    rig.go_cold()
    assert rig.read() == rig.expected()
    assert {file.partition.day for file in rig.core.state.files.values()} == {-(2**63) // DAY_NS, 2**63 // DAY_NS, -1}
    rig.restart()
    assert rig.read() == rig.expected()


def test_figures_can_be_read_while_records_are_applied() -> None:
    """Metrics are scraped on another thread: reading the accounts never fails, also while the core works."""
    rig = a_rig()
    one = decoded(0, cpu(0))
    errors: list[BaseException] = []
    done = threading.Event()

    def scrape() -> None:
        try:
            while not done.is_set():
                assert rig.core.accounts.duplicate >= 0
        except BaseException as error:  # noqa: BLE001  reported below
            errors.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    for start in range(0, 20_000, 1000):
        records = tuple(one._replace(offset=Offset(n)) for n in range(start, start + 1000))
        rig.core.step(Polled(records, Offset(start + 1000), caught_up=True))
    done.set()
    thread.join()
    assert not errors
    assert rig.core.accounts.duplicate == 19_999
