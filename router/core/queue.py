"""Admitted requests that are in no batch yet. Clients take turns, so that many requests of one do not delay another's.

A batch begins with the client whose turn it is: with its oldest request of the namespace whose turn it is there. Then
the clients that have requests for the same namespace add their oldest ones, one at a time, as long as they fit. For one
client and namespace batches keep the order of arrival.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable

from router.core.in_flight import Waiting

_Lane = OrderedDict[int, Waiting]
"""The requests of one client for one namespace, by request_id, the oldest first."""


class Queue:
    """For one router. Its emptiness is its truth value."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, OrderedDict[str, _Lane]] = OrderedDict()
        """By client, then by namespace; in both, whose turn is next comes first."""
        self._clients_of: dict[str, OrderedDict[str, None]] = {}
        """By namespace: the clients with requests for it, those served least recently first."""
        self._places: dict[int, Waiting] = {}
        self.bytes = 0
        """Of the queued bodies."""

    def __len__(self) -> int:
        return len(self._places)

    def add(self, one: Waiting) -> None:
        self.bytes += len(one.request.body)
        self._lane_of(one)[one.request_id] = one
        self._places[one.request_id] = one

    def add_first(self, ones: Iterable[Waiting]) -> None:
        """Put requests back, in their order, before all others of their clients and namespaces."""
        for one in reversed(list(ones)):
            self.add(one)
            self._lane_of(one).move_to_end(one.request_id, last=False)

    def remove(self, request_id: int) -> Waiting | None:
        """The request, which is queued no longer; None if it was not."""
        one = self._places.get(request_id)
        if one is not None:
            self._remove(one)
        return one

    def next_batch(self, bytes_max: int) -> list[Waiting]:
        """Requests of one namespace to be parsed together, at least one. Over bytes_max only if one is alone.

        Raises LookupError when nothing is queued.
        """
        client, lanes = next(iter(self._lanes.items()))
        namespace, lane = next(iter(lanes.items()))
        self._lanes.move_to_end(client)
        lanes.move_to_end(namespace)
        first = self._take_oldest(lane)
        return [first] if first.alone else [first, *self._fill(namespace, bytes_max - len(first.request.body))]

    def _fill(self, namespace: str, room: int) -> list[Waiting]:
        batch: list[Waiting] = []
        turns = deque(self._clients_of.get(namespace, ()))
        while turns and room > 0:
            client = turns.popleft()
            lane = self._lanes[client][namespace]
            oldest = next(iter(lane.values()))
            if oldest.alone or len(oldest.request.body) > room:
                continue
            batch.append(self._take_oldest(lane))
            room -= len(oldest.request.body)
            if lane:
                turns.append(client)
        return batch

    def _take_oldest(self, lane: _Lane) -> Waiting:
        oldest = next(iter(lane.values()))
        self._remove(oldest)
        if lane:
            self._clients_of[oldest.request.namespace].move_to_end(oldest.request.client)
        return oldest

    def _lane_of(self, one: Waiting) -> _Lane:
        namespace, client = one.request.namespace, one.request.client
        self._clients_of.setdefault(namespace, OrderedDict()).setdefault(client)
        return self._lanes.setdefault(client, OrderedDict()).setdefault(namespace, OrderedDict())

    def _remove(self, one: Waiting) -> None:
        """Take it out, with the lane, client and namespace that have nothing left."""
        namespace, client = one.request.namespace, one.request.client
        del self._places[one.request_id]
        self.bytes -= len(one.request.body)
        lanes, clients = self._lanes[client], self._clients_of[namespace]
        lane = lanes[namespace]
        del lane[one.request_id]
        if lane:
            return
        del lanes[namespace], clients[client]
        if not lanes:
            del self._lanes[client]
        if not clients:
            del self._clients_of[namespace]
