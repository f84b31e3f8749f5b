"""Append rate of the file log beside the raw limit of the same disk: write + fdatasync of the same groups.

The raw files are preallocated and as large as segments. Log and raw alternate within one run, the first of them by
turns, so that both see the same disk; the medians are over runs. Nothing is deleted while the time runs, so a
measurement takes as much disk as it writes. Each group is appended once the one before is durable: what one writer
without company gets.

    python bench/log_append.py --seconds 3 --runs 5 --group-bytes 262144 --folder /var/tmp
"""

import argparse
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from bench._measure import MB, median, report, spread
from common.values.ids import SequencerId
from writebuffer.file import FileBackend
from writebuffer.file.backend import SEGMENT_BYTES
from writebuffer.record import Record, RecordHeaders

RECORD_BYTES = 65_536
RATIO_MAX = 1.1
RAW_SPREAD_MAX = 1.5
"""Runs on a quiet disk differ by a few per cent."""


def main() -> None:
    options = _options()
    raw: list[float] = []
    log: list[float] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for run in range(options.runs):
            pair = [(raw, raw_groups_per_s), (log, log_groups_per_s)]
            for rates, measure in pair if run % 2 == 0 else reversed(pair):
                place = Path(folder) / f"{run}-{measure.__name__}"
                os.sync()  # else the first syncs measured also write what others, or the run before, did not sync
                rates.append(measure(place, options.group_bytes, options.seconds))
                shutil.rmtree(place)
    _report(raw, log, options)


def raw_groups_per_s(folder: Path, group_bytes: int, seconds: float) -> float:
    """Groups a second into preallocated files, the next one begun when one is full."""
    folder.mkdir()
    data = os.urandom(group_bytes)
    file_bytes = max(SEGMENT_BYTES, group_bytes)
    descriptor = -1
    position = file_bytes

    def write_group() -> None:
        nonlocal descriptor, position
        if position + group_bytes > file_bytes:
            if descriptor >= 0:
                os.close(descriptor)
            descriptor = os.open(folder / uuid.uuid4().hex, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            os.posix_fallocate(descriptor, 0, file_bytes)
            position = 0
        os.pwrite(descriptor, data, position)
        os.fdatasync(descriptor)
        position += group_bytes

    try:
        return _rate(write_group, seconds)
    finally:
        os.close(descriptor)


def log_groups_per_s(folder: Path, group_bytes: int, seconds: float) -> float:
    """Groups a second through the writer's public contract: append_many, then wait for its future."""
    backend = FileBackend(str(folder))
    backend.create(1)
    writer = backend.open_writer()
    group = _records(group_bytes)
    try:
        return _rate(lambda: writer.append_many(SequencerId(0), group).result(), seconds)
    finally:
        writer.close()


def _rate(act: Callable[[], object], seconds: float) -> float:
    act()  # the first one makes files
    count = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not count:
        act()
        count += 1
    return count / elapsed


def _records(group_bytes: int) -> list[Record]:
    """Random payloads of 64 KiB, the last one shorter, that make `group_bytes` with their header blocks."""
    headers = RecordHeaders("application/octet-stream", "bench", bytes(16), 0, 0)
    block = len(headers.encode())
    left = group_bytes
    records = []
    while left > block:
        take = min(RECORD_BYTES, left)
        records.append(Record.of(headers, os.urandom(take - block)))
        left -= take
    return records


def _report(raw: Sequence[float], log: Sequence[float], options: argparse.Namespace) -> None:
    to_mb = options.group_bytes / MB
    values = {
        "group_bytes": options.group_bytes,
        "runs": options.runs,
        "seconds": options.seconds,
        "raw_mb_per_s": round(median(raw) * to_mb, 1),
        "log_mb_per_s": round(median(log) * to_mb, 1),
        "ratio": round(median([each / limit for each, limit in zip(log, raw, strict=True)]), 3),
        "log_groups_per_s": round(median(log), 1),
        "doubt": _doubt(raw, log),
    }
    lines = [
        f"groups of {options.group_bytes} bytes, medians of {options.runs} runs of {options.seconds:g} s each",
        f"raw write + fdatasync  {values['raw_mb_per_s']:>8} MB/s  ({spread([each * to_mb for each in raw])})",
        f"file log               {values['log_mb_per_s']:>8} MB/s  ({spread([each * to_mb for each in log])})",
        f"                       {values['log_groups_per_s']:>8} groups/s",
        f"ratio                  {values['ratio']:>8}  (median of the runs' own ratios)",
    ]
    if values["doubt"]:
        lines.append(f"NOT USABLE: {values['doubt']}")
    report(lines, values, as_json=options.json)


def _doubt(raw: Sequence[float], log: Sequence[float]) -> str:
    """Why the figures cannot be used, or nothing. No log beats its limit by more than the disk's noise."""
    if median([each / limit for each, limit in zip(log, raw, strict=True)]) > RATIO_MAX:
        return "the log was faster than its raw limit: something else used the disk, measure again"
    if max(raw) > RAW_SPREAD_MAX * min(raw):
        return f"the raw runs differ by more than {RAW_SPREAD_MAX:g} times: the disk is not quiet, measure again"
    return ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement (3)")
    parser.add_argument("--runs", type=int, default=5, help="measurements of each kind (5)")
    parser.add_argument("--group-bytes", type=int, default=262_144, help="bytes made durable at once (262144)")
    parser.add_argument("--folder", default=None, help="on the disk to measure (default: the temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
