"""Thresholds so small that everything happens often."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from common.catalog.manifest import checkpoint, files, head, manifest
from ingester.buffer import waiting
from ingester.core import committing, persisting
from ingester.core.lifecycle import Rules
from penstock.query import sources
from router.parsing.lines import entries
from tests.simulation.ingester_process import Settings
from tests.simulation.parquet import parquet

SECOND_NS = 1_000_000_000


@contextmanager
def tiny_limits(rng: random.Random) -> Iterator[None]:
    """What takes thousands of records or minutes elsewhere happens after a few here."""
    with ExitStack() as limits:
        for module, name, value in (
            (persisting, "RECORDS_BETWEEN_PLANS", 6),
            (committing, "ADVANCE_RECORDS", 8),
            (committing, "ADVANCE_NS", 20 * SECOND_NS),
            (waiting, "MERGE_COUNT", 3),
            (manifest, "TRIES_MAX", rng.choice((1, 3))),
            (checkpoint, "RECORDS_MAX", records_max := rng.choice((1, 3, 64))),
            (head, "WINDOW", records_max + 1),
            (files, "PART_FILES", rng.choice((1, 2, 256))),
            (entries, "PAYLOAD_BYTES_MAX", rng.choice((1_000_000, 2_500))),
            (sources, "read_stored", lambda file, store: parquet(store.get(file.path))),
        ):
            limits.enter_context(mock.patch.object(module, name, value))
        yield


def drawn_settings(rng: random.Random) -> Settings:
    window_s = rng.choice((2, 10))
    soft_bytes = rng.choice((3_000, 8_000, 100_000))
    return Settings(
        Rules(
            late_arrival_window_ns=window_s * SECOND_NS,
            persist_row_threshold=rng.choice((4, 30)),
            persist_age_threshold_ns=3 * window_s * SECOND_NS,
            soft_memory_bytes=soft_bytes,
            hard_memory_bytes=soft_bytes * 2,
            log_bytes_max=rng.choice((6_000, 50_000)),
            log_records_max=rng.choice((10, 1_000)),
            stop_timeout_ns=30 * SECOND_NS,
            stop_deadline_ns=120 * 10**9,
        ),
        file_bytes_max=rng.choice((200, 100_000)),
        persist_jobs_max=rng.choice((1, 4)),
        small_jobs_per_job=rng.choice((1, 4)),
    )
