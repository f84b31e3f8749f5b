"""More load than a router can take: how much of its best throughput is left, and how soon all is as before.

A router process over a file log of 4 sequencers; first a client process with so many connections as it serves without
a refusal (best), then one with 1,000 connections that each send their next write as soon as the last one was answered,
also after a 503, as if there were no Retry-After. A second client with another address and one connection writes a line
ten times a second all the time. Router, clients and the watch share this machine's cores.

    python -m bench.overload [--seconds 60] [--connections 1000] [--body-bytes 100000] [--json]

Goals: accepted at least 60 % of the best; memory of router and workers under 768 MB; the second client's writes all
stored; within 5 s of the flood's end its latency is at most twice what it was before.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench._measure import report
from tests.support.flood import FloodPlan, FloodReport, end_flood, start_flood
from tests.support.process_cluster import ProcessCluster
from tests.support.watching import Memory, Probe, repeated

BEST_CONNECTIONS = 32
CALM_S = 6.0
"""Before the flood, and after: the recovery must fit."""
MEDIAN_OF = 10
OTHER = "127.0.0.2"

Answers = Sequence[tuple[float, int, float]]


@dataclass(frozen=True, slots=True)
class Overload:
    """What was seen. probes: of the second client, as Probe.answers."""

    best: FloodReport
    flooded: FloodReport
    rss_max: int
    before: Answers
    during: Answers
    after: Answers

    @property
    def share(self) -> float:
        return self.flooded.accepted_mb_per_s / self.best.accepted_mb_per_s

    def recovery_s(self, ended_s: float) -> float:
        """From the flood's end until the median of ten writes is at most twice what it was before; inf for never."""
        limit_s = 2 * float(np.median([took_s for _, _, took_s in self.before]))
        for first in range(len(self.after) - MEDIAN_OF + 1):
            if np.median([took_s for _, _, took_s in self.after[first : first + MEDIAN_OF]]) <= limit_s:
                return max(0.0, self.after[first][0] - ended_s)
        return float("inf")


def measured(folder: Path, plan: FloodPlan) -> tuple[Overload, float]:
    """Best, then overload; and when the flood ended."""
    cluster = ProcessCluster(folder)
    with cluster.held():
        cluster.start("router")
        probe, memory = Probe(cluster.port, OTHER), Memory(cluster.pid("router"))
        best = end_flood(start_flood(FloodPlan(cluster.port, BEST_CONNECTIONS, plan.seconds / 4, plan.body_bytes)))
        with repeated(probe), repeated(memory):
            time.sleep(CALM_S)
            began = len(probe.answers)
            flooded = end_flood(start_flood(FloodPlan(cluster.port, plan.connections, plan.seconds, plan.body_bytes)))
            ended, ended_s = len(probe.answers), time.monotonic()
            time.sleep(CALM_S)
        parts = probe.answers[:began], probe.answers[began:ended], probe.answers[ended:]
    return Overload(best, flooded, memory.rss_max, *parts), ended_s


def latencies(answers: Answers) -> str:
    took_ms = [1000 * took_s for _, _, took_s in answers]
    p50, p99 = np.percentile(took_ms, [50, 99])
    stored = sum(1 for _, status, _ in answers if status == 204)
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {stored} of {len(answers)} stored"


def main() -> None:
    options = _options()
    plan = FloodPlan(0, options.connections, options.seconds, (options.body_bytes,))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found, ended_s = measured(Path(folder), plan)
    p50, p99 = np.percentile(found.flooded.accepted_ms, [50, 99])
    recovery_s = found.recovery_s(ended_s)
    lines = [
        f"best, {BEST_CONNECTIONS} connections: {found.best}",
        f"overload, {plan.connections} connections, {found.flooded.seconds:.0f} s: {found.flooded}",
        f"accepted writes: p50 {p50:.0f} ms, p99 {p99:.0f} ms",
        f"share of the best: {found.share:.2f} (goal 0.6); memory at most {found.rss_max / 1e6:.0f} MB (goal 768)",
        *(f"second client, {when}: {latencies(getattr(found, when))}" for when in ("before", "during", "after")),
        f"as before after {recovery_s:.1f} s (goal 5)",
    ]
    values = {
        "share_of_best": round(found.share, 3),
        "offered_writes_per_s": round(found.flooded.offered / found.flooded.seconds, 1),
        "accepted_mb_per_s": round(found.flooded.accepted_mb_per_s, 2),
        "best_mb_per_s": round(found.best.accepted_mb_per_s, 2),
        "rss_max_bytes": found.rss_max,
        "recovery_s": round(recovery_s, 2),
    }
    report(lines, values, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the overload (60)")
    parser.add_argument("--connections", type=int, default=1000, help="of the overload (1000)")
    parser.add_argument("--body-bytes", type=int, default=100_000, help="of each write (100000)")
    parser.add_argument("--folder", default=None, help="on the disk to measure (default: the temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
