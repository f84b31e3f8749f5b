"""How fast an ingester takes rows from its stream to Parquet: polled, decoded, buffered, sorted, persisted, committed.

The same rows in every run: one table of 10 tags and 10 float fields, records of --record-rows rows, packed as routers
write lines, or with --streams as Arrow streams. Each run reads the whole log through the real poller's steps into a
fresh core, persists everything on worker threads into a local store that syncs, and commits. Printed for each run and
as medians: rows/s until applied (consume), rows/s until all is durable, each also for a second of processor time.

    python -m bench.ingest [--rows 1000000] [--record-rows 2500] [--series 4000] [--streams] [--runs 5] [--json]
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from statistics import median

import numpy as np

from bench._measure import machine_line
from common.catalog.manifest.change import Instance
from common.entry import PackedRows, decode, encode, encode_packed, tag_values
from common.store.objects import ObjectStore
from common.store.opening import open_store
from common.values.config import IngesterConfig
from common.values.ids import SequencerId
from common.values.schema import ColumnType
from ingester.core.core import IngesterCore
from ingester.core.events import Action, Event, Finish, Polled, StopRequested, Tick
from ingester.core.lifecycle import Rules
from ingester.following.claim import claim
from ingester.following.joining import Known
from ingester.following.poller import POLL_BYTES, POLL_RECORDS, decoded_steps
from ingester.performing import StoreAction, perform
from writebuffer.connect import connect
from writebuffer.contract import Batch, Reader
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

TAGS, FIELDS = 10, 10
START_NS = 1_750_000_000_000_000_000
SEQUENCER = SequencerId(0)


def fill(url: str, payloads: Iterator[bytes]) -> None:
    """Append a record of each."""
    backend = connect(url)
    backend.create(1)
    writer = backend.open_writer()
    acknowledgements = []
    for sequence, payload in enumerate(payloads):
        headers = RecordHeaders(ENTRY_CONTENT_TYPE, "bench", b"b" * 16, sequence, time.time_ns())
        acknowledgements.append(writer.append(SEQUENCER, Record.of(headers, payload)))
    for acknowledgement in acknowledgements:
        acknowledgement.result()
    writer.close()


def packed(rows: int, record_rows: int, series: int) -> Iterator[bytes]:
    """Entries of packed rows: series at random, times in steps of 10 s, values with two decimals."""
    rng = np.random.default_rng(7)
    keys = tuple(f"tag{n}" for n in range(TAGS))
    fields = tuple((f"field{n}", ColumnType.FLOAT) for n in range(FIELDS))
    values = [tag_values([f"value-{n}-{s // (n + 1)}" for n in range(TAGS)]) for s in range(series)]
    for start in range(0, rows, record_rows):
        picked, of_row = np.unique(rng.integers(0, series, record_rows), return_inverse=True)
        times = START_NS + (start + np.arange(record_rows)) // series * 10_000_000_000
        cells = (rng.integers(0, 10_000, (record_rows, FIELDS)) / 100).view(np.uint64)
        blobs = [values[one] for one in picked]
        table = PackedRows("cpu", keys, fields, times, cells, None, b"", blobs, of_row.astype(np.uint32))
        yield encode_packed("bench", [table])


class Pipeline:
    """The driver's loop without its clocks: everything as fast as it goes."""

    def __init__(self, reader: Reader, store: ObjectStore, workers: int) -> None:
        claimed = claim(reader, store, SEQUENCER, Instance("bench"), accept_loss=False)
        rules = Rules.of(IngesterConfig())
        self.core = IngesterCore(claimed.state, rules, 256 * 1024 * 1024, 2 * workers, random.Random(0))
        self._reader = reader
        self._store = store
        self._pool = ThreadPoolExecutor(workers)
        self._decoder = ThreadPoolExecutor(1)
        self._known = Known()
        self._running: set[Future[Event]] = set()

    def consume(self) -> None:
        cursor = self._reader.cursor(SEQUENCER)
        end = self._reader.offsets(SEQUENCER).next_offset
        ahead: deque[Future[list[Polled]]] = deque()
        at = 0
        while at < end or ahead:
            while at < end and len(ahead) < 2:
                batch = cursor.poll(POLL_RECORDS, POLL_BYTES, 1.0)
                at = batch.next_offset
                ahead.append(self._decoder.submit(self._decoded, batch))
            for polled in ahead.popleft().result():
                self._step(polled)
            self._collect(block=False)

    def _decoded(self, batch: Batch) -> list[Polled]:
        return [*decoded_steps(batch.records, batch.next_offset, False, known=self._known)]

    def finish(self) -> None:
        self._step(Tick(time.time_ns()))
        if self._step(StopRequested(persist=True)):
            return
        while not self._collect(block=True):
            pass

    def _step(self, event: Event) -> bool:
        done = [self._do(action) for action in self.core.step(event)]
        return any(done)

    def _do(self, action: Action) -> bool:
        if isinstance(action, StoreAction):
            self._running.add(self._pool.submit(perform, action, self._store))
        return isinstance(action, Finish)

    def _collect(self, *, block: bool) -> bool:
        done, self._running = wait(self._running, None if block else 0, FIRST_COMPLETED)
        finished = [self._step(future.result()) for future in done]
        return any(finished)


def one_run(reader: Reader, folder: Path, rows: int, workers: int) -> dict[str, float]:
    shutil.rmtree(folder, ignore_errors=True)
    pipeline = Pipeline(reader, open_store(f"file://{folder}"), workers)
    started = time.perf_counter()
    cpu = time.process_time()
    pipeline.consume()
    consumed = time.perf_counter()
    consumed_cpu = time.process_time()
    pipeline.finish()
    ended = time.perf_counter()
    accounts = pipeline.core.state.accounts
    assert accounts.stored + accounts.overwritten == rows, accounts
    return {
        "consume_rows_s": rows / (consumed - started),
        "consume_rows_cpu_s": rows / (consumed_cpu - cpu),
        "durable_rows_s": rows / (ended - started),
        "durable_rows_cpu_s": rows / (time.process_time() - cpu),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--record-rows", type=int, default=2_500)
    parser.add_argument("--series", type=int, default=4_000)
    parser.add_argument("--streams", action="store_true", help="records of Arrow streams, as their clients write them")
    parser.add_argument("--workers", type=int, default=2, help="persist jobs at once")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = asked.rows // asked.record_rows * asked.record_rows
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    try:
        url = f"file://{folder}/log"
        payloads = packed(rows, asked.record_rows, asked.series)
        fill(url, (encode(decode(one)) for one in payloads) if asked.streams else payloads)
        reader = connect(url).open_reader()
        runs = [one_run(reader, folder / "store", rows, asked.workers) for _ in range(asked.runs)]
        reader.close()
    finally:
        shutil.rmtree(folder)
    medians = {name: median(run[name] for run in runs) for name in runs[0]}
    if asked.json:
        print(json.dumps({"rows": rows, "record_rows": asked.record_rows, "runs": runs, "medians": medians}))
        return
    print(machine_line())
    print(f"{rows:,} rows, {TAGS} tags, {FIELDS} floats, records of {asked.record_rows} rows, {asked.series} series")
    for name, value in medians.items():
        spread = ", ".join(f"{run[name] / 1e6:.2f}" for run in runs)
        print(f"  {name:<20} median {value / 1e6:5.2f} M   runs {spread}")


if __name__ == "__main__":
    main()
