"""Which records of each producer were seen, to recognise one that stands in the stream twice.

A record is a duplicate iff the same producer id and sequence stands at a lower offset of the sequencer. Sequences are
kept as ranges, so that k + 1 before k is no surprise. At most RANGES_MAX ranges for each producer: beyond, the lowest
is forgotten, and a duplicate from there would be applied again: its rows count twice, and hide what was written to
their keys in between. Closing the hole instead could take a first appearance for a repeat and lose it, which is worse.

Every answer follows from the stream up to the record alone, never from when the table was cleaned up: a replay, which
starts with the manifest's table, must take the same records for duplicates.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

RANGES_MAX = 1024
EXPIRY_NS = 24 * 3600 * 1_000_000_000
"""A producer silent for this long by log time is forgotten: routers take a new id at each start."""


class Producers:
    """A mutable table: producer id -> ranges of sequences seen and the log time of the last one."""

    def __init__(self) -> None:
        self._ranges: dict[bytes, list[list[int]]] = {}
        self._last_ns: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._ranges)

    def seen(self, producer_id: bytes, sequence: int, log_time_ns: int) -> bool:
        ranges = self._ranges.get(producer_id)
        if not ranges or self._is_silent(producer_id, log_time_ns):
            return False
        at = bisect_right(ranges, sequence, key=_first) - 1
        return at >= 0 and sequence <= ranges[at][1]

    def add(self, producer_id: bytes, sequence: int, log_time_ns: int) -> None:
        """Note one appearance. A repeat changes nothing but the producer's time."""
        if self._is_silent(producer_id, log_time_ns):
            del self._ranges[producer_id]
        self._last_ns[producer_id] = max(log_time_ns, self._last_ns.get(producer_id, log_time_ns))
        ranges = self._ranges.setdefault(producer_id, [])
        if ranges and ranges[-1][1] + 1 == sequence:
            ranges[-1][1] = sequence
            return
        at = bisect_right(ranges, sequence, key=_first) - 1
        if at >= 0 and sequence <= ranges[at][1]:
            return
        ranges.insert(at + 1, [sequence, sequence])
        _join(ranges, at + 1)
        _join(ranges, at)
        if len(ranges) > RANGES_MAX:
            del ranges[0]

    def expire(self, log_time_ns: int) -> None:
        """Forget producers whose last record is more than EXPIRY_NS of log time old."""
        for producer in [producer for producer in self._ranges if self._is_silent(producer, log_time_ns)]:
            del self._ranges[producer], self._last_ns[producer]

    def _is_silent(self, producer_id: bytes, log_time_ns: int) -> bool:
        last_ns = self._last_ns.get(producer_id)
        return last_ns is not None and log_time_ns - last_ns > EXPIRY_NS

    def copy(self) -> "Producers":
        other = Producers()
        other._ranges = {producer: [list(pair) for pair in ranges] for producer, ranges in self._ranges.items()}
        other._last_ns = dict(self._last_ns)
        return other

    def to_json(self) -> dict[str, Any]:
        return {
            producer.hex(): {"ranges": [list(pair) for pair in ranges], "last_ns": self._last_ns[producer]}
            for producer, ranges in self._ranges.items()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Producers":
        table = cls()
        for producer, value in values.items():
            table._ranges[bytes.fromhex(producer)] = [[int(first), int(last)] for first, last in value["ranges"]]
            table._last_ns[bytes.fromhex(producer)] = int(value["last_ns"])
        return table


def _first(pair: list[int]) -> int:
    return pair[0]


def _join(ranges: list[list[int]], at: int) -> None:
    """Make one range of those at `at` and `at + 1` where they touch."""
    if 0 <= at < len(ranges) - 1 and ranges[at][1] + 1 == ranges[at + 1][0]:
        ranges[at][1] = ranges[at + 1][1]
        del ranges[at + 1]
