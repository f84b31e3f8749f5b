"""Sends generated lines to a router: several workers, a rate, bounds, and figures at the end.

Each worker has a thread, a connection, its own hosts and its own stream of lines (devops.py), so that what is sent
depends on the plan alone, not on timing.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from common.values.clock import Clock
from common.values.errors import InvalidRequest, PenstockError
from penstock.writing.client import Written
from penstock.writing.devops import DevopsLines, Lines

Send = Callable[[bytes], Written]
OnSent = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """rate: rows/s over all workers, 0 for as fast as possible. rows, seconds: bounds, None for none."""

    seed: int
    series: int
    workers: int
    rate: float
    rows: int | None
    seconds: float | None
    batch_rows: int
    start_ns: int

    def __post_init__(self) -> None:
        for name in ("series", "workers", "batch_rows"):
            if getattr(self, name) < 1:
                raise InvalidRequest(f"--{name.replace('_', '-')} is {getattr(self, name)}: give 1 or more")
        if self.workers > self.series:
            raise InvalidRequest(
                f"--workers {self.workers} is above --series {self.series}: each needs a host of its own"
            )

    def batches(self, worker: int) -> Iterator[Lines]:
        """What `worker` sends: endless, or its share of `rows`."""
        lines = DevopsLines(
            seed=self.seed, hosts=self.series, start_ns=self.start_ns, worker=worker, workers=self.workers
        )
        if self.rows is None:
            yield from lines.batches(self.batch_rows)
            return
        share = self.rows // self.workers + (worker < self.rows % self.workers)
        stream = lines.lines()
        for first in range(0, share, self.batch_rows):
            rows = min(self.batch_rows, share - first)
            yield Lines(rows, b"\n".join(next(stream) for _ in range(rows)) + b"\n")


@dataclass
class Figures:
    """What was sent. rows, bytes: acknowledged; of a body with refused rows the others' share of its bytes.
    latencies_s: one for each batch, from the first send to the acknowledgement.

    failure: the first error that ended a worker.
    """

    rows: int = 0
    bytes: int = 0
    refused: int = 0
    retries: int = 0
    errors: list[str] = field(default_factory=list)
    failure: PenstockError | None = None
    latencies_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    def report(self) -> dict[str, float | int | list[str]]:
        """For people and scripts: rows, rows/s, MB/s (10^6 bytes of line protocol, before compression), latencies in
        ms. Refused rows count for none of them."""
        seconds = self.seconds or 1e-9
        return {
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "rows_per_s": round(self.rows / seconds, 1),
            "mb_per_s": round(self.bytes / seconds / 1e6, 3),
            "batches": len(self.latencies_s),
            "p50_ms": round(quantile(self.latencies_s, 0.5) * 1e3, 3),
            "p99_ms": round(quantile(self.latencies_s, 0.99) * 1e3, 3),
            "refused_rows": self.refused,
            "retries": self.retries,
            "errors": self.errors,
        }


def quantile(values: list[float], share: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class LoadRun:
    """One run of a plan. `connect(worker)` gives each worker its way to send."""

    def __init__(self, plan: Plan, connect: Callable[[int], Send], clock: Clock, on_sent: OnSent) -> None:
        self._plan = plan
        self._connect = connect
        self._clock = clock
        self._on_sent = on_sent
        self._figures = Figures()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: Exception | None = None

    def run(self) -> Figures:
        """Until the bounds are reached or Ctrl-C. A PenstockError ends its worker and is listed in the figures.

        Any other error ends the run, and is raised here.
        """
        started_s = self._clock.monotonic_s()
        workers = [
            threading.Thread(target=self._work, args=(worker, started_s), daemon=True)
            for worker in range(self._plan.workers)
        ]
        for thread in workers:
            thread.start()
        try:
            for thread in workers:
                thread.join()
        except KeyboardInterrupt:
            self._stop.set()
            self._figures.interrupted = True
            self._figures.errors.append("stopped by Ctrl-C")
        if self._failure is not None:
            raise self._failure
        self._figures.seconds = self._clock.monotonic_s() - started_s
        return self._figures

    def _work(self, worker: int, started_s: float) -> None:
        try:
            send = self._connect(worker)
            sent = 0
            for lines in self._plan.batches(worker):
                if not self._in_time(sent, started_s):
                    return
                self._send(send, lines)
                sent += lines.rows
        except PenstockError as error:
            with self._lock:
                self._figures.errors.append(str(error))
                self._figures.failure = self._figures.failure or error
        except Exception as error:  # noqa: BLE001  raised by run: nobody would see it in a thread
            self._failure = error
            self._stop.set()

    def _in_time(self, sent: int, started_s: float) -> bool:
        """Wait until the rate allows more; False once the run is over."""
        now_s = self._clock.monotonic_s()
        due_s = started_s + sent * self._plan.workers / self._plan.rate if self._plan.rate else now_s
        end_s = started_s + self._plan.seconds if self._plan.seconds is not None else float("inf")
        if due_s > now_s:
            self._stop.wait(min(due_s, end_s) - now_s)
        return not self._stop.is_set() and self._clock.monotonic_s() < end_s

    def _send(self, send: Send, lines: Lines) -> None:
        began_s = self._clock.monotonic_s()
        written = send(lines.body)
        took_s = self._clock.monotonic_s() - began_s
        stored = lines.rows - written.refused_count
        with self._lock:
            self._figures.rows += stored
            self._figures.bytes += len(lines.body) * stored // lines.rows
            self._figures.refused += written.refused_count
            self._figures.retries += written.attempts - 1
            self._figures.latencies_s.append(took_s)
            self._on_sent(lines.rows)
