"""Server metrics as TSBS's devops case has them, as line protocol: nine tables of ten tags, about 200 columns in all.

Tables, tags and fields are those of the Time Series Benchmark Suite (github.com/timescale/tsbs, use case "devops");
values walk: counters only grow, gauges stay in their range. A line has about 420 bytes. The lines depend on seed,
worker, workers, hosts and start alone. Each host's clock goes on by INTERVAL_S from one line of a table to its next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

INTERVAL_S = 10
_BLOCK_ROWS = 512
"""Values are drawn for about this many lines of a table at once, so that few hosts do not cost a draw each."""

_REGIONS = {
    "us-east-1": "abce",
    "us-west-1": "ab",
    "us-west-2": "abc",
    "eu-west-1": "abc",
    "eu-central-1": "ab",
    "ap-southeast-1": "ab",
    "ap-southeast-2": "ab",
    "ap-northeast-1": "ac",
    "sa-east-1": "abc",
}
_OSES = ("Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10")
_ARCHITECTURES = ("x64", "x86")
_TEAMS = ("SF", "NYC", "LON", "CHI")
_ENVIRONMENTS = ("production", "staging", "test")


@dataclass(frozen=True, slots=True)
class Gauge:
    """A float with two decimals that walks between low and high, by about `step` an interval."""

    name: str
    low: float
    high: float
    step: float


@dataclass(frozen=True, slots=True)
class Counter:
    """An integer that grows by about `step` an interval."""

    name: str
    step: float


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    fields: tuple[Gauge | Counter, ...]


def _percents(*names: str) -> tuple[Gauge, ...]:
    return tuple(Gauge(name, 0, 100, 1) for name in names)


def _counters(step: float, *names: str) -> tuple[Counter, ...]:
    return tuple(Counter(name, step) for name in names)


def _sizes(high: float, *names: str) -> tuple[Gauge, ...]:
    return tuple(Gauge(name, 0, high, high / 1000) for name in names)


TABLES = (
    Table(
        "cpu",
        _percents(
            "usage_user",
            "usage_system",
            "usage_idle",
            "usage_nice",
            "usage_iowait",
            "usage_irq",
            "usage_softirq",
            "usage_steal",
            "usage_guest",
            "usage_guest_nice",
        ),
    ),
    Table(
        "diskio",
        _counters(50, "reads", "writes", "read_time", "write_time", "io_time")
        + _counters(4096, "read_bytes", "write_bytes"),
    ),
    Table(
        "disk",
        _sizes(1e12, "total", "free", "used")
        + _percents("used_percent")
        + _sizes(1e7, "inodes_total", "inodes_free", "inodes_used"),
    ),
    Table(
        "kernel",
        _counters(
            5, "boot_time", "interrupts", "context_switches", "processes_forked", "disk_pages_in", "disk_pages_out"
        ),
    ),
    Table(
        "mem",
        _sizes(3.4e10, "total", "available", "used", "free", "cached", "buffered")
        + _percents("used_percent", "available_percent", "buffered_percent"),
    ),
    Table(
        "net",
        _counters(50, "bytes_sent", "bytes_recv", "packets_sent", "packets_recv")
        + _counters(0.1, "err_in", "err_out", "drop_in", "drop_out"),
    ),
    Table(
        "nginx",
        _counters(5, "accepts", "handled", "requests") + _sizes(100, "active", "reading", "waiting", "writing"),
    ),
    Table(
        "postgresl",
        _counters(
            5,
            "numbackends",
            "xact_commit",
            "xact_rollback",
            "blks_read",
            "blks_hit",
            "tup_returned",
            "tup_fetched",
            "tup_inserted",
            "tup_updated",
            "tup_deleted",
            "conflicts",
            "temp_files",
            "deadlocks",
        )
        + _counters(1024, "temp_bytes")
        + _sizes(1000, "blk_read_time", "blk_write_time"),
    ),
    Table(
        "redis",
        _counters(
            5,
            "uptime_in_seconds",
            "total_connections_received",
            "expired_keys",
            "evicted_keys",
            "keyspace_hits",
            "keyspace_misses",
            "instantaneous_ops_per_sec",
            "instantaneous_input_kbps",
            "instantaneous_output_kbps",
            "connected_clients",
            "sync_full",
            "sync_partial_ok",
            "sync_partial_err",
            "pubsub_channels",
            "pubsub_patterns",
            "latest_fork_usec",
            "connected_slaves",
            "master_repl_offset",
            "repl_backlog_active",
            "repl_backlog_size",
            "repl_backlog_histlen",
            "used_cpu_sys",
            "used_cpu_user",
            "used_cpu_sys_children",
            "used_cpu_user_children",
        )
        + _sizes(8e9, "used_memory", "used_memory_rss", "used_memory_peak", "used_memory_lua")
        + _sizes(10, "mem_fragmentation_ratio"),
    ),
)


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of line protocol, each with its newline."""

    rows: int
    body: bytes


