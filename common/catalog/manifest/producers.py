"""Which records of each producer were seen, to recognise one that occurs twice in the stream.

A record is a duplicate iff the same producer id and sequence occurs at a lower offset of the sequencer. Sequences are
kept as ranges, because k + 1 may come before k. There are at most RANGES_MAX ranges for each producer; beyond, the
lowest is forgotten. A duplicate from a forgotten range is applied again: its rows count twice, and replace newer rows
of the same keys. To join two ranges instead could treat a new record as a repeat and lose it, which is worse.

Every answer depends on the stream up to the record alone, never on when the table was cleaned up: a replay, which
starts with the manifest's table, must find the same duplicates.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from immutables import Map

RANGES_MAX = 1024
EXPIRY_NS = 24 * 3600 * 1_000_000_000
"""A producer silent for this long by log time is forgotten: a router has a new id at each start."""

Ranges = tuple[tuple[int, int], ...]
"""First and last sequence of each, both included, ascending, with a hole between two of them."""


Sequences = npt.NDArray[np.uint64]


class Seen(NamedTuple):
    """Of one producer: the sequences, and the log time of its last record."""

    ranges: Ranges
    last_ns: int

    def is_silent(self, log_time_ns: int) -> bool:
        return log_time_ns - self.last_ns > EXPIRY_NS

    def with_record(self, sequence: int, log_time_ns: int) -> "Seen":
        """A repeat changes nothing but the time."""
        return Seen(_with_sequence(self.ranges, sequence), max(log_time_ns, self.last_ns))

    def to_json(self) -> dict[str, Any]:
        return {"ranges": [list(pair) for pair in self.ranges], "last_ns": self.last_ns}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Seen":
        return cls(tuple((int(first), int(last)) for first, last in value["ranges"]), int(value["last_ns"]))


class Producers:
    """A mutable table by producer id. A copy shares everything with its original until one of them changes."""

    def __init__(self) -> None:
        self._table: Map[bytes, Seen] = Map()
        self._original: Map[bytes, Seen] = self._table
        self._changed: set[bytes] = set()
        self._expire_from = 0

    def __len__(self) -> int:
        return len(self._table)

    def seen(self, producer_id: bytes, sequence: int, log_time_ns: int) -> bool:
        known = self._table.get(producer_id)
        if known is None or sequence > known.ranges[-1][1] or known.is_silent(log_time_ns):
            return False
        at = _range_from(known.ranges, sequence)
        return at >= 0 and sequence <= known.ranges[at][1]

    def add(self, producer_id: bytes, sequence: int, log_time_ns: int) -> None:
        """Note one appearance."""
        known = self._table.get(producer_id)
        if known is None or known.is_silent(log_time_ns):
            seen = Seen(((sequence, sequence),), log_time_ns)
        else:
            seen = known.with_record(sequence, log_time_ns)
        self._table = self._table.set(producer_id, seen)
        self._changed.add(producer_id)

    def are_above(self, producer_id: bytes, sequences: Sequences, log_time_ns: int) -> bool:
        """Whether they ascend from above all seen of a known producer, that is not silent at `log_time_ns`."""
        known = self._table.get(producer_id)
        if known is None or known.is_silent(log_time_ns) or int(sequences[0]) <= known.ranges[-1][1]:
            return False
        return bool((sequences[1:] > sequences[:-1]).all())

    def add_above(self, producer_id: bytes, sequences: Sequences, log_time_ns: int) -> None:
        """As `add` of each, where `are_above`. log_time_ns: at the last of them."""
        known = self._table[producer_id]
        breaks = np.flatnonzero(np.diff(sequences) != 1)
        firsts = sequences[np.concatenate(([0], breaks + 1))].tolist()
        lasts = sequences[np.concatenate((breaks, [-1]))].tolist()
        ranges = known.ranges
        if ranges[-1][1] + 1 == firsts[0]:
            firsts[0] = ranges[-1][0]
            ranges = ranges[:-1]
        added = tuple(zip(firsts, lasts, strict=True))
        self._set(producer_id, Seen((*ranges, *added)[-RANGES_MAX:], max(log_time_ns, known.last_ns)))

    def expire(self, log_time_ns: int) -> None:
        """Forget producers whose last record is more than EXPIRY_NS of log time old.

        It runs once there are twice as many as after the last run, so that the cost per record stays small. Answers do
        not depend on whether a silent producer is already forgotten.
        """
        if len(self._table) < self._expire_from:
            return
        for producer in [producer for producer, known in self._table.items() if known.is_silent(log_time_ns)]:
            self._table = self._table.delete(producer)
            self._changed.add(producer)
        self._expire_from = 2 * len(self._table)

    def copy(self) -> "Producers":
        other = Producers()
        other._table = other._original = self._table
        other._expire_from = self._expire_from
        return other

    def since(self, known: "Producers") -> dict[bytes, Seen | None]:
        """What differs from `known`; None: forgotten. Costs what changed where this is a copy of `known`."""
        changed: Iterable[bytes] = self._changed if self._original is known._table else {*self._table, *known._table}
        pairs = ((producer, self._table.get(producer)) for producer in changed)
        return {producer: seen for producer, seen in pairs if seen != known._table.get(producer)}

    def to_json(self, known: "Producers | None" = None) -> dict[str, Any]:
        """What differs from `known`, from an empty table without it; null: forgotten."""
        changed = self.since(known or Producers())
        return {producer.hex(): seen and seen.to_json() for producer, seen in sorted(changed.items())}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], known: "Producers | None" = None) -> "Producers":
        """The inverse."""
        table = (known or cls()).copy()
        for producer, value in values.items():
            table._set(bytes.fromhex(producer), value and Seen.from_json(value))
        return table

    def _set(self, producer_id: bytes, seen: Seen | None) -> None:
        if seen is not None:
            self._table = self._table.set(producer_id, seen)
        elif producer_id in self._table:
            self._table = self._table.delete(producer_id)
        self._changed.add(producer_id)


def _with_sequence(ranges: Ranges, sequence: int) -> Ranges:
    if ranges and ranges[-1][1] + 1 == sequence:
        return (*ranges[:-1], (ranges[-1][0], sequence))
    at = _range_from(ranges, sequence)
    if at >= 0 and sequence <= ranges[at][1]:
        return ranges
    first = last = sequence
    before, after = ranges[: at + 1], ranges[at + 1 :]
    if before and before[-1][1] + 1 == first:
        first, before = before[-1][0], before[:-1]
    if after and after[0][0] == last + 1:
        last, after = after[0][1], after[1:]
    return (*before, (first, last), *after)[-RANGES_MAX:]


def _range_from(ranges: Ranges, sequence: int) -> int:
    """Which range is the last that begins at or below `sequence`; -1 when none does."""
    return bisect_right(ranges, sequence, key=_first) - 1


def _first(pair: tuple[int, int]) -> int:
    return pair[0]
