"""What a record and a row cost in an ingester's memory, for any order of record sizes and any churn of tag values.

Sizes: the same rows (4 tags, 4 floats, 100 hosts) in records of 10 or 11 rows (uniform), of 1 and 20 by turns, and at
random. Each is decoded and added to a buffer tree, nothing is persisted. Printed are µs of processor time for each
record in the tree, bytes for each row as the tree counts them and as Arrow allocates them, and chunks left.

Churn: an ingester's core with a small soft limit, records of 10 rows, 100 records in a poll, everything that is cut
persisted and committed at once into memory. Once with 100 hosts, once with a new host in every row. Printed are µs for
each record in the core, and bytes for each row of a job, both of the last quarter of the run against the first; and the
jobs, against as many as the bytes make at the soft limit.

Every ratio but that between jobs is one of medians over the runs; at most 1.2 is flat.

    python -m bench.memory [--records 24000] [--churn-records 20000] [--runs 5] [--json]
"""

import argparse
import gc
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import process_time_ns
from typing import Any

import numpy as np
import pyarrow as pa

from bench._measure import median, report, spread
from common.catalog.manifest.change import Instance
from common.entry import Entry, decode, encode
from common.entry.series_rows import series_rows
from common.store.opening import open_store
from common.values.config import IngesterConfig
from common.values.ids import Offset, SequencerId
from common.values.schema import TIME_TYPE, ColumnType, TableId, arrow_schema
from ingester.buffer.origins import Origins, TableColumns
from ingester.buffer.tree import BufferTree
from ingester.core.core import IngesterCore
from ingester.core.events import Action, Event, Persist, Polled
from ingester.core.lifecycle import Rules
from ingester.following.claim import claim
from ingester.following.decode import Decoded
from ingester.following.decode import decode as decode_record
from ingester.performing import StoreAction, perform
from writebuffer.connect import connect
from writebuffer.contract import SequencedRecord
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

GOAL = 1.2
TAGS, FIELDS, HOSTS = 4, 4, 100
START_NS = 1_750_032_000_000_000_000
ROW_NS = 1_000_000
"""All rows of a run are of one day: one partition."""

BLOCK_RECORDS = 1_000
POLL_RECORDS = 100
SOFT_BYTES = 2 * 1024 * 1024
SEQUENCER = SequencerId(0)
BROUGHT = TableColumns(
    TableId("bench", "cpu"),
    {f"tag{n}": ColumnType.TAG for n in range(TAGS)} | {f"field{n}": ColumnType.FLOAT for n in range(FIELDS)},
)
SCHEMA = arrow_schema(BROUGHT.columns)

Size = Callable[[int], int]


def payloads(size: Size, records: int, hosts: int | None = HOSTS) -> Iterator[bytes]:
    """Entries of one table. hosts: how many series; None: each row is a series of its own."""
    first = 0
    for number in range(records):
        rows = np.arange(first, first + size(number))
        first += len(rows)
        series = rows if hosts is None else rows % hosts
        arrays = [pa.array(START_NS + rows * ROW_NS, TIME_TYPE)]
        arrays += [pa.array([f"value-{n}-{one:08}" for one in series]).dictionary_encode() for n in range(TAGS)]
        arrays += [pa.array(rows / (n + 1)) for n in range(FIELDS)]
        yield encode(Entry("bench", {"cpu": pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)}))


def sizes() -> dict[str, Size]:
    drawn = random.Random(7)
    at_random = [drawn.randint(1, 20) for _ in range(997)]
    return {
        "uniform": lambda n: 10 + n % 2,
        "1 and 20 by turns": lambda n: 20 if n % 2 else 1,
        "1 to 20 at random": lambda n: at_random[n % len(at_random)],
    }


def buffered(encoded: list[bytes]) -> dict[str, float]:
    """One run: all records into a fresh tree."""
    tree = BufferTree()
    gc.collect()
    before = pa.total_allocated_bytes()
    spent_ns = 0
    for start in range(0, len(encoded), BLOCK_RECORDS):
        block = [decode(payload) for payload in encoded[start : start + BLOCK_RECORDS]]
        started_ns = process_time_ns()
        for number, entry in enumerate(block, start):
            tree.add(BROUGHT, series_rows(entry.tables["cpu"]), Origins.of_one(Offset(number), number), {})
        spent_ns += process_time_ns() - started_ns
    del block, entry
    allocated = pa.total_allocated_bytes() - before
    (partition,) = tree
    return {
        "us_per_record": spent_ns / len(encoded) / 1000,
        "bytes_per_row": tree.bytes / tree.rows,
        "arrow_bytes_per_row": allocated / tree.rows,
        "chunks": len(partition.chunks),
    }


@dataclass
class Churn:
    """An ingester's core that persists at once. jobs: rows and bytes of each."""

    jobs: list[tuple[int, int]] = field(default_factory=list)
    spent_ns: list[int] = field(default_factory=list)

    def run(self, encoded: list[bytes]) -> None:
        backend = connect("memory:")
        backend.create(1)
        reader, store = backend.open_reader(), open_store("memory:")
        state = claim(reader, store, SEQUENCER, Instance("bench"), accept_loss=False).state
        rules = replace(
            Rules.of(IngesterConfig()),
            soft_memory_bytes=SOFT_BYTES,
            hard_memory_bytes=8 * SOFT_BYTES,
            log_records_max=10 * len(encoded),
        )
        core = IngesterCore(state, rules, 256 * 1024 * 1024, 4, random.Random(0))
        for batch in list(_polled(encoded)):
            waiting, spent_ns = self._step(core, batch)
            while waiting:
                action = waiting.pop(0)
                if isinstance(action, StoreAction):
                    more, more_ns = self._step(core, perform(action, store))
                    waiting += more
                    spent_ns += more_ns
            self.spent_ns.append(spent_ns)
        reader.close()

    def _step(self, core: IngesterCore, event: Event) -> tuple[list[Action], int]:
        started_ns = process_time_ns()
        actions = core.step(event)
        spent_ns = process_time_ns() - started_ns
        views = [action.job.view for action in actions if isinstance(action, Persist)]
        self.jobs += [(view.rows, sum(piece.bytes for piece in view.pieces)) for view in views]
        return actions, spent_ns


