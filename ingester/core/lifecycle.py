"""When to persist which partition, and up to which time: a pure function of partitions, clock and rules.

After InfluxDB IOx's lifecycle (rows, age, cold, memory), and one rule more, log pressure, so that one slow partition
cannot keep the log from being trimmed. A partition's chunk is settled once its last row arrived at least
late_arrival_window ago; the caller chooses `now` (log time while catching up, the wall clock after).

A partition that still gets rows is persisted up to the greatest time that is settled: what is later stays in memory, so
that the next file begins where this one ends, and files of a partition overlap in late rows only. A cold partition, or
one that must give memory or log free, is persisted whole.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from common.catalog.manifest.frontier import TIME_END
from common.catalog.partition_key import PartitionKey
from common.values.config import IngesterConfig
from common.values.ids import Offset
from ingester.buffer.partition import Partition
from ingester.buffer.piece import least_offset
from ingester.core.clock import SKEW_NS


class Reason(enum.Enum):
    """Why a partition is persisted; the value is the metric's label."""

    ROWS = "rows"
    AGE = "age"
    COLD = "cold"
    MEMORY = "memory"
    LOG = "log"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in ns, sizes in bytes. Checked against each other where the settings are (common/values/config.py).

    stop_timeout_ns: how long an end waits for a store that does not answer. stop_deadline_ns: how long a stop may take
    in all (ending.py).
    """

    late_arrival_window_ns: int
    persist_row_threshold: int
    persist_age_threshold_ns: int
    soft_memory_bytes: int
    hard_memory_bytes: int
    log_bytes_max: int
    log_records_max: int
    stop_timeout_ns: int
    stop_deadline_ns: int

    @classmethod
    def of(cls, config: IngesterConfig) -> "Rules":
        return cls(
            late_arrival_window_ns=round(config.late_arrival_window_s * 1e9),
            persist_row_threshold=config.persist_row_threshold,
            persist_age_threshold_ns=round(config.persist_age_threshold_s * 1e9),
            soft_memory_bytes=config.soft_memory_bytes,
            hard_memory_bytes=config.hard_memory_bytes,
            log_bytes_max=config.log_bytes_max,
            log_records_max=config.log_records_max,
            stop_timeout_ns=round(config.stop_timeout_s * 1e9),
            stop_deadline_ns=round(config.stop_deadline_s * 1e9),
        )


class Due(NamedTuple):
    """Persist the partition's rows with time <= until_ns; the others stay. TIME_END: all of them."""

    key: PartitionKey
    reason: Reason
    until_ns: int = TIME_END


@dataclass(frozen=True, slots=True)
class Figures:
    """What the plan needs to know of one partition: the rows that are in no job yet.

    Chunks that lie wholly in the future, by more than clocks may differ, count only in rows, bytes, last_arrival_ns and
    first_offset: they wait until their partition is cold or has to go whole. Were they persisted while others come, all
    rows up to their time would be late. settled_until_ns: the greatest time of a settled chunk, None without one.
    """

    key: PartitionKey
    rows: int
    settled_rows: int
    bytes: int
    first_arrival_ns: int
    last_arrival_ns: int
    first_offset: Offset
    settled_until_ns: int | None = None


def figures(partition: Partition, now_ns: int, window_ns: int) -> Figures | None:
    """None where every row is in a job already."""
    chunks = partition.chunks
    if not chunks:
        return None
    present = [chunk for chunk in chunks if chunk.time_ns_min <= now_ns + SKEW_NS]
    settled = [chunk for chunk in present if now_ns - chunk.last_arrival_ns >= window_ns]
    return Figures(
        key=partition.key,
        rows=sum(chunk.rows for chunk in chunks),
        settled_rows=sum(chunk.rows for chunk in settled),
        bytes=partition.waiting_bytes,
        first_arrival_ns=min((chunk.first_arrival_ns for chunk in present), default=now_ns),
        last_arrival_ns=max(chunk.last_arrival_ns for chunk in chunks),
        first_offset=least_offset(chunks),
        settled_until_ns=max((chunk.time_ns_max for chunk in settled), default=None),
    )


def plan(
    partitions: Iterable[Figures], now_ns: int, rules: Rules, memory_bytes: int, log_kept_from: Offset
) -> list[Due]:
    """Which partitions to persist now, why, and up to which time; the most pressing first.

    memory_bytes: of all rows in memory, those in running jobs left out (they are about to be freed). log_kept_from:
    rows below it hold back more log than the limits on the log allow.
    """
    known = list(partitions)
    due: dict[PartitionKey, Due] = {}
    for partition in known:
        if reason := _due(partition, now_ns, rules):
            due[partition.key] = Due(partition.key, reason, _until_ns(partition, reason, now_ns))
    for partition in sorted(known, key=lambda partition: partition.first_offset):
        if partition.first_offset < log_kept_from and not _goes_whole(partition, due):
            due[partition.key] = Due(partition.key, Reason.LOG)
    memory_bytes -= sum(_freed_bytes(partition, due) for partition in known)
    for partition in sorted(known, key=lambda partition: -partition.bytes):
        if memory_bytes <= rules.soft_memory_bytes:
            break
        if not _goes_whole(partition, due):
            memory_bytes -= partition.bytes - _freed_bytes(partition, due)
            due[partition.key] = Due(partition.key, Reason.MEMORY)
    return sorted(due.values(), key=lambda one: _URGENCY[one.reason])


_URGENCY = {Reason.MEMORY: 0, Reason.LOG: 1, Reason.ROWS: 2, Reason.AGE: 3, Reason.COLD: 4, Reason.STOP: 5}


def _due(partition: Figures, now_ns: int, rules: Rules) -> Reason | None:
    if partition.settled_rows >= rules.persist_row_threshold:
        return Reason.ROWS
    if now_ns - partition.first_arrival_ns >= rules.persist_age_threshold_ns:
        return Reason.AGE
    if now_ns - partition.last_arrival_ns >= rules.late_arrival_window_ns:
        return Reason.COLD
    return None


def _until_ns(partition: Figures, reason: Reason, now_ns: int) -> int:
    """Up to which time a partition is persisted that is due by its own figures; at least one row is not above it."""
    if reason is Reason.COLD or partition.settled_until_ns is None:
        return TIME_END
    return min(partition.settled_until_ns, now_ns + SKEW_NS)


def _goes_whole(partition: Figures, due: Mapping[PartitionKey, Due]) -> bool:
    return partition.key in due and due[partition.key].until_ns == TIME_END


def _freed_bytes(partition: Figures, due: Mapping[PartitionKey, Due]) -> int:
    """About how much, once what is due of it is committed."""
    if partition.key not in due:
        return 0
    if _goes_whole(partition, due):
        return partition.bytes
    return partition.bytes * partition.settled_rows // partition.rows
