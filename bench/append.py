"""Appending to each write buffer beside the raw thing below it, the same bytes in the same run.

memory   a bare Future for each record: made, resolved, its result read by the same loop
file     write + fdatasync of the same bytes, 256 KiB at a time, into a preallocated file
redis    redis-py: XADD of the same bytes in pipelines of 1 MiB, on the same server
kafka    confluent-kafka: produce with a delivery callback for each record, the same settings, then flush

Ours, `single`: each record appended by itself, the result of each future read. `many`: append_many of up to 1 MiB.
What is in flight at once is bounded by 16 MiB. The three take turns; medians are over runs. Opening and closing is not
measured.

    python -m bench.append [--buffers memory,file,redis,kafka] [--record-bytes 1000,50000,900000] [--runs 5] [--json]
"""

import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench._buffers import ONE, Place, Row, kafka_settings, measure_sizes, records, sized_parser
from bench._measure import MB, median
from writebuffer.contract import Writer
from writebuffer.record import Record

IN_FLIGHT_BYTES = 16 * 2**20
GROUP_BYTES = 256 * 2**10
MANY_BYTES = 2**20
RATIO_GOALS = {"memory": 0.5, "redis": 0.7, "kafka": 0.8}
"""The log's goal is one of groups of 256 KiB: bench.log_append."""
MANY_GOALS = {"memory": 1_000_000}
"""Records a second, of 1 KB."""
SMALL_BYTES = 1000
RAW_SPREAD_MAX = 1.6

Act = Callable[[Sequence[Record]], object]


def main() -> None:
    options = sized_parser(__doc__, total_bytes=100_000_000, records_max=30_000).parse_args()
    measure_sizes(options, _measured, _line)


def _measured(at: Place, record_bytes: int, count: int, runs: int) -> Row:
    kept = records(count, record_bytes)
    rates: dict[str, list[float]] = {"raw": [], "single": [], "many": []}
    for run in range(runs + 1):
        with RAW[at.name](at) as raw, _writer(at, _single) as single, _writer(at, _many) as many:
            acts = deque([("raw", raw), ("single", single), ("many", many)])
            acts.rotate(run)
            for kind, act in acts:
                os.sync()
                started_s = time.perf_counter()
                act(kept)
                if run:  # the first warms caches and servers
                    rates[kind].append(count / (time.perf_counter() - started_s))
    to_mb = record_bytes / MB
    return {
        "buffer": at.name,
        "record_bytes": record_bytes,
        "records": count,
        "raw_mb_per_s": round(median(rates["raw"]) * to_mb, 1),
        "doubt": "the raw runs differ" if max(rates["raw"]) > RAW_SPREAD_MAX * min(rates["raw"]) else "",
        "goal": RATIO_GOALS.get(at.name),
        "many_goal": MANY_GOALS.get(at.name) if record_bytes == SMALL_BYTES else None,
    } | {
        kind: {
            "mb_per_s": round(median(rates[kind]) * to_mb, 1),
            "records_per_s": round(median(rates[kind])),
            "ratio": round(median([ours / raw for ours, raw in zip(rates[kind], rates["raw"], strict=True)]), 2),
        }
        for kind in ("single", "many")
    }


@contextmanager
def _writer(at: Place, append: Callable[[Writer, Sequence[Record]], None]) -> Iterator[Act]:
    writer = at.fresh().open_writer()
    writer.append(ONE, records(1, 100)[0]).result(30)  # makes files, connects, asks for a producer id
    try:
        yield lambda kept: append(writer, kept)
    finally:
        writer.close()


def _single(writer: Writer, kept: Sequence[Record]) -> None:
    _await((len(one), writer.append(ONE, one)) for one in kept)


def _many(writer: Writer, kept: Sequence[Record]) -> None:
    _await((sum(map(len, group)), writer.append_many(ONE, group)) for group in _groups(kept, MANY_BYTES))


