"""Limits on memory and log: what is persisted for them, and when polling waits."""

import pytest

from common.values.ids import Offset
from ingester.core.events import Pause, Persist, Polled, Resume
from ingester.core.lifecycle import Reason
from tests.support.ingester_rig import a_rig, cpu
from tests.support.records import DAY0_NS, decoded, row


def test_over_the_hard_limit_polling_stops_until_the_soft_one_is_kept() -> None:
    """Back-pressure reaches the buffer; nothing is dropped."""
    rig = a_rig(soft_memory_bytes=3000, hard_memory_bytes=6000)
    for seconds in range(8):
        rig.append({f"t{seconds}": cpu(seconds)["cpu"]})
    actions = rig.poll()
    assert any(isinstance(action, Pause) for action in actions)
    resumed = []
    while not resumed:
        resumed = [action for action in (rig.persist() if rig.persists else rig.commit()) if isinstance(action, Resume)]
        assert bool(resumed) == (rig.core.bytes_buffered <= 3000)
    rig.settle()
    assert rig.read() == rig.expected()


def test_memory_that_dictionaries_hold_is_freed_too() -> None:
    """Rows under the limit with dictionaries over it: while behind, where no clock would make them due, they go."""
    rig = a_rig(soft_memory_bytes=40_000, hard_memory_bytes=40_000)
    rig.append({"cpu": [row(DAY0_NS, str(n) + "x" * 200, v=1.0) for n in range(100)]})
    rig.append(cpu(1))
    rig.append(cpu(2))
    rig.poll(2)
    rig.settle()
    rig.tick(1)
    rig.settle()
    assert not rig.paused
    assert rig.core.bytes_buffered <= 40_000


def test_the_partition_that_pins_the_log_is_persisted() -> None:
    """One tiny warm partition next to very many rows: the log above the replay offset stays bounded."""
    rig = a_rig(log_bytes_max=20_000)
    rig.append({"slow": [row(DAY0_NS, "a", v=1.0)]})
    for seconds in range(40):
        rig.append(cpu(seconds))
        rig.append({"slow": [row(DAY0_NS + seconds, "a", v=1.0)]})
        rig.poll()
        rig.tick(1)
        rig.settle()
        assert rig.core.log_bytes <= 20_000 + 2 * 1000
    assert rig.core.counters.persists[Reason.LOG] > 1


def test_a_torrent_is_looked_at_between_ticks() -> None:
    """After RECORDS_BETWEEN_PLANS records log pressure is seen without a tick."""
    rig = a_rig(log_bytes_max=1)
    one = decoded(0, cpu(0), sequence=0)
    many = tuple(one._replace(offset=Offset(n), producer_sequence=n) for n in range(10_000))
    actions = rig.core.step(Polled(many, Offset(10_000), caught_up=False))
    assert [action.job.last_offset for action in actions if isinstance(action, Persist)] == [9_999]


def test_log_bytes_are_the_bytes_of_the_records() -> None:
    """Small records weigh what they weigh: pressure comes at the limit in bytes, not at a thirteenth of it."""
    rig = a_rig(log_bytes_max=100_000)
    size = 0
    while size <= 100_000:
        assert not rig.persists
        rig.append(cpu(len(rig.log)))
        size += rig.log[-1].record.size
        rig.poll()
        rig.tick(0)
        assert rig.core.log_bytes == size
    assert len(rig.persists) == 1
    assert size / len(rig.log) < 1000


def test_many_records_press_on_the_log_too() -> None:
    """Each record above the replay offset costs memory and time to replay, however small: there is a limit to them."""
    rig = a_rig(log_records_max=100)
    for count in range(1, 102):
        rig.append(cpu(count))
        rig.poll()
        rig.tick(0)
        assert rig.core.log_records == count
        assert len(rig.persists) == (count > 100)


@pytest.mark.parametrize("limit", ["log_bytes_max", "log_records_max"])
def test_twice_a_limit_of_the_log_stops_polling_until_it_is_kept(limit: str) -> None:
    """With the store away neither the log nor what is remembered of its records grows without bound."""
    most = 5_000 if limit == "log_bytes_max" else 10
    rig = a_rig(**{limit: most})
    while not rig.paused:
        assert len(rig.log) < 100
        rig.append(cpu(len(rig.log)))
        rig.poll()
        held = rig.core.log_bytes if limit == "log_bytes_max" else rig.core.log_records
        assert rig.paused == (held > 2 * most)
        rig.tick(0)
    rig.settle()
    rig.tick(0)
    rig.settle()
    assert not rig.paused
