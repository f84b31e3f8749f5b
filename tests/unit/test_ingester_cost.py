"""What a step costs follows what it changes, not how many partitions there are: counted in calls, not in time."""

import sys
from collections import deque
from types import FrameType

from common.values.ids import Offset
from ingester.core.events import Action, Event, Polled, StopRequested, Tick
from ingester.performing import StoreAction, perform
from tests.support.ingester_rig import SECOND_NS, IngesterRig, a_rig, cpu
from tests.support.records import DAY0_NS, decoded, row


class Calls:
    """Counts the calls of functions within the core's steps, generators' items included."""

    def __init__(self, rig: IngesterRig) -> None:
        self.count = 0
        self._core = rig.core

    def step(self, event: Event) -> list[Action]:
        sys.setprofile(self._called)
        try:
            return self._core.step(event)
        finally:
            sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        self.count += event in ("call", "c_call")


def a_full_rig(partitions: int, **rules: int) -> IngesterRig:
    """One row in each partition."""
    rig = a_rig(**rules)
    for start in range(0, partitions, 100):
        rig.append({f"t{n}": [row(DAY0_NS, "a", v=1.0)] for n in range(start, start + 100)})
    rig.poll()
    assert len(rig.core.view.partitions) == partitions
    return rig


def test_a_stop_costs_the_same_for_each_partition() -> None:
    """Four times the partitions are four times the work: nothing is looked through at every job or commit."""
    cost = {}
    for partitions in (200, 800):
        rig = a_full_rig(partitions)
        calls = Calls(rig)
        waiting: deque[StoreAction] = deque()
        events: deque[Event] = deque([StopRequested(persist=True)])
        while events or waiting:
            event = events.popleft() if events else perform(waiting.popleft(), rig.store)
            waiting += [action for action in calls.step(event) if isinstance(action, StoreAction)]
        assert rig.core.state.replay_offset == rig.next_offset
        cost[partitions] = calls.count / partitions
    assert cost[800] <= 1.2 * cost[200], cost


def test_a_record_costs_the_same_beside_any_number_of_partitions() -> None:
    """Over the soft limit, too, while everything that is due waits for its job."""
    cost = {}
    for partitions in (200, 800):
        rig = a_full_rig(partitions, soft_memory_bytes=1)
        rig.tick(1)
        assert rig.persists
        calls = Calls(rig)
        for n in range(20):
            offset = Offset(rig.next_offset + n)
            record = decoded(offset, cpu(n), sequence=1000 + n)
            calls.step(Polled((record,), Offset(offset + 1), caught_up=True))
        cost[partitions] = calls.count
    assert cost[800] <= 1.2 * cost[200], cost


def test_a_tick_looks_at_each_partition_once() -> None:
    """And at none again until the next."""
    cost = {}
    for partitions in (200, 800):
        rig = a_full_rig(partitions)
        calls = Calls(rig)
        calls.step(Tick(rig.now_ns + SECOND_NS))
        cost[partitions] = calls.count / partitions
    assert cost[800] <= 1.2 * cost[200], cost
