"""What loading and committing a manifest cost, by how long its history is and by how many files it names.

History: the same 1,000 live files after about 100, 10,000 and 100,000 records, each of which adds one file and removes
one. Loaded from a local folder, and from the same folder with 20 ms added to each call of the store, as a cloud has.
Every history ends 32 records after a checkpoint. The goal is that no history costs over 1.2 times the shortest.

Files: one commit per file, up to 1,000, 10,000 and 100,000 live files, in memory, so that what is measured is not the
disk. Printed are µs of processor time for each commit, all checkpoints included, and ms to load per 1,000 files; linear
means that neither grows with the number of files (the goal of a ratio is 1.5: maps get a level deeper, caches smaller).

    python -m bench.manifest [--histories 96,10016,100000] [--files 1000,10000,100000] [--runs 7] [--json]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time_ns
from typing import Any

from bench._measure import median, report, spread
from common.catalog.manifest import manifest
from common.catalog.manifest.change import AsOf, Change, Instance, StoredFile, StreamMark
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.store.objects import AlreadyExists, NotFound, ObjectStore, StoredObject, run
from common.store.opening import open_store
from common.values.ids import Offset, SequencerId

SEQUENCER = SequencerId(0)
LIVE_FILES = 1_000
DELAY_S = 0.02
FLAT, LINEAR = 1.2, 1.5


class Objects:
    """An object store in a dict."""

    url = "bench:"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, path: str, data: bytes) -> None:
        self.objects[path] = data

    def put_if_absent(self, path: str, data: bytes) -> None:
        if self.objects.setdefault(path, data) is not data:
            raise AlreadyExists(f"object {path} exists already", path=path)

    def get(self, path: str) -> bytes:
        try:
            return self.objects[path]
        except KeyError:
            raise NotFound(f"no object at {path}", path=path) from None

    def make_durable(self, path: str) -> None:
        self.get(path)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return (StoredObject(path, len(data)) for path, data in self.objects.items() if path.startswith(prefix))

    def delete(self, path: str) -> None:
        self.objects.pop(path, None)

    def local_path(self, path: str) -> str | None:
        return None


class Delayed:
    """Another store, each call of which takes DELAY_S longer."""

    def __init__(self, store: ObjectStore) -> None:
        self.url = store.url
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        act = getattr(self._store, name)

        def later(*arguments: Any) -> Any:
            time.sleep(DELAY_S)
            return act(*arguments)

        return later


def a_file(number: int) -> StoredFile:
    """One a day and table, 100 days of each table."""
    day, table = number % 100, number // 100
    return StoredFile(
        path=f"data/bench/t{table}/utc_day={day}/000-00000001-{number:020}-{number:020}-{number:08}-000.parquet",
        partition=PartitionKey("bench", f"t{table}", day),
        rows=1000,
        size_bytes=100_000,
        time_ns_min=day,
        time_ns_max=day,
        first_offset=Offset(number),
        last_offset=Offset(number),
        checksum=number,
        sort_key=("host", "region"),
    )


def committed(
    store: ObjectStore, first: tuple[StoredFile, ...], records: int, change: Callable[[int], dict[str, Any]]
) -> ManifestState:
    """A claim, a record that adds `first`, and records up to that number."""
    as_of = AsOf(Offset(0), stream=StreamMark("bench"))
    state = run(manifest.load(SEQUENCER), store)
    state = run(manifest.claim(state, Change(as_of, claim=Instance("bench")), "claim"), store)
    if first:
        state = run(manifest.commit(state, Change(as_of, files_added=first), "first"), store)
    for number in range(state.number + 1, records + 1):
        as_of = AsOf(Offset(number), stream=StreamMark("bench"))
        state = run(manifest.commit(state, Change(as_of, **change(number)), f"{number}"), store)
    return state


def history(folder: str, records: int) -> ObjectStore:
    """A local store with that many records and LIVE_FILES live files. Written without syncs: it is only read."""
    written = Objects()
    live = [a_file(number) for number in range(LIVE_FILES)]
    removed = (file.path for file in live)  # a list that grows while it is gone through

    def replace_one(number: int) -> dict[str, Any]:
        live.append(a_file(LIVE_FILES + number))
        return {"files_added": (live[-1],), "files_removed": (next(removed),)}

    committed(written, tuple(live), records, replace_one)
    for path, data in written.objects.items():
        target = Path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return open_store(f"file://{folder}")


def load_ms(store: ObjectStore, live_files: int) -> float:
    started_ns = time.perf_counter_ns()
    state = run(manifest.load(SEQUENCER), store)
    took_ms = (time.perf_counter_ns() - started_ns) / 1e6
    assert len(state.files) == live_files, f"{len(state.files)} files, not {live_files}"
    return took_ms


def histories(counts: list[int], runs: int) -> dict[str, dict[int, list[float]]]:
    """ms of each load, by kind of store and number of records; the stores take turns."""
    found: dict[str, dict[int, list[float]]] = {kind: {count: [] for count in counts} for kind in ("local", "delayed")}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        stores = {count: history(f"{folder}/{count}", count) for count in counts}
        for kind, wrapped in (("local", lambda store: store), ("delayed", Delayed)):
            for _ in range(runs + 1):
                for count, store in stores.items():
                    found[kind][count].append(load_ms(wrapped(store), LIVE_FILES))
    return {kind: {count: times[1:] for count, times in by_count.items()} for kind, by_count in found.items()}


def by_files(counts: list[int], runs: int) -> dict[int, dict[str, list[float]]]:
    """µs of each commit, and ms of a load for 1,000 files, by number of live files."""
    found: dict[int, dict[str, list[float]]] = {count: {"commit_us": [], "load_ms": []} for count in counts}
    for _ in range(runs):
        for count in counts:
            store = Objects()
            started_ns = process_time_ns()
            committed(store, (), count + 1, lambda number: {"files_added": (a_file(number),)})
            found[count]["commit_us"].append((process_time_ns() - started_ns) / count / 1000)
            found[count]["load_ms"].append(load_ms(store, count) / count * 1000)
    return found


def lines_of(title: str, unit: str, by_count: dict[int, list[float]], goal: float, good: str) -> list[str]:
    counts = list(by_count)
    base = median(by_count[counts[0]])
    lines = []
    for count, values in by_count.items():
        ratio = median(values) / base
        said = good if ratio <= goal else f"NOT {good.upper()} (goal {goal})"
        lines.append(
            f"{title:<38}{count:>9,}  {median(values):>8.2f} {unit} ({spread(values)})  ratio {ratio:.2f}  {said}"
        )
    return lines


def main() -> None:
    options = _options()
    loads = histories(options.histories, options.runs)
    files = by_files(options.files, max(1, options.runs // 3))
    commits = {count: found["commit_us"] for count, found in files.items()}
    loaded = {count: found["load_ms"] for count, found in files.items()}
    lines = [
        f"{LIVE_FILES:,} live files; medians of {options.runs} runs",
        *lines_of("load, by records: local folder", "ms", loads["local"], FLAT, "flat"),
        *lines_of("load, by records: 20 ms a call", "ms", loads["delayed"], FLAT, "flat"),
        "one commit per file",
        *lines_of("a commit, by live files", "µs", commits, LINEAR, "linear"),
        *lines_of("load per 1,000 files, by live files", "ms", loaded, LINEAR, "linear"),
    ]
    report(lines, {"loads": loads, "files": files}, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=_counts, default=[96, 10_016, 100_000], help="records (96,10016,100000)")
    parser.add_argument("--files", type=_counts, default=[1_000, 10_000, 100_000], help="live (1000,10000,100000)")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def _counts(text: str) -> list[int]:
    return [int(count) for count in text.split(",")]


if __name__ == "__main__":
    main()
