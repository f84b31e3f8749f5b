"""What an entry of few rows costs on both sides, and how fast an ingester applies records of such entries.

Rows as of a host's metrics: 9 tables of 10 tags and 20 floats, --hosts hosts. Records hold
    small      3 rows over 3 tables: what a 5 KB body becomes on one of four sequencers
    entry      12 rows over 9 tables
    coalesced  200 rows over 9 tables: 64 bodies of 5 KB
each as packed rows (version 2) and as Arrow IPC streams (version 1). They are decoded as the poller does it and applied
by an ingester's core, without a disk (memory) or read from a file log (file). Printed are medians, in processor time of
one core: µs for each record to encode, decode and apply, and rows/s decoded and applied, reading from the log included.

    python -m bench.entry [--records 20000] [--hosts 1000] [--runs 5] [--json]
"""

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import median, report, spread
from common.catalog.manifest.change import Instance
from common.entry import PackedRows, decode, encode, encode_packed, tag_values
from common.garbage import collect_seldom
from common.store.opening import open_store
from common.values.config import IngesterConfig
from common.values.ids import Offset, SequencerId
from common.values.schema import ColumnType
from ingester.core.core import IngesterCore
from ingester.core.lifecycle import Rules
from ingester.following.claim import claim
from ingester.following.joining import Known
from ingester.following.poller import POLL_BYTES, POLL_RECORDS, decoded_steps
from writebuffer.connect import connect
from writebuffer.contract import Batch, SequencedRecord
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

TABLES, TAGS, FIELDS = 9, 10, 20
START_NS = 1_750_032_000_000_000_000
SEQUENCER = SequencerId(0)
TAG_KEYS = tuple(f"tag{n}" for n in range(TAGS))
FIELD_TYPES = [tuple((f"t{table}_usage_{n:02}", ColumnType.FLOAT) for n in range(FIELDS)) for table in range(TABLES)]
SHAPES = {"small": (3, 3), "entry": (12, 9), "coalesced": (200, 9)}
"""Rows and tables of a record."""


def entries(rows: int, tables: int, count: int, hosts: int) -> Iterator[list[PackedRows]]:
    """The tables of each record, some of the 9 at random; the first ones have one row more where rows are left over."""
    rng = np.random.default_rng(7)
    series = [tag_values([f"host_{host}", *(f"value_{n}_{host % 7}" for n in range(1, TAGS))]) for host in range(hosts)]
    for number in range(count):
        found = []
        for at, table in enumerate(rng.choice(TABLES, tables, replace=False).tolist()):
            here = rows // tables + (at < rows % tables)
            picked, series_of_row = np.unique(rng.integers(0, hosts, here), return_inverse=True)
            times = START_NS + number * 1_000_000 + np.arange(here, dtype=np.int64)
            values = (rng.integers(0, 10_000, (here, FIELDS)) / 100).view(np.uint64)
            blobs, codes = [series[host] for host in picked], series_of_row.astype(np.uint32)
            shape = f"table{table}", TAG_KEYS, FIELD_TYPES[table]
            found.append(PackedRows(*shape, times, values, None, b"", blobs, codes))
        yield found


def spent_us(call: Callable[[], object]) -> float:
    """Processor time."""
    started_ns = time.process_time_ns()
    call()
    return (time.process_time_ns() - started_ns) / 1000


def records_of(payloads: Sequence[bytes]) -> list[Record]:
    return [
        Record.of(RecordHeaders(ENTRY_CONTENT_TYPE, "bench", b"b" * 16, number, START_NS + number), payload)
        for number, payload in enumerate(payloads)
    ]


class Applying:
    """A fresh core that nothing is persisted from. decode_us, apply_us: what it took so far."""

    def __init__(self) -> None:
        backend = connect("memory:")
        backend.create(1)
        reader = backend.open_reader()
        state = claim(reader, open_store("memory:"), SEQUENCER, Instance("bench"), accept_loss=False).state
        reader.close()
        self._core = IngesterCore(state, Rules.of(IngesterConfig()), 256 * 1024 * 1024, 0, random.Random(0))
        self._known = Known()
        self.decode_us = self.apply_us = 0.0

    def take(self, batch: Batch) -> None:
        steps: list[Any] = []
        self.decode_us += spent_us(
            lambda: steps.extend(decoded_steps(batch.records, batch.next_offset, False, known=self._known))
        )
        self.apply_us += spent_us(lambda: [self._core.step(polled) for polled in steps])

    @property
    def rows(self) -> int:
        return self._core.rows_buffered


