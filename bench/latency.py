"""How long one append takes at a gentle rate, beside the raw thing, and how soon a waiting reader has the record.

append   --rate appends a second of 1 KB, one at a time, from the call to the resolved future; raw is write + fdatasync
         (file), XADD (redis), produce until the delivery report, with the same settings (kafka)
wake-up  from the resolved future to the return of the poll in which another thread waits, --wake-rate times a second

    python -m bench.latency [--buffers file,redis,kafka] [--seconds 10] [--rate 100] [--wake-rate 10] [--json]
"""

import argparse
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench._buffers import ONE, Place, kafka_settings, parser, places, records
from bench._measure import report

RATIO_GOAL = 2.0
WAKE_GOALS_MS = {"file": 10.0, "redis": 5.0, "kafka": 5.0}
RECORD_BYTES = 1000

Act = Callable[[], object]


def main() -> None:
    options = _options()
    rows = []
    for at in places(options):
        rows.append(_appends(at, options) | _wake_ups(at, options.seconds, options.wake_rate))
    lines = [f"{options.rate:g} appends/s and {options.wake_rate:g} wake-ups/s for {options.seconds:g} s, in ms"]
    report([*lines, *map(_line, rows)], {"rows": rows}, as_json=options.json)


def _appends(at: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Raw and ours by turns, a second each, so that both see the same disk."""
    raw: list[float] = []
    ours: list[float] = []
    [one] = records(1, RECORD_BYTES)
    writer = at.fresh().open_writer()
    with RAW[at.name](at, one.to_bytes()) as raw_append:
        for act in (raw_append, lambda: writer.append(ONE, one).result(30)):
            act()
        for _ in range(max(1, int(options.seconds))):
            raw += timed(raw_append, options.rate)
            ours += timed(lambda: writer.append(ONE, one).result(30), options.rate)
    writer.close()
    return {
        "buffer": at.name,
        "append_p50_ms": _percentile(ours, 50),
        "append_p99_ms": _percentile(ours, 99),
        "raw_p50_ms": _percentile(raw, 50),
        "raw_p99_ms": _percentile(raw, 99),
        "append_p99_ratio": round(_percentile(ours, 99) / _percentile(raw, 99), 2),
    }


def timed(act: Act, rate: float) -> list[float]:
    """One second of calls at `rate`; the seconds that each took."""
    seconds = []
    for _ in range(int(rate)):
        time.sleep(1 / rate)
        started_s = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started_s)
    return seconds


def _wake_ups(at: Place, seconds: float, rate: float) -> dict[str, Any]:
    backend = at.fresh()
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.cursor(ONE)
    count = int(seconds * rate)
    read_s: list[float] = []

    def follow() -> None:
        while len(read_s) < count:
            read_s.extend(time.perf_counter() for _ in cursor.poll(100, 2**20, 10).records)

    thread = threading.Thread(target=follow)
    thread.start()
    durable_s = []
    for one in records(count, RECORD_BYTES):
        time.sleep(1 / rate)
        writer.append(ONE, one).result(30)
        durable_s.append(time.perf_counter())
    thread.join(30)
    writer.close()
    reader.close()
    waits = [max(0.0, seen - durable) for seen, durable in zip(read_s, durable_s, strict=True)]
    return {
        "wake_p50_ms": _percentile(waits, 50),
        "wake_p99_ms": _percentile(waits, 99),
        "wake_goal_ms": WAKE_GOALS_MS[at.name],
    }


def _percentile(seconds: Sequence[float], percent: int) -> float:
    ordered = sorted(seconds)
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3)


@contextmanager
def raw_file(at: Place, data: bytes) -> Iterator[Act]:
    folder = Path(at.fresh().url.removeprefix("file://"))
    descriptor = os.open(folder / uuid.uuid4().hex, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.posix_fallocate(descriptor, 0, 64 * 2**20)
    position = 0

    def act() -> None:
        nonlocal position
        position += os.pwrite(descriptor, data, position)
        os.fdatasync(descriptor)

    try:
        yield act
    finally:
        os.close(descriptor)


@contextmanager
def _raw_redis(at: Place, data: bytes) -> Iterator[Act]:
    import redis

    client = redis.Redis.from_url(f"redis://{at.server}/0")
    stream = uuid.uuid4().hex
    try:
        yield lambda: client.xadd(stream, {b"r": data})
    finally:
        client.close()


@contextmanager
def _raw_kafka(at: Place, data: bytes) -> Iterator[Act]:
    from confluent_kafka import Producer

    url = at.fresh().url
    topic = url.rpartition("/")[2]
    producer = Producer(kafka_settings(url, "producer"))

    def act() -> None:
        delivered: list[object] = []
        producer.produce(topic, data, partition=0, on_delivery=lambda error, message: delivered.append(error))
        while not delivered:
            producer.poll(1)

    yield act


RAW = {"file": raw_file, "redis": _raw_redis, "kafka": _raw_kafka}


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['buffer']:<6} append p50 {row['append_p50_ms']:.2f} p99 {row['append_p99_ms']:.2f}"
        f"  raw p50 {row['raw_p50_ms']:.2f} p99 {row['raw_p99_ms']:.2f}"
        f"  p99 ratio {row['append_p99_ratio']:.2f} (goal {RATIO_GOAL:g})"
        f"   wake-up p50 {row['wake_p50_ms']:.2f} p99 {row['wake_p99_ms']:.2f} (goal {row['wake_goal_ms']:g})"
    )


def _options() -> argparse.Namespace:
    made = parser(__doc__, ("file", "redis", "kafka"))
    made.add_argument("--seconds", type=int, default=10, help="length of each measurement (10)")
    made.add_argument("--rate", type=float, default=100, help="appends a second (100)")
    made.add_argument("--wake-rate", type=float, default=10, help="appends a second that wake a reader (10)")
    return made.parse_args()


if __name__ == "__main__":
    main()
