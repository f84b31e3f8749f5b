"""Thresholds so small that everything happens often."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from ingester import core as ingester_core
from ingester.buffer import partition
from ingester.lifecycle import Rules
from ingester.persist import manifest
from penstock import query
from router import entries
from tests.simulation.ingester_process import Settings
from tests.simulation.parquet import parquet

SECOND_NS = 1_000_000_000


@contextmanager
def tiny_limits(rng: random.Random) -> Iterator[None]:
    """What takes thousands of records or minutes elsewhere happens after a few here."""
    with ExitStack() as limits:
        for module, name, value in (
            (ingester_core, "RECORDS_BETWEEN_PLANS", 6),
            (ingester_core, "ADVANCE_RECORDS", 8),
            (ingester_core, "ADVANCE_NS", 20 * SECOND_NS),
            (partition, "MERGE_COUNT", 3),
            (manifest, "TRIES_MAX", rng.choice((1, 3))),
            (entries, "PAYLOAD_BYTES_MAX", rng.choice((1_000_000, 2_500))),
            (query, "read_stored", lambda file, store: parquet(store.get(file.path))),
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
        ),
        file_bytes_max=rng.choice((200, 100_000)),
        persist_jobs_max=rng.choice((1, 4)),
    )
