"""How long queries over a store of many small files take, by what they need of it.

A store as years of day partitions leave it: --sequencers with a file per day each, a few rows in each file, named in
manifest records of --commit-files files. With --overlap each file has a twin of the same keys, so that each partition
has to be merged. Nothing runs but the query (--stored-only). Printed, in ms, for all files and for a tenth of them:
one month and one day of the newest year, everything, and the month by the command line, its start included; and how
much the month costs over ten times the files.

    python -m bench.query [--days 730] [--sequencers 10] [--rows 4] [--runs 5] [--overlap] [--json]
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from bench._measure import median, report, spread
from common.catalog.cluster import found_or_join
from common.catalog.manifest import manifest
from common.catalog.manifest.change import AsOf, Change, Instance, StoredFile, StreamMark
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.catalog.schema_store import SchemaStore
from common.catalog.table_schema import NO_SCHEMA
from common.store.objects import ObjectStore, run
from common.store.opening import open_store
from common.values.ids import Offset, SequencerId
from common.values.schema import DAY_NS, TIME_TYPE, ColumnType, TableId, arrow_schema
from penstock.query.query import query

NAMESPACE, TABLE = "metrics", "cpu"
COLUMNS = {"host": ColumnType.TAG, "region": ColumnType.TAG, "usage": ColumnType.FLOAT, "count": ColumnType.INTEGER}
LAST_DAY = 20_000
"""2024-10-04."""

MONTH = "SELECT count(*) AS n, avg(usage) AS v FROM cpu WHERE time >= '2024-09-01' AND time < '2024-10-01'"
STATEMENTS = {
    "month": MONTH,
    "day": "SELECT count(*) AS n, avg(usage) AS v FROM cpu WHERE time >= '2024-09-30' AND time < '2024-10-01'",
    "all": "SELECT count(*) AS n, avg(usage) AS v FROM cpu",
}


def fill(store: ObjectStore, days: int, sequencers: int, rows: int, commit_files: int, overlap: bool) -> int:
    """The store with its manifests; how many files it has."""
    run(found_or_join(sequencers, store.url), store)
    run(SchemaStore(lambda: "bench").settle(NAMESPACE, TABLE, NO_SCHEMA, COLUMNS), store)
    count = 0
    for sequencer in range(sequencers):
        state = run(manifest.load(SequencerId(sequencer)), store)
        state = run(manifest.claim(state, _change(0, ()), f"claim-{sequencer}"), store)
        files = [
            _file(store, sequencer, day, job, rows)
            for day in range(LAST_DAY - days + 1, LAST_DAY + 1)
            for job in range(2 if overlap else 1)
        ]
        state = _commit(store, state, files, commit_files)
        count += len(files)
    return count


def _commit(store: ObjectStore, state: ManifestState, files: list[StoredFile], at_once: int) -> ManifestState:
    for first in range(0, len(files), at_once):
        change = _change(first + at_once, tuple(files[first : first + at_once]))
        state = run(manifest.commit(state, change, f"commit-{first}"), store)
    return state


def _change(offset: int, files: tuple[StoredFile, ...]) -> Change:
    return Change(
        AsOf(Offset(offset), stream=StreamMark("bench")),
        claim=Instance("bench") if not files else None,
        files_added=files,
        columns={TableId(NAMESPACE, TABLE): COLUMNS} if files else {},
    )


def _file(store: ObjectStore, sequencer: int, day: int, job: int, rows: int) -> StoredFile:
    """Written past the store, which would sync each: it is the reading that is measured."""
    key = PartitionKey(NAMESPACE, TABLE, day)
    path = f"{key.folder}/{sequencer:03}-{1:08}-{day:020}-{day:020}-{job:08}-000.parquet"
    times = day * DAY_NS + np.arange(rows) * (DAY_NS // rows)
    sink = io.BytesIO()
    pq.write_table(_rows(times, sequencer), sink, compression="zstd", write_page_checksum=True)
    data = sink.getvalue()
    where = Path(store.local_path(path) or "")
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_bytes(data)
    offset = Offset(day)
    checksum = xxhash.xxh3_64_intdigest(data)
    bounds = int(times[0]), int(times[-1])
    return StoredFile(path, key, rows, len(data), *bounds, offset, offset, checksum, ("host", "region"))


def _rows(times: "np.ndarray[tuple[int], np.dtype[np.int64]]", sequencer: int) -> pa.Table:
    count = len(times)
    arrays = [
        pa.array(times, pa.int64()).cast(TIME_TYPE),
        pa.array([f"host-{sequencer}"] * count).dictionary_encode(),
        pa.array(["eu"] * count).dictionary_encode(),
        pa.array(range(count), pa.int64()),
        pa.array(np.arange(count) / 8),
    ]
    return pa.Table.from_arrays(arrays, schema=arrow_schema(COLUMNS))


def timed_ms(act: Callable[[], object], runs: int) -> list[float]:
    """The first run, which loads code and fills caches, is not counted."""
    act()
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        act()
        found.append((time.perf_counter() - start) * 1000)
    return found


def command(store: ObjectStore, folder: Path) -> None:
    where = ["--store", store.url, "--data", str(folder)]
    called = [sys.executable, "-m", "penstock", "query", MONTH, "--namespace", NAMESPACE, "--stored-only", *where]
    subprocess.run(called, check=True, stdout=subprocess.DEVNULL)


def measure(days: int, options: argparse.Namespace) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        store = open_store(f"file://{folder}/store")
        files = fill(store, days, options.sequencers, options.rows, options.commit_files, options.overlap)
        found = {"files": [float(files)]}
        for what, sql in STATEMENTS.items():
            ask = lambda sql=sql: query(sql, NAMESPACE, store, options.sequencers, stored_only=True)
            found[what] = timed_ms(ask, options.runs)
        found["command"] = timed_ms(lambda: command(store, folder), options.runs)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--sequencers", type=int, default=10)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--commit-files", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--overlap", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lines, values = [], {}
    for days in (max(40, options.days // 10), options.days):
        found = measure(days, options)
        files = int(found.pop("files")[0])
        values[str(files)] = {what: median(times) for what, times in found.items()}
        for what, times in found.items():
            lines.append(f"{files:6} files  {what:8} {median(times):8.1f} ms  ({spread(times)})")
    few, many = values.values()
    lines.append(f"one month over all files costs {many['month'] / few['month']:.2f} x what it costs over a tenth")
    report(lines, values, as_json=options.json)


if __name__ == "__main__":
    main()
