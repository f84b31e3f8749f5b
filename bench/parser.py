"""Line protocol to payloads: how many bytes a second one parser takes, warm, and what odd lines cost.

A BatchParser with known schemas and a warm series cache, from bodies to encoded entries for 4 sequencers, on one core.
Beside it, in the same run, the strict parser alone, line by line, without placing or encoding anything: the reference
that both are held equal to. `lines` is the parser without encoding and compression of entries. Printed are medians.

    python -m bench.parser [--runs 9] [--corpora devops,telegraf,iot] [--json]
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

from bench._corpora import CORPORA, bodies, devops
from bench._measure import MB, median, report, spread
from common.catalog.table_schema import TableSchema
from router.lineprotocol.lines import split_lines
from router.lineprotocol.scalar import parse_line
from router.parsing.batch import BatchParser
from router.parsing.messages import Body

SEQUENCERS = 4
NAMESPACE = "bench"
_LARGE_BYTES = 1_000_000
_SMALL_BYTES = 5_000
_SMALL_BODIES = 64
_ODD_EVERY = 5
_SERIES = (100, 1_000, 10_000, 100_000)
_COLUMNS = (10, 100, 900)


class Warm:
    """A parser that knows the columns and the series of what it is about to parse."""

    def __init__(self, batches: Sequence[Sequence[bytes]]) -> None:
        self._batches = [[Body(data, 1, 0) for data in one] for one in batches]
        self.bytes = sum(len(data) for data in batches[0])
        self._parser = BatchParser(SEQUENCERS)
        for one in self._batches:
            parsed = self._parser.parse(NAMESPACE, one, {})
            assert not any(lines.refused_count for lines in parsed.requests)
            news = {table: TableSchema(2**40, columns) for table, columns in parsed.additions.items()}
            self._parser.parse(NAMESPACE, one, news)
        self._next = 0

    def parse(self) -> None:
        self._parser.parse(NAMESPACE, self._batches[self._next % len(self._batches)], {})
        self._next += 1


def timed_ms(work: Callable[[], object], runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        start_s = time.perf_counter()
        work()
        times.append((time.perf_counter() - start_s) * 1000)
    return times


def without_encoding(warm: Warm, runs: int) -> list[float]:
    """Up to the packed rows."""
    with patch("router.parsing.batch.encode_entries", return_value=[]):
        return timed_ms(warm.parse, runs)


def strictly(data: bytes) -> None:
    for _, line in split_lines(data):
        parse_line(line, 1)


def of_corpus(name: str, runs: int, values: dict[str, Any]) -> Iterator[str]:
    large = _some(bodies(CORPORA[name](), _LARGE_BYTES), 4)
    small = _some(bodies(CORPORA[name](), _SMALL_BYTES), _SMALL_BODIES)
    strict = median(timed_ms(lambda: strictly(large[0]), 3))
    found = values[name] = {"strict": _mb_per_s(len(large[0]), strict)}
    yield f"{name}: the strict parser alone {found['strict']} MB/s"
    cases = {"1 MB": [[one] for one in large], f"{_SMALL_BODIES} x 5 KB": [small], "1 x 5 KB": [[one] for one in small]}
    for case, batches in cases.items():
        warm = Warm(batches)
        whole, lines = timed_ms(warm.parse, runs), without_encoding(warm, runs)
        ms, lines_ms = median(whole), median(lines)
        found[case] = {
            "ms": round(ms, 2),
            "mb_per_s": _mb_per_s(warm.bytes, ms),
            "lines_mb_per_s": _mb_per_s(warm.bytes, lines_ms),
            "times_strict": round(_mb_per_s(warm.bytes, lines_ms) / found["strict"], 1),
        }
        yield (
            f"  {case}: {ms:.2f} ms ({spread(whole)}), {found[case]['mb_per_s']} MB/s; "
            f"lines {found[case]['lines_mb_per_s']} MB/s, {found[case]['times_strict']} x strict"
        )


def of_odd_lines(runs: int, values: dict[str, Any]) -> Iterator[str]:
    """A fifth of the lines with escapes, with strings, or for the strict parser, beside lines without."""
    changes: dict[str, Callable[[bytes], bytes]] = {
        "escaped": lambda line: line.replace(b",region=", b",my\\ region=", 1),
        "quoted": lambda line: line.replace(b" ", b' note="a, b = c",', 1),
        "odd": lambda line: line.replace(b" ", b"  ", 1),
    }
    plain = next(bodies(devops(), _LARGE_BYTES))
    base = median(timed_ms(Warm([[plain]]).parse, runs))
    for name, change in changes.items():
        lines = plain.splitlines()
        changed = b"\n".join(line if place % _ODD_EVERY else change(line) for place, line in enumerate(lines))
        ms = median(timed_ms(Warm([[changed]]).parse, runs))
        values[name] = round(ms / base * len(plain) / len(changed), 2)
        yield f"a fifth of the lines {name}: {values[name]} x the time of none, for each byte"


def of_series(runs: int, values: dict[str, Any]) -> Iterator[str]:
    """The same number of lines, of more and more series, in a warm cache."""
    first = 0.0
    for count in _SERIES:
        lines = [f"m,host=h{place % count:06} a={place}.5,b={place}i {place}".encode() for place in range(100_000)]
        batches = [[b"\n".join(lines[at : at + 20_000])] for at in range(0, 100_000, 20_000)]
        ms = median(timed_ms(Warm(batches).parse, max(runs, 10)))
        first = first or ms
        values[str(count)] = round(ms / first, 2)
        yield f"{count} series: {ms:.1f} ms for 20,000 lines, {values[str(count)]} x of {_SERIES[0]}"


def of_columns(runs: int, values: dict[str, Any]) -> Iterator[str]:
    """About the same number of fields, in lines of more and more columns."""
    for count in _COLUMNS:
        fields = [f"c{column:04}" for column in range(count)]
        lines = [
            "m,host=a " + ",".join(f"{name}={place}.25" for name in fields) + f" {place}"
            for place in range(50_000 // count)
        ]
        warm = Warm([["\n".join(lines).encode()]])
        ns = median(timed_ms(warm.parse, runs)) * 1e6 / (len(lines) * count)
        values[str(count)] = round(ns)
        yield f"{count} columns: {ns:.0f} ns a field"


def _some(source: Iterator[bytes], count: int) -> list[bytes]:
    return [next(source) for _ in range(count)]


def _mb_per_s(size: int, ms: float) -> float:
    return round(size / MB / (ms / 1000), 1)


def main() -> None:
    options = _options()
    values: dict[str, Any] = {}
    lines: list[str] = []
    for name in options.corpora.split(","):
        lines += of_corpus(name, options.runs, values)
    for name, part in {"odd": of_odd_lines, "series": of_series, "columns": of_columns}.items():
        lines += part(options.runs, values.setdefault(name, {}))
    report(lines, {"runs": options.runs, **values}, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="measurements of each case (9)")
    parser.add_argument("--corpora", default=",".join(CORPORA), help="which of devops,telegraf,iot (all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
