"""An ingester's Prometheus metrics, read from the core when they are scraped: nothing is counted twice."""

import itertools
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ingester.buffer.late_rows import BOUNDS_NS
from ingester.service import IngesterService

_PREFIX = "penstock_ingester"


class IngesterCollector(Collector):
    """Figures of one ingester, with a registry of its own."""

    def __init__(self, service: IngesterService) -> None:
        self._service = service
        self._core = service.core
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield from self._offsets()
        yield from self._rows()
        yield from self._work()

    def _offsets(self) -> Iterable[Metric]:
        core = self._core
        offsets = GaugeMetricFamily(f"{_PREFIX}_offset", "Offsets of the sequencer by kind.", labels=["kind"])
        offsets.add_metric(["applied"], core.applied_offset)
        offsets.add_metric(["persisted"], core.state.replay_offset)
        next_offset = self._service.next_offset
        if next_offset is not None:
            offsets.add_metric(["next"], next_offset)
            yield _gauge("lag_offsets", "Offsets not applied yet.", max(0, next_offset - core.applied_offset))
        yield offsets
        yield _gauge("log_bytes", "Bytes of records from the persisted offset to the applied one.", core.log_bytes)
        yield _gauge("log_records", "Records from the persisted offset to the applied one.", core.log_records)
        yield _gauge("log_time_seconds", "Greatest append time applied.", core.log_time_ns / 1e9)

    def _rows(self) -> Iterable[Metric]:
        core = self._core
        yield _gauge("buffered_rows", "Rows in memory.", core.rows_buffered)
        yield _gauge("buffered_bytes", "Bytes of rows in memory.", core.bytes_buffered)
        rows = CounterMetricFamily(f"{_PREFIX}_rows", "Rows by what became of them, all time.", labels=["result"])
        for name, value in core.accounts.to_json().items():
            rows.add_metric([name], value)
        yield rows
        yield _counter("rows_applied", "Rows of the records applied since start.", core.counters.rows_applied)
        yield _counter("rows_replayed", "Rows found durable already since start.", core.counters.rows_durable)
        text = "Rows applied that are neither settled nor in memory: anything but 0 is a defect."
        yield _gauge("rows_unaccounted", text, core.counters.rows_unaccounted)
        late = core.late_rows
        counts, buckets = itertools.accumulate(late.counts), [*(f"{ns / 1e9:g}" for ns in BOUNDS_NS), "+Inf"]
        help_ = "Rows not above the greatest time persisted of their partition, by how far below."
        lateness = HistogramMetricFamily(f"{_PREFIX}_late_seconds", help_)
        lateness.add_metric([], list(zip(buckets, counts, strict=True)), late.sum_ns / 1e9)
        yield lateness

    def _work(self) -> Iterable[Metric]:
        core = self._core
        yield _counter("records", "Records applied since start.", core.counters.records)
        persists = CounterMetricFamily(f"{_PREFIX}_persists", "Persist jobs cut, by reason.", labels=["reason"])
        for reason, count in dict(core.counters.persists).items():
            persists.add_metric([reason.value], count)
        yield persists
        yield _counter("persist_failures", "Persist tries that failed.", core.counters.persist_failures)
        yield _counter("commits", "Manifest records committed since start.", core.counters.commits)
        yield _gauge("persist_jobs", "Persist jobs under way.", core.jobs_running)
        yield _gauge("paused", "1 while polling waits for memory or the log.", int(core.paused))
        yield _gauge("files", "Live files.", len(core.state.files))
        yield _gauge("manifest_number", "Newest manifest record.", core.state.number)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", text, value=value)