def _polled(encoded: list[bytes]) -> Iterator[Polled]:
    for start in range(0, len(encoded), POLL_RECORDS):
        block = [
            _record(number, payload) for number, payload in enumerate(encoded[start : start + POLL_RECORDS], start)
        ]
        yield Polled(tuple(block), Offset(start + len(block)), False)


def _record(number: int, payload: bytes) -> Decoded:
    headers = RecordHeaders(ENTRY_CONTENT_TYPE, "bench", b"b" * 16, number, START_NS)
    return decode_record(SequencedRecord(Offset(number), Record.of(headers, payload)))


def churned(encoded: list[bytes]) -> dict[str, float]:
    """One run. The first poll is left out: it pays for what every process pays for once."""
    churn = Churn()
    churn.run(encoded)
    if not churn.jobs:
        raise SystemExit(f"--churn-records {len(encoded)} never reach the soft limit of {SOFT_BYTES} bytes: give more")
    spent = churn.spent_ns[1:]
    quarter = max(1, len(spent) // 4)
    per_row = [held / rows for rows, held in churn.jobs]
    jobs = max(1, len(per_row) // 4)
    return {
        "us_per_record": median(spent) / POLL_RECORDS / 1000,
        "us_late_to_early": median(spent[-quarter:]) / median(spent[:quarter]),
        "bytes_late_to_early": median(per_row[-jobs:]) / median(per_row[:jobs]),
        "bytes_per_row": median(per_row),
        "jobs": len(churn.jobs),
        "rows_per_job": median([rows for rows, _ in churn.jobs]),
        "jobs_to_limit": len(churn.jobs) / (sum(held for _, held in churn.jobs) / SOFT_BYTES),
    }


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: median([run[name] for run in runs]) for name in runs[0]}


def verdict(*ratios: float) -> str:
    return "flat" if max(ratios) <= GOAL else f"NOT FLAT (goal {GOAL})"


def size_lines(runs: dict[str, list[dict[str, float]]]) -> list[str]:
    flat = medians(runs["uniform"])
    lines = []
    for name, found in runs.items():
        one = medians(found)
        cost, held, arrow = (one[key] / flat[key] for key in ("us_per_record", "bytes_per_row", "arrow_bytes_per_row"))
        lines.append(
            f"{name:<20}{one['us_per_record']:>7.1f} µs/record ({spread([run['us_per_record'] for run in found])})"
            f" ratio {cost:.2f}  {one['bytes_per_row']:>6.1f} bytes/row ratio {held:.2f}"
            f"  Arrow's {one['arrow_bytes_per_row']:>6.1f} ratio {arrow:.2f}  {one['chunks']:>4.0f} chunks"
            f"  {verdict(cost, held, arrow)}"
        )
    return lines


def churn_line(name: str, found: list[dict[str, float]]) -> str:
    one = medians(found)
    ratios = one["us_late_to_early"], one["bytes_late_to_early"], one["jobs_to_limit"]
    return (
        f"{name:<20}{one['us_per_record']:>7.1f} µs/record ({spread([run['us_per_record'] for run in found])})"
        f" late/early {ratios[0]:.2f}  {one['bytes_per_row']:>6.1f} bytes/row late/early {ratios[1]:.2f}"
        f"  {one['jobs']:.0f} jobs of {one['rows_per_job']:,.0f} rows, of those needed {ratios[2]:.2f}"
        f"  {verdict(*ratios)}"
    )


def main() -> None:
    options = _options()
    ordered = {name: list(payloads(size, options.records)) for name, size in sizes().items()}
    churning = {
        "100 hosts": list(payloads(lambda _: 10, options.churn_records)),
        "a new host each row": list(payloads(lambda _: 10, options.churn_records, None)),
    }
    by_size: dict[str, list[dict[str, float]]] = {name: [] for name in ordered}
    by_churn: dict[str, list[dict[str, float]]] = {name: [] for name in churning}
    for _ in range(options.runs):
        for name, encoded in ordered.items():
            by_size[name].append(buffered(encoded))
        for name, encoded in churning.items():
            by_churn[name].append(churned(encoded))
    lines = [
        f"{options.records:,} records of 10.5 rows, {TAGS} tags and {FIELDS} floats; medians of {options.runs} runs",
        *size_lines(by_size),
        f"{options.churn_records:,} records of 10 rows, soft limit {SOFT_BYTES / 2**20:.0f} MiB",
        *(churn_line(name, found) for name, found in by_churn.items()),
    ]
    values: dict[str, Any] = {"sizes": by_size, "churn": by_churn}
    report(lines, values, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=24_000, help="of each order of sizes (24000)")
    parser.add_argument("--churn-records", type=int, default=20_000, help="of each churn (20000)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