def _await(appends: Iterable[tuple[int, Future[Any]]]) -> None:
    """Read the result of every future; at most IN_FLIGHT_BYTES are under way when the next append is called."""
    waiting: deque[tuple[int, Future[Any]]] = deque()
    in_flight = 0
    for size, future in appends:
        waiting.append((size, future))
        in_flight += size
        while waiting and (in_flight > IN_FLIGHT_BYTES or waiting[0][1].done()):
            done_size, done = waiting.popleft()
            done.result(60)
            in_flight -= done_size
    for _, future in waiting:
        future.result(60)


@contextmanager
def _raw_future(at: Place) -> Iterator[Act]:
    def resolved(one: Record) -> Future[Record]:
        future: Future[Record] = Future()
        future.set_result(one)
        return future

    yield lambda kept: _await((len(one), resolved(one)) for one in kept)


@contextmanager
def _raw_file(at: Place) -> Iterator[Act]:
    folder = Path(at.fresh().url.removeprefix("file://"))
    descriptor = os.open(folder / uuid.uuid4().hex, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def act(kept: Sequence[Record]) -> None:
        position = 0
        for group in _groups(kept, GROUP_BYTES):
            position += os.pwritev(descriptor, [one.to_bytes() for one in group], position)
            os.fdatasync(descriptor)

    os.posix_fallocate(descriptor, 0, 256 * 2**20)
    try:
        yield act
    finally:
        os.close(descriptor)


@contextmanager
def _raw_redis(at: Place) -> Iterator[Act]:
    import redis

    client = redis.Redis.from_url(f"redis://{at.server}/0")
    stream = uuid.uuid4().hex

    def act(kept: Sequence[Record]) -> None:
        for group in _groups(kept, MANY_BYTES):
            pipeline = client.pipeline(transaction=False)
            for one in group:
                pipeline.xadd(stream, {b"r": one.to_bytes()})
            pipeline.execute()

    client.ping()
    try:
        yield act
    finally:
        client.delete(stream)
        client.close()


@contextmanager
def _raw_kafka(at: Place) -> Iterator[Act]:
    from confluent_kafka import Producer

    url = at.fresh().url
    topic = url.rpartition("/")[2]
    producer = Producer(kafka_settings(url, "producer"))
    delivered = []

    def on_delivery(error: object, message: Any) -> None:
        if error:
            raise SystemExit(f"raw produce failed: {error}")
        delivered.append(message.offset())

    def act(kept: Sequence[Record]) -> None:
        for one in kept:
            while True:
                try:
                    producer.produce(topic, one.to_bytes(), partition=0, on_delivery=on_delivery)
                    break
                except BufferError:
                    producer.poll(0.01)
            producer.poll(0)
        producer.flush()

    act(records(1, 100))
    yield act


RAW = {"memory": _raw_future, "file": _raw_file, "redis": _raw_redis, "kafka": _raw_kafka}


def _groups(kept: Sequence[Record], group_bytes: int) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for one in kept:
        group.append(one)
        size += len(one)
        if size >= group_bytes:
            yield group
            group, size = [], 0
    if group:
        yield group


def _line(row: dict[str, Any]) -> str:
    goal = f" (goal {row['goal']})" if row["goal"] else ""
    many_goal = f" (goal {row['many_goal']:,})" if row["many_goal"] else ""
    single, many = row["single"], row["many"]
    doubt = f"  NOT USABLE: {row['doubt']}" if row["doubt"] else ""
    return (
        f"{row['buffer']:<7}{row['record_bytes']:>8} B  raw {row['raw_mb_per_s']:>8.1f} MB/s{goal}"
        f"  single {single['mb_per_s']:>8.1f} MB/s {single['records_per_s']:>8,} rec/s ratio {single['ratio']:.2f}"
        f"  many {many['mb_per_s']:>8.1f} MB/s {many['records_per_s']:>10,} rec/s{many_goal} ratio {many['ratio']:.2f}"
        f"{doubt}"
    )


if __name__ == "__main__":
    main()
