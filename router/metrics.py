"""The router's figures for Prometheus."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.http.intake import Shared
from common.values.clock import Clock
from common.values.ids import SequencerId
from router.core.admission import Admission
from router.core.outcome import (
    Failed,
    Limited,
    LinesRefused,
    Outcome,
    Overloaded,
    PartlyStored,
    RequestRefused,
    Retry,
    Stored,
    TooLarge,
)
from writebuffer.contract import Appended, AppendedRange, Writer
from writebuffer.record import Record

T = TypeVar("T")

RESULTS: Mapping[type, str] = {
    Stored: "stored",
    PartlyStored: "partial",
    LinesRefused: "refused",
    RequestRefused: "refused",
    TooLarge: "too_large",
    Overloaded: "overloaded",
    Limited: "limited",
    Retry: "unavailable",
    Failed: "failed",
}
"""The label `result` of penstock_router_requests_total, by outcome."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class RouterMetrics:
    """A registry of its own, so that several routers fit one process."""

    def __init__(self, admission: Admission) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each that says when it began
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Writes answered, by how they ended.", ("result",))
        self._requests_of = {kind: self.requests.labels(result) for kind, result in RESULTS.items()}
        self.lines_accepted = self._counter("lines_accepted", "Lines acknowledged as durable.")
        self.lines_refused = self._counter("lines_refused", "Lines refused with a reason.")
        self.fields_dropped = self._counter(
            "fields_dropped", "Fields with a reserved name, left out of lines that were stored."
        )
        self.body_bytes = self._counter("body_bytes", "Bytes of bodies of writes, after decompression.")
        self.request_seconds = self._histogram(
            "request_seconds", "From the headers to the answer, the arrival of the body included."
        )
        self.parser_restarts = self._counter("parser_restarts", "Workers started again after one died.")
        self.schema_settles = self._counter(
            "schema_settles", "Tries to settle columns in the schema store.", ("result",)
        )
        self.append_seconds = self._histogram("append_seconds", "From an append to its durability, or its failure.")
        self.append_records = self._counter("append_records", "Records appended and durable.", ("sequencer",))
        self.append_bytes = self._counter("append_bytes", "Bytes of these records.", ("sequencer",))
        self.append_failures = self._counter("append_failures", "Appends that failed.", ("sequencer",))
        in_flight = Gauge(
            "penstock_router_in_flight_bytes",
            "Bytes of bodies held, from reading to durability.",
            registry=self.registry,
        )
        in_flight.set_function(lambda: admission.bytes_held)

    def watch_connections(self, shared: Shared) -> None:
        """Show the connections of a server: how many are open, and how many had no place."""
        self.registry.register(_Connections(shared))

    def count(self, outcome: Outcome, seconds: float, body_bytes: int) -> None:
        """Count one write."""
        self._requests_of[type(outcome)].inc()
        if isinstance(outcome, Stored | PartlyStored | LinesRefused):
            self.lines_accepted.inc(outcome.lines.accepted)
            if outcome.lines.refused_count:
                self.lines_refused.inc(outcome.lines.refused_count)
            if outcome.lines.dropped_count:
                self.fields_dropped.inc(outcome.lines.dropped_count)
        self.body_bytes.inc(body_bytes)
        self.request_seconds.observe(seconds)

    def totals(self) -> Mapping[str, int]:
        """Counts since the start, for the status page."""
        results = {result: self._value("requests", result=result) for result in RESULTS.values()}
        return {
            **{f"requests_{name}": count for name, count in results.items()},
            "lines_accepted": self._value("lines_accepted"),
            "lines_refused": self._value("lines_refused"),
            "fields_dropped": self._value("fields_dropped"),
            "connections_refused": self._value("connections_refused"),
        }

    def _value(self, name: str, **labels: str) -> int:
        return int(self.registry.get_sample_value(f"penstock_router_{name}_total", labels) or 0)

    def _counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"penstock_router_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        return Histogram(f"penstock_router_{name}", help, buckets=_SECONDS, registry=self.registry)


class _Connections(Collector):
    """Read where they are counted."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "penstock_router_connections", "HTTP connections that have a place.", self._shared.connections.held
        )
        yield CounterMetricFamily(
            "penstock_router_connections_refused",
            "HTTP connections over connections_max or their client's share: answered 503, or closed at once.",
            self._shared.refused,
        )


class MeteredWriter:
    """A Writer that counts and times the appends of another."""

    def __init__(self, writer: Writer, metrics: RouterMetrics, clock: Clock) -> None:
        self._writer = writer
        self._metrics = metrics
        self._clock = clock
        self._counters: dict[SequencerId, tuple[Counter, Counter, Counter]] = {}
        """Records, bytes and failures: looking for a label costs three times as much as counting."""

    def sequencers(self) -> Sequence[SequencerId]:
        return self._writer.sequencers()

    def append(self, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        started_s = self._clock.monotonic_s()
        return self._metered(self._writer.append(sequencer, record), sequencer, [record], started_s)

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        started_s = self._clock.monotonic_s()
        return self._metered(self._writer.append_many(sequencer, records), sequencer, records, started_s)

    def flush(self, timeout_s: float) -> None:
        self._writer.flush(timeout_s)

    def close(self) -> None:
        self._writer.close()

    def _metered(
        self, future: "Future[T]", sequencer: SequencerId, records: Sequence[Record], started_s: float
    ) -> "Future[T]":
        count, size = len(records), sum(map(len, records))
        future.add_done_callback(lambda done: self._count(done, sequencer, count, size, started_s))
        return future

    def _count(self, done: "Future[T]", sequencer: SequencerId, count: int, size: int, started_s: float) -> None:
        self._metrics.append_seconds.observe(self._clock.monotonic_s() - started_s)
        records, size_bytes, failures = self._counters.get(sequencer) or self._find_counters(sequencer)
        if done.cancelled() or done.exception():
            failures.inc()
            return
        records.inc(count)
        size_bytes.inc(size)

    def _find_counters(self, sequencer: SequencerId) -> tuple[Counter, Counter, Counter]:
        metrics = self._metrics
        records, size_bytes, failures = (
            counter.labels(str(sequencer))
            for counter in (metrics.append_records, metrics.append_bytes, metrics.append_failures)
        )
        found = self._counters[sequencer] = (records, size_bytes, failures)
        return found
