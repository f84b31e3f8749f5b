"""The core's time: the log's while it catches up, the wall clock's after."""

from tests.support.ingester_rig import SECOND_NS, a_rig, cpu
from tests.support.records import DAY0_NS


def test_while_catching_up_time_is_the_log_s() -> None:
    """Rows of an hour ago are not cold because the wall clock says so; at the end of the log it counts."""
    rig = a_rig()
    rig.append(cpu(0), append_time_ns=DAY0_NS)
    rig.append(cpu(1), append_time_ns=DAY0_NS + 10 * SECOND_NS)
    rig.append(cpu(2), append_time_ns=DAY0_NS + 10 * SECOND_NS)
    rig.now_ns = DAY0_NS + 3600 * SECOND_NS
    rig.poll(2)
    rig.tick()
    assert not rig.persists
    rig.poll()
    rig.tick()
    assert len(rig.persists) == 1


def test_a_router_whose_clock_is_far_ahead_delays_no_persist() -> None:
    """Its rows arrive when the ingester sees them: they are cold a window later, not when that clock has come round."""
    rig = a_rig()
    rig.now_ns = DAY0_NS
    rig.tick(0)
    rig.append(cpu(0), append_time_ns=DAY0_NS + 365 * 86_400 * SECOND_NS)
    rig.poll()
    rig.tick(0)
    assert not rig.persists
    rig.now_ns = DAY0_NS + 311 * SECOND_NS
    rig.tick(0)
    assert len(rig.persists) == 1


def test_log_time_never_goes_back() -> None:
    """Routers' clocks differ: a record with an older append time arrives when the newest one did."""
    rig = a_rig()
    rig.append(cpu(0), append_time_ns=DAY0_NS + 1000 * SECOND_NS)
    rig.append(cpu(1), append_time_ns=DAY0_NS)
    rig.poll()
    rig.now_ns = DAY0_NS + 1200 * SECOND_NS
    rig.tick(0)
    assert not rig.persists
    rig.now_ns = DAY0_NS  # the wall clock stepped back: never below the log's time
    rig.tick(0)
    assert not rig.persists
    rig.now_ns = DAY0_NS + 1301 * SECOND_NS
    rig.tick(0)
    rig.settle()
    assert rig.core.state.as_of.log_time_ns == DAY0_NS + 1000 * SECOND_NS
