"""What a router adds to the fdatasync under it, at low load: one connection, some writes a second.

A router process over a file log of 4 sequencers and a client process's one keep-alive connection; raw is write +
fdatasync of a file beside the log. Writes and raw go by turns, a second each, so that both see the same disk. A write
touches one sequencer (one line) or all of them (5 KB).

    python -m bench.http_latency [--seconds 10] [--rate 50] [--folder DIR] [--json]

Goal: p50 at most 2 ms and p99 at most 10 ms over the fdatasync.
"""

import argparse
import http.client
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import numpy as np

from bench._buffers import place
from bench._corpora import bodies, devops
from bench._measure import report
from bench.http_ack import router
from bench.latency import raw_file, timed

BODIES = {"one line": 1, "5 KB": 5_000}
_DIFFERENT = 20
_RAW_BYTES = 1_000


@contextmanager
def writing(port: int, body_bytes: int) -> Iterator[Callable[[], object]]:
    """Sends the next body and waits for its 204."""
    source = bodies(devops(), body_bytes)
    to_send = cycle([next(source) for _ in range(_DIFFERENT)])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def act() -> None:
        connection.request("POST", "/api/v2/write?bucket=bench", next(to_send))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 204:
            raise SystemExit(f"not acknowledged: {answer.status} {text[:300]!r}")

    try:
        for _ in range(2 * _DIFFERENT):
            act()
        yield act
    finally:
        connection.close()


def measured(folder: Path, seconds: int, rate: float) -> dict[str, dict[str, float]]:
    """Milliseconds: p50 and p99 of raw and of writes, by kind of body."""
    found = {}
    with place("file", folder / "log") as at, router(folder / "data", 0, at.unused_url()) as (port, _):
        for name, body_bytes in BODIES.items():
            raw: list[float] = []
            ours: list[float] = []
            with raw_file(at, b"x" * _RAW_BYTES) as raw_append, writing(port, body_bytes) as write:
                for _ in range(seconds):
                    raw += timed(raw_append, rate)
                    ours += timed(write, rate)
            found[name] = {**_percentiles("raw", raw), **_percentiles("write", ours)}
    return found


def _percentiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return {f"{name}_p50_ms": round(float(p50), 2), f"{name}_p99_ms": round(float(p99), 2)}


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        values = measured(Path(folder), options.seconds, options.rate)
    lines = [
        f"{name}: write p50 {one['write_p50_ms']} p99 {one['write_p99_ms']} ms, raw p50 {one['raw_p50_ms']} p99 "
        f"{one['raw_p99_ms']} ms: added {one['write_p50_ms'] - one['raw_p50_ms']:.2f} and "
        f"{one['write_p99_ms'] - one['raw_p99_ms']:.2f} ms"
        for name, one in values.items()
    ]
    report([f"{options.rate:g} writes a second for {options.seconds} s", *lines], values, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10, help="of writes, for each kind of body (10)")
    parser.add_argument("--rate", type=float, default=50.0, help="writes a second (50)")
    parser.add_argument("--folder", default=None, help="on the disk to measure (default: the temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
