"""The write buffers that benchmarks measure, each on a scratch place of its own: memory, file, Redis and Kafka.

Redis (appendonly, appendfsync always) and Kafka (one broker) are real servers on loopback, started for the run.
"""

import argparse
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from bench._measure import report
from common.logs import configure_command
from common.values.clock import SystemClock
from common.values.ids import SequencerId
from tests.support import kafka_server, redis_server
from writebuffer.connect import connect
from writebuffer.contract import Backend
from writebuffer.record import Record, RecordHeaders

NAMES = ("memory", "file", "redis", "kafka")
ONE = SequencerId(0)

Row = dict[str, Any]
"""What one measurement found, by name."""


class Place:
    """Where buffers of one kind are made. `server`: host:port of the server that keeps them."""

    def __init__(self, name: str, base: str, server: str = "") -> None:
        self.name = name
        self.server = server
        self._base = base
        self._numbers = itertools.count()

    def unused_url(self) -> str:
        """Of a buffer that does not exist yet."""
        return f"{self._base}{next(self._numbers)}"

    def fresh(self) -> Backend:
        """A new, empty buffer of one sequencer."""
        backend = connect(self.unused_url())
        backend.create(1)
        return backend


@contextmanager
def place(name: str, folder: Path) -> Iterator[Place]:
    """The place for `name`. Raises SystemExit where its server is not installed."""
    configure_command(warnings=True)
    folder.mkdir()
    if name == "memory":
        yield Place(name, "memory:bench-")
    elif name == "file":
        yield Place(name, f"file://{folder}/log-")
        shutil.rmtree(folder)
    else:
        module = redis_server if name == "redis" else kafka_server
        if reason := module.why_not():
            raise SystemExit(reason)
        server = redis_server.RedisServer(folder) if name == "redis" else kafka_server.KafkaServer(folder)
        server.start()
        separator = "?stream=bench" if name == "redis" else "/bench-"
        address = server.url.partition("://")[2].partition("/")[0]
        try:
            yield Place(name, server.url + separator, address)
        finally:
            server.stop()


def places(options: argparse.Namespace) -> Iterator[Place]:
    """The place for each of --buffers, one after the other."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name in options.buffers.split(","):
            with place(name, Path(folder) / name) as at:
                yield at


def parser(doc: str | None, buffers: Sequence[str] = NAMES) -> argparse.ArgumentParser:
    """The options that every benchmark of write buffers has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--buffers", default=",".join(buffers), help="which, by comma (all)")
    made.add_argument("--folder", default=None, help="for files and servers' data (default: the temporary folder)")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def sized_parser(doc: str | None, total_bytes: int, records_max: int) -> argparse.ArgumentParser:
    """The same for one that measures records of several sizes; total_bytes, records_max: defaults."""
    made = parser(doc)
    made.add_argument("--record-bytes", default="1000,50000,900000", help="payload sizes, by comma")
    made.add_argument("--runs", type=int, default=5, help="measurements of each kind (5)")
    made.add_argument("--bytes", type=int, default=total_bytes, help=f"in each measurement ({total_bytes:,})")
    made.add_argument("--records-max", type=int, default=records_max, help=f"in each measurement ({records_max:,})")
    return made


def measure_sizes(
    options: argparse.Namespace, measured: Callable[[Place, int, int, int], Row], line: Callable[[Row], str]
) -> None:
    """Report what measured(place, bytes of a record, number of records, runs) says of each place and size."""
    rows = []
    for at in places(options):
        for record_bytes in map(int, options.record_bytes.split(",")):
            count = max(20, min(options.records_max, options.bytes // record_bytes))
            rows.append(measured(at, record_bytes, count, options.runs))
    lines = [f"medians of {options.runs} runs", *map(line, rows)]
    report(lines, {"runs": options.runs, "rows": rows}, as_json=options.json)


def records(count: int, payload_bytes: int) -> list[Record]:
    """`count` records of random bytes, each with a producer sequence of its own."""
    payload = os.urandom(payload_bytes)
    producer_id = os.urandom(16)
    return [
        Record.of(RecordHeaders("application/octet-stream", "bench", producer_id, number, number), payload)
        for number in range(count)
    ]


def kafka_settings(url: str, kind: str) -> dict[str, Any]:
    """What penstock sets for a "producer" or "consumer" of the topic at `url`, for the bare client beside it."""
    from writebuffer.kafka import client
    from writebuffer.kafka.client_log import ClientLog
    from writebuffer.kafka.url import parse

    parsed, log = parse(url), ClientLog(SystemClock(), structlog.get_logger())
    return client.producer_settings(parsed, log) if kind == "producer" else client.consumer_settings(parsed, log)


def read_all(backend: Backend, count: int) -> int:
    """Read `count` records from the first on; their payload bytes."""
    reader = backend.open_reader()
    try:
        cursor = reader.cursor(ONE)
        read = payload_bytes = 0
        while read < count:
            batch = cursor.poll(10_000, 8 * 2**20, 10)
            read += len(batch.records)
            payload_bytes += sum(len(one.record.payload) for one in batch.records)
        return payload_bytes
    finally:
        reader.close()


def append_all(backend: Backend, kept: Sequence[Record]) -> None:
    """Append every record by itself, all in flight at once, and wait for the last."""
    writer = backend.open_writer()
    try:
        for future in [writer.append(ONE, one) for one in kept]:
            future.result(60)
    finally:
        writer.close()
