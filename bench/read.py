"""Reading each write buffer from its first to its next offset, beside the raw thing below it.

memory   nothing: records a second are the figure
file     a copy of the same bytes in memory (memcpy); the file is in the page cache
redis    redis-py: XRANGE of the same entries, 1 MiB at a time
kafka    confluent-kafka: consume() with the same settings from the same offset

Raw and ours alternate; medians are over runs. Opening a reader is not measured, the first fetch is; a Kafka consumer
is opened by the first fetch.

    python -m bench.read [--buffers memory,file,redis,kafka] [--record-bytes 1000,50000,900000] [--runs 5] [--json]
"""

import time
from collections.abc import Callable
from typing import Any

from bench._buffers import ONE, Place, Row, append_all, kafka_settings, measure_sizes, records, sized_parser
from bench._measure import MB, median
from writebuffer.contract import Backend

GOALS = {"kafka": {"ratio": 0.8}, "file": {"mb_per_s": 1500.0}}
POLL_RECORDS = 10_000
POLL_BYTES = 8 * 2**20


def main() -> None:
    options = sized_parser(__doc__, total_bytes=200_000_000, records_max=100_000).parse_args()
    measure_sizes(options, _measured, _line)


def _measured(at: Place, record_bytes: int, count: int, runs: int) -> Row:
    backend = at.fresh()
    append_all(backend, records(count, record_bytes))
    raw: list[float] = []
    ours: list[float] = []
    read_raw = RAW[at.name]
    measures: list[tuple[list[float], Callable[[], float]]] = [
        (raw, lambda: read_raw(at, backend, count, record_bytes)),
        (ours, lambda: _ours(backend, count)),
    ]
    for run in range(runs + 1):
        for seconds, measure in measures if run % 2 else reversed(measures):
            seconds.append(measure())
    raw, ours = raw[1:], ours[1:]  # the first run warms caches
    size_mb = count * record_bytes / MB
    return {
        "buffer": at.name,
        "record_bytes": record_bytes,
        "records": count,
        "mb_per_s": round(size_mb / median(ours), 1),
        "records_per_s": round(count / median(ours)),
        "raw_mb_per_s": round(size_mb / median(raw), 1),
        "ratio": round(median([limit / mine for mine, limit in zip(ours, raw, strict=True)]), 2),
        "goals": GOALS.get(at.name, {}) if record_bytes >= 50_000 or at.name == "kafka" else {},
    }


def _ours(backend: Backend, count: int) -> float:
    reader = backend.open_reader()
    try:
        cursor = reader.cursor(ONE)
        read = 0
        started_s = time.perf_counter()
        while read < count:
            read += len(cursor.poll(POLL_RECORDS, POLL_BYTES, 10).records)
        return time.perf_counter() - started_s
    finally:
        reader.close()


def _raw_copy(at: Place, backend: Backend, count: int, record_bytes: int) -> float:
    data = memoryview(bytes(8 * 2**20))
    started_s = time.perf_counter()
    for _ in range(max(1, count * record_bytes // len(data))):
        bytes(data)
    return time.perf_counter() - started_s


def _raw_redis(at: Place, backend: Backend, count: int, record_bytes: int) -> float:
    import redis

    client = redis.Redis.from_url(f"redis://{at.server}/0")
    [stream] = [key for key in client.keys("*") if client.type(key) == b"stream" and client.xlen(key) == count]
    at_once = max(1, 2**20 // record_bytes)
    last, read = "-", 0
    started_s = time.perf_counter()
    while read < count:
        entries: Any = client.xrange(stream, min=last, count=at_once)
        last, read = f"({entries[-1][0].decode()}", read + len(entries)
    elapsed_s = time.perf_counter() - started_s
    client.close()
    return elapsed_s


def _raw_kafka(at: Place, backend: Backend, count: int, record_bytes: int) -> float:
    from confluent_kafka import Consumer, TopicPartition

    read = 0
    started_s = time.perf_counter()
    consumer = Consumer(kafka_settings(backend.url, "consumer"))
    consumer.assign([TopicPartition(backend.url.rpartition("/")[2], 0, 0)])
    while read < count:
        read += sum(1 for message in consumer.consume(POLL_RECORDS, 0.1) if not message.error())
    elapsed_s = time.perf_counter() - started_s
    consumer.close()
    return elapsed_s


RAW: dict[str, Callable[[Place, Backend, int, int], float]] = {
    "memory": _raw_copy,
    "file": _raw_copy,
    "redis": _raw_redis,
    "kafka": _raw_kafka,
}


def _line(row: dict[str, Any]) -> str:
    goals = ", ".join(f"{name} {goal:g}" for name, goal in row["goals"].items())
    return (
        f"{row['buffer']:<7}{row['record_bytes']:>8} B {row['mb_per_s']:>9.1f} MB/s {row['records_per_s']:>8,} rec/s"
        f"  raw {row['raw_mb_per_s']:>9.1f} MB/s  ratio {row['ratio']:.2f}" + (f"  (goal: {goals})" if goals else "")
    )


if __name__ == "__main__":
    main()
