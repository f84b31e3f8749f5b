"""The router's figures for Prometheus."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from common.clock import Clock
from common.ids import SequencerId
from router.admission import Admission
from router.answers import Answer, Result
from writebuffer.contract import Appended, AppendedRange, Writer
from writebuffer.record import Record

T = TypeVar("T")

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class RouterMetrics:
    """A registry of its own, so that several routers fit one process."""

    def __init__(self, admission: Admission) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Writes answered, by how they ended.", ("result",))
        self.lines_accepted = self._counter("lines_accepted", "Lines acknowledged as durable.")
        self.lines_refused = self._counter("lines_refused", "Lines refused with a reason.")
        self.body_bytes = self._counter("body_bytes", "Bytes of bodies of writes, after decompression.")
        self.request_seconds = self._histogram("request_seconds", "From the whole body to the answer.")
        self.schema_settles = self._counter("schema_settles", "Visits to the schema store.", ("result",))
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

    def answered(self, answer: Answer, seconds: float, body_bytes: int) -> None:
        """Count one write."""
        self.requests.labels(answer.result.value).inc()
        self.lines_accepted.inc(answer.lines_accepted)
        self.lines_refused.inc(answer.lines_refused)
        self.body_bytes.inc(body_bytes)
        self.request_seconds.observe(seconds)

    def totals(self) -> Mapping[str, int]:
        """Counts since the start, for the status page."""
        results = {result.value: self._value("requests", result=result.value) for result in Result}
        return {
            **{f"requests_{name}": count for name, count in results.items()},
            "lines_accepted": self._value("lines_accepted"),
            "lines_refused": self._value("lines_refused"),
        }

    def _value(self, name: str, **labels: str) -> int:
        return int(self.registry.get_sample_value(f"penstock_router_{name}_total", labels) or 0)

    def _counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"penstock_router_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        return Histogram(f"penstock_router_{name}", help, buckets=_SECONDS, registry=self.registry)


class MeteredWriter:
    """A Writer that counts and times the appends of another."""

    def __init__(self, writer: Writer, metrics: RouterMetrics, clock: Clock) -> None:
        self._writer = writer
        self._metrics = metrics
        self._clock = clock

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
        future.add_done_callback(lambda done: self._count(done, str(sequencer), count, size, started_s))
        return future

    def _count(self, done: "Future[T]", sequencer: str, records: int, size: int, started_s: float) -> None:
        self._metrics.append_seconds.observe(self._clock.monotonic_s() - started_s)
        if done.cancelled() or done.exception():
            self._metrics.append_failures.labels(sequencer).inc()
            return
        self._metrics.append_records.labels(sequencer).inc(records)
        self._metrics.append_bytes.labels(sequencer).inc(size)
