"""How fast an ingester persists many small partitions: ten years of a few rows a day.

The same records in every run: one for each UTC day, --rows-a-day rows of 4 series with two fields. A real ingester
service, without its process, reads them from a buffer in memory and is then asked to stop, so that everything is
persisted to a local store that syncs. Printed as medians: seconds of the stop, partitions a second, and how fast this
file system makes small files in folders of their own durable, one by one and from as many threads, as the limits to
compare with.

    python -m bench.back_fill [--days 3650] [--rows-a-day 4] [--runs 3] [--json]
"""

import argparse
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from bench._measure import median, report
from common.catalog import paths
from common.catalog.cluster import Cluster
from common.catalog.joined_store import JoinedStore
from common.catalog.manifest.change import Instance
from common.entry import Entry, encode
from common.store.opening import open_store
from common.values.clock import SystemClock
from common.values.config import IngesterConfig
from common.values.ids import SequencerId
from common.values.schema import DAY_NS
from ingester.core.core import IngesterCore
from ingester.core.lifecycle import Rules
from ingester.following.claim import claim
from ingester.service import SMALL_JOBS_PER_JOB, SMALL_WORKERS, IngesterService
from ingester.serving.published import Published
from tests.support.records import batch, row
from writebuffer.memory import MemoryBackend
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

SEQUENCER = SequencerId(0)
NEWEST_NS = 1_750_032_000_000_000_000
FILE_BYTES = 2_000


def filled(days: int, rows_a_day: int) -> MemoryBackend:
    """One record for each day."""
    backend = MemoryBackend()
    backend.create(1)
    writer = backend.open_writer()
    for day in range(days):
        rows = [
            row(NEWEST_NS - day * DAY_NS + n * 10**9, f"h{n % 4}", usage=float(day), load=0.5)
            for n in range(rows_a_day)
        ]
        payload = encode(Entry("history", {"cpu": batch(rows)}))
        headers = RecordHeaders(ENTRY_CONTENT_TYPE, "history", b"b" * 16, day, time.time_ns())
        writer.append(SEQUENCER, Record.of(headers, payload)).result()
    writer.close()
    return backend


def one_run(backend: MemoryBackend, folder: Path, days: int) -> dict[str, float]:
    """Seconds of the stop, and CPU seconds for a thousand partitions."""
    raw, cluster = open_store(f"file://{folder}"), Cluster("bench", 1)
    raw.put(paths.CLUSTER, cluster.to_json())
    store = JoinedStore(raw, cluster, structlog.get_logger())
    reader = backend.open_reader()
    state = claim(reader, store, SEQUENCER, Instance("bench"), accept_loss=False).state
    config = IngesterConfig()
    core = IngesterCore(
        state,
        Rules.of(config),
        config.file_bytes_max,
        2 * config.persist_workers,
        random.Random(0),
        small_jobs_per_job=SMALL_JOBS_PER_JOB,
    )
    service = IngesterService(core, reader, store, Published(SEQUENCER), config, SystemClock(), structlog.get_logger())
    thread = threading.Thread(target=service.run)
    thread.start()
    while core.applied_offset < days:
        time.sleep(0.01)
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    service.stop()
    thread.join()
    seconds, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    assert len(core.state.files) == days, len(core.state.files)
    reader.close()
    return {"seconds": seconds, "cpu_s_per_1000": 1000 * cpu_s / days}


def raw_files_s(folder: Path, count: int, threads: int) -> float:
    """Small files a second: each written, synced, renamed, its new folder and the folder above synced."""

    def sync(path: Path) -> None:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)

    def one(number: int) -> None:
        made = folder / f"{number}"
        made.mkdir()
        with (made / "temporary").open("wb") as file:
            file.write(b"x" * FILE_BYTES)
            file.flush()
            os.fsync(file.fileno())
        (made / "temporary").rename(made / "file")
        sync(made)
        sync(folder)

    folder.mkdir()
    started_s = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(count)))
    return count / (time.perf_counter() - started_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=3650)
    parser.add_argument("--rows-a-day", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="On the file system to measure. [default: a temporary one]")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    scratch = Path(tempfile.mkdtemp(prefix="penstock-bench-", dir=asked.folder and asked.folder.resolve()))
    backend = filled(asked.days, asked.rows_a_day)
    runs: list[dict[str, float]] = []
    alone: list[float] = []
    together: list[float] = []
    try:
        for number in range(asked.runs):
            measured: list[tuple[list[float], Callable[[], float]]] = [
                (alone, lambda: raw_files_s(scratch / "raw", 200, 1)),
                (together, lambda: raw_files_s(scratch / "raw", 1_000, SMALL_WORKERS)),
            ]
            for values, measure in measured:
                values.append(measure())
                shutil.rmtree(scratch / "raw")
            runs.append(one_run(backend, scratch / f"store-{number}", asked.days))
            shutil.rmtree(scratch / f"store-{number}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    seconds = median([run["seconds"] for run in runs])
    cpu_s = median([run["cpu_s_per_1000"] for run in runs])
    lines = [
        f"{asked.days} partitions of {asked.rows_a_day} rows, {asked.runs} runs, medians",
        f"stop, everything persisted  {seconds:8.2f} s   {asked.days / seconds:7.0f} partitions/s",
        f"CPU for 1,000 partitions    {cpu_s:8.2f} s",
        f"raw files, one by one       {median(alone):8.0f} files/s",
        f"raw files, {SMALL_WORKERS} threads        {median(together):8.0f} files/s",
    ]
    figures = {
        "seconds": seconds,
        "cpu_s_per_1000": cpu_s,
        "raw_files_s": median(alone),
        "raw_threads_s": median(together),
    }
    report(lines, figures, as_json=asked.json)


if __name__ == "__main__":
    main()
