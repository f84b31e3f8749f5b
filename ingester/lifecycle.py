"""When to persist which partition: a pure function of partitions, clock and rules.

After InfluxDB IOx's lifecycle (rows, age, cold, memory), and one rule more, log pressure, so that one slow partition
cannot keep the log from being trimmed. A partition's chunk is settled once its last row arrived at least
late_arrival_window ago; `now` is the caller's business (log time while catching up, the wall clock after).
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from common.config import IngesterConfig
from common.ids import Offset
from ingester.buffer.partition import Partition
from ingester.partition_key import PartitionKey


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
    """Times in ns, sizes in bytes. Checked against each other where the settings are (common/config.py)."""

    late_arrival_window_ns: int
    persist_row_threshold: int
    persist_age_threshold_ns: int
    soft_memory_bytes: int
    hard_memory_bytes: int
    log_bytes_max: int

    @classmethod
    def of(cls, config: IngesterConfig) -> "Rules":
        return cls(
            late_arrival_window_ns=round(config.late_arrival_window_s * 1e9),
            persist_row_threshold=config.persist_row_threshold,
            persist_age_threshold_ns=round(config.persist_age_threshold_s * 1e9),
            soft_memory_bytes=config.soft_memory_bytes,
            hard_memory_bytes=config.hard_memory_bytes,
            log_bytes_max=config.log_bytes_max,
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """What the plan needs to know of one partition: the rows that are in no job yet."""

    key: PartitionKey
    rows: int
    settled_rows: int
    bytes: int
    first_arrival_ns: int
    last_arrival_ns: int
    first_offset: Offset


def figures(partition: Partition, now_ns: int, window_ns: int) -> Figures | None:
    """None where every row is in a job already."""
    chunks = partition.chunks
    if not chunks:
        return None
    return Figures(
        key=partition.key,
        rows=sum(chunk.rows for chunk in chunks),
        settled_rows=sum(chunk.rows for chunk in chunks if now_ns - chunk.last_arrival_ns >= window_ns),
        bytes=partition.waiting_bytes,
        first_arrival_ns=chunks[0].first_arrival_ns,
        last_arrival_ns=chunks[-1].last_arrival_ns,
        first_offset=chunks[0].first_offset,
    )


def plan(
    partitions: Iterable[Figures], now_ns: int, rules: Rules, memory_bytes: int, log_bytes: int
) -> list[tuple[PartitionKey, Reason]]:
    """Which partitions to persist now, and why; the most pressing first.

    memory_bytes: of all rows in memory, those in running jobs left out (they are about to be freed). log_bytes: log
    behind the replay offset.
    """
    due: dict[PartitionKey, Reason] = {}
    waiting = []
    for partition in partitions:
        reason = _due(partition, now_ns, rules)
        if reason is None:
            waiting.append(partition)
        else:
            due[partition.key] = reason
            memory_bytes -= partition.bytes
    if log_bytes > rules.log_bytes_max and waiting:
        pinning = min(waiting, key=lambda partition: partition.first_offset)
        waiting.remove(pinning)
        due[pinning.key] = Reason.LOG
        memory_bytes -= pinning.bytes
    for partition in sorted(waiting, key=lambda partition: -partition.bytes):
        if memory_bytes <= rules.soft_memory_bytes:
            break
        due[partition.key] = Reason.MEMORY
        memory_bytes -= partition.bytes
    return sorted(due.items(), key=lambda item: _URGENCY[item[1]])


_URGENCY = {Reason.MEMORY: 0, Reason.LOG: 1, Reason.ROWS: 2, Reason.AGE: 3, Reason.COLD: 4, Reason.STOP: 5}


def _due(partition: Figures, now_ns: int, rules: Rules) -> Reason | None:
    if partition.settled_rows >= rules.persist_row_threshold:
        return Reason.ROWS
    if now_ns - partition.first_arrival_ns >= rules.persist_age_threshold_ns:
        return Reason.AGE
    if now_ns - partition.last_arrival_ns >= rules.late_arrival_window_ns:
        return Reason.COLD
    return None