class DevopsLines:
    """The endless stream of one worker: hosts `worker`, `worker + workers`, … of `hosts`."""

    def __init__(self, *, seed: int, hosts: int, start_ns: int, worker: int = 0, workers: int = 1) -> None:
        random = np.random.Generator(np.random.PCG64([seed, worker]))
        tag_sets = [_tag_set(seed, host) for host in range(worker, hosts, workers)]
        self._walks = [_Walk(table, tag_sets, random) for table in TABLES]
        self._ticks = max(1, _BLOCK_ROWS // max(1, len(tag_sets)))
        self._time_ns = start_ns

    def lines(self) -> Iterator[bytes]:
        """Lines without newlines: for each interval, for each table, for each host."""
        while True:
            blocks = [walk.block(self._ticks) for walk in self._walks]
            for tick in range(self._ticks):
                time = b" %d" % self._time_ns
                for block in blocks:
                    for line in block[tick]:
                        yield line + time
                self._time_ns += INTERVAL_S * 10**9

    def batches(self, batch_rows: int) -> Iterator[Lines]:
        """The same lines, `batch_rows` at a time."""
        lines = self.lines()
        while True:
            yield Lines(batch_rows, b"\n".join(next(lines) for _ in range(batch_rows)) + b"\n")


class _Walk:
    """The values of one table: an array of hosts x fields that goes on interval by interval."""

    def __init__(self, table: Table, tag_sets: list[str], random: np.random.Generator) -> None:
        gauges = [isinstance(field, Gauge) for field in table.fields]
        self._random = random
        self._step = np.array([field.step for field in table.fields])
        self._low = np.array([field.low if isinstance(field, Gauge) else 0.0 for field in table.fields])
        self._high = np.array([field.high if isinstance(field, Gauge) else 2.0**52 for field in table.fields])
        self._jitter = np.where(gauges, self._step, 0.0)
        self._growth = np.where(gauges, 0.0, self._step)
        template = ",".join(f"{f.name}=%.2f" if isinstance(f, Gauge) else f"{f.name}=%di" for f in table.fields)
        self._templates = [f"{table.name},{tags} {template}".encode() for tags in tag_sets]
        start_high = np.where(gauges, self._high, self._step * 1e5)
        self._values = random.uniform(self._low, start_high, (len(tag_sets), len(table.fields)))

    def block(self, ticks: int) -> list[list[bytes]]:
        """Lines without time of the next `ticks` intervals, by interval and host."""
        shape = (ticks, *self._values.shape)
        steps: Any = self._random.standard_normal(shape) * self._jitter
        steps += self._random.exponential(1.0, shape) * self._growth
        values = np.clip(self._values + steps.cumsum(axis=0), self._low, self._high)
        self._values = values[-1]
        return [
            [template % tuple(row) for template, row in zip(self._templates, hosts, strict=True)]
            for hosts in values.tolist()
        ]


def _tag_set(seed: int, host: int) -> str:
    """Ten tags. A host has the same in every table, and whichever worker it falls to."""
    random = Random(f"{seed} {host}")

    def choose(options: Sequence[Any]) -> Any:
        return options[int(random.random() * len(options))]

    region = choose(tuple(_REGIONS))
    tags = {
        "hostname": f"host_{host}",
        "region": region,
        "datacenter": region + choose(_REGIONS[region]),
        "rack": choose(range(100)),
        "os": choose(_OSES),
        "arch": choose(_ARCHITECTURES),
        "team": choose(_TEAMS),
        "service": choose(range(20)),
        "service_version": choose(range(2)),
        "service_environment": choose(_ENVIRONMENTS),
    }
    return ",".join(f"{name}={value}" for name, value in tags.items())