def applied(records: Sequence[Record]) -> dict[str, float]:
    """From memory, in polls as the poller makes them."""
    applying = Applying()
    sequenced = [SequencedRecord(Offset(offset), record) for offset, record in enumerate(records)]
    for batch in _polls(sequenced):
        applying.take(batch)
    count = len(records)
    return {
        "decode_us": applying.decode_us / count,
        "apply_us": applying.apply_us / count,
        "rows_per_s": applying.rows / (applying.decode_us + applying.apply_us) * 1e6,
    }


def _polls(sequenced: Sequence[SequencedRecord]) -> Iterator[Batch]:
    start = held = 0
    for at, one in enumerate(sequenced):
        if at - start == POLL_RECORDS or held + len(one.record) > POLL_BYTES:
            yield Batch(sequenced[start:at], one.offset)
            start, held = at, 0
        held += len(one.record)
    yield Batch(sequenced[start:], Offset(len(sequenced)))


def applied_from_file(url: str) -> float:
    """Rows/s, with what reading takes."""
    reader = connect(url).open_reader()
    cursor, end = reader.cursor(SEQUENCER), reader.offsets(SEQUENCER).next_offset
    applying = Applying()

    def read_all() -> None:
        at = Offset(0)
        while at < end:
            batch = cursor.poll(POLL_RECORDS, POLL_BYTES, 1.0)
            at = batch.next_offset
            applying.take(batch)

    took_us = spent_us(read_all)
    reader.close()
    return applying.rows / took_us * 1e6


def fill(url: str, records: Sequence[Record]) -> None:
    backend = connect(url)
    backend.create(1)
    writer = backend.open_writer()
    for future in [writer.append(SEQUENCER, record) for record in records]:
        future.result()
    writer.close()


def _packed(made: Sequence[Sequence[PackedRows]]) -> Callable[[], list[bytes]]:
    return lambda: [encode_packed("bench", each) for each in made]


def _streams(made: Sequence[Sequence[PackedRows]]) -> Callable[[], list[bytes]]:
    decoded = [decode(payload) for payload in _packed(made)()]
    return lambda: [encode(each) for each in decoded]


def measured(name: str, options: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, float]]]:
    """Runs by version."""
    rows, tables = SHAPES[name]
    made = list(entries(rows, tables, max(1, options.records * 3 // rows), options.hosts))
    runs: dict[str, list[dict[str, float]]] = {}
    for version, encoded in (("packed rows", _packed(made)), ("IPC streams", _streams(made[: len(made) // 10]))):
        payloads = encoded()
        records = records_of(payloads)
        url = f"file://{folder}/{name}-{version.replace(' ', '-')}"
        fill(url, records)
        runs[version] = [
            {
                "bytes": sum(map(len, payloads)) / len(payloads),
                "encode_us": spent_us(encoded) / len(payloads),
                **applied(records),
                "file_rows_per_s": applied_from_file(url),
            }
            for _ in range(options.runs)
        ]
    return runs


def line(name: str, version: str, runs: Sequence[dict[str, float]]) -> str:
    one = {key: median([run[key] for run in runs]) for key in runs[0]}
    total = [run["encode_us"] + run["decode_us"] + run["apply_us"] for run in runs]
    return (
        f"{name:<10}{version:<12}{one['bytes']:>8.0f} bytes  encode {one['encode_us']:>7.1f}"
        f" decode {one['decode_us']:>7.1f} apply {one['apply_us']:>7.1f} in all {median(total):>7.1f} µs"
        f" ({spread(total)})  {one['rows_per_s'] / 1e6:.2f} M rows/s,"
        f" from a file log {one['file_rows_per_s'] / 1e6:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--records", type=int, default=20_000, help="of 3 rows; of larger ones as many as have their rows"
    )
    parser.add_argument("--hosts", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    collect_seldom()  # as in an ingester
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    try:
        found = {name: measured(name, options, folder) for name in SHAPES}
    finally:
        shutil.rmtree(folder)
    lines = [line(name, version, runs) for name, by_version in found.items() for version, runs in by_version.items()]
    report(lines, {"runs": found}, as_json=options.json)


if __name__ == "__main__":
    main()
