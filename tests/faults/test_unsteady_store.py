"""An object store that fails every third call, hangs, or is away for a while, under an ingester that is written to.

Ingest goes on: up to the hard limit of memory, where polling pauses and writes wait in the log. Once the store works
again, so does everything else, and every acknowledged row is in one file.
"""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from common.store.opening import open_store
from penstock.terminal.exit_codes import UNAVAILABLE
from tests.faults.test_two_ingesters import named_rows
from tests.support.campaign import campaign, is_whole
from tests.support.figures import record_figure
from tests.support.fsck import hold_clean
from tests.support.process_cluster import BUSY, ProcessCluster
from tests.support.wait import wait_until
from tests.support.written import Sent, Writers, check

INGESTER = "ingester-0"
SEED = 1
HARD_BYTES = 600_000
SETTINGS = BUSY | {"soft_memory_bytes": "300000", "hard_memory_bytes": str(HARD_BYTES)}
POLLED_BYTES = 300_000
"""More than what was on its way when the pause came, at this load."""

AWAY_S = 300.0
"""Of the whole campaign: what the object store of a cloud may well be away for."""


def status(cluster: ProcessCluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get(INGESTER, "/status")
    return found


def unsettle(cluster: ProcessCluster, how: str) -> None:
    """The store is the same for all."""
    for name in cluster.names:
        cluster.unsettle_store(name, how)


def go_on(sent: Sent, batches: int) -> None:
    """Writers are acknowledged that many batches more."""
    before = sent.acknowledged
    wait_until(lambda: sent.acknowledged, holds=lambda now: now >= before + batches, timeout_s=60, what="writes")


def hold_still(cluster: ProcessCluster, sent: Sent) -> None:
    """Writes go on and nothing is applied any more, once what was on its way when the pause came is."""
    for _ in range(5):
        applied = status(cluster)["applied_offset"]
        go_on(sent, 10)
        if status(cluster)["applied_offset"] == applied:
            return
    raise AssertionError(f"records are applied while polling is paused: {status(cluster)}")


def hold_rows(cluster: ProcessCluster, sent: Sent) -> None:
    """Everything becomes durable, and each acknowledged row is once in a file that is named."""
    wait_until(
        lambda: status(cluster),
        holds=lambda seen: seen["rows_buffered"] == 0 and seen["persisted_offset"] == seen["next_offset"],
        timeout_s=60,
        what="every row in files",
    )
    cluster.stop()
    check(sent, named_rows(cluster), lambda key: 0)
    hold_clean(open_store(f"file://{cluster.data}/store"), 1, time.time_ns())


def test_a_store_that_fails_every_third_call_delays_rows_and_loses_none(tmp_path: Path) -> None:
    """Some fail after they did their work. What was persisted meanwhile is counted and there once."""
    sent = Sent(SEED)
    with ProcessCluster(tmp_path, 1, SETTINGS) as cluster:
        with Writers(sent, cluster.port, count=2):
            go_on(sent, 10)
            unsettle(cluster, "third")
            before = status(cluster)["manifest_number"]
            wait_until(lambda: status(cluster)["manifest_number"], holds=lambda now: now > before + 3, timeout_s=60)
            go_on(sent, 10)
            unsettle(cluster, "")
        assert "after it was done" in cluster.log(INGESTER)
        hold_rows(cluster, sent)


def pause_and_recover(folder: Path, how: str, for_s: float = 0.0) -> None:
    """The store does not work until the ingester has paused, and `for_s` longer, in which nobody writes."""
    sent = Sent(SEED)
    with ProcessCluster(folder, 1, SETTINGS) as cluster:
        with Writers(sent, cluster.port, count=2):
            go_on(sent, 10)
            unsettle(cluster, how)
            wait_until(lambda: status(cluster), holds=lambda seen: seen["paused"], timeout_s=90, what="paused")
            hold_still(cluster, sent)
        until_s = time.monotonic() + for_s
        wait_until(lambda: time.monotonic() >= until_s, timeout_s=for_s + 10)
        assert status(cluster)["paused"]
        assert status(cluster)["bytes_buffered"] <= HARD_BYTES + POLLED_BYTES
        unsettle(cluster, "")
        wait_until(lambda: status(cluster), holds=lambda seen: not seen["paused"], timeout_s=90, what="resumed")
        with Writers(sent, cluster.port, count=2):
            go_on(sent, 10)
        hold_rows(cluster, sent)


@pytest.mark.parametrize("how", ["hangs", "away"])
def test_ingest_pauses_at_the_hard_limit_and_recovers_without_loss(tmp_path: Path, how: str) -> None:
    """Writes are acknowledged all the time, nothing is applied beyond the limit, and it goes on by itself."""
    pause_and_recover(tmp_path, how)


def test_a_stop_gives_up_on_a_store_that_hangs(tmp_path: Path) -> None:
    """After stop_timeout_s, with exit code 3; its rows are in the log, and the next start has them."""
    sent = Sent(SEED)
    with ProcessCluster(tmp_path, 1, SETTINGS | {"stop_timeout_s": "1"}) as cluster:
        with Writers(sent, cluster.port, count=2):
            go_on(sent, 10)
            unsettle(cluster, "hangs")
            wait_until(lambda: status(cluster)["paused"], timeout_s=60, what="paused")
            cluster.signal(INGESTER, signal.SIGTERM)
            assert cluster.wait(INGESTER, 60) == UNAVAILABLE
        assert "rows left in the log" in cluster.log(INGESTER)
        unsettle(cluster, "")
        cluster.start(INGESTER)
        hold_rows(cluster, sent)


@campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["hangs", "away"])
def test_a_store_that_does_not_work_for_five_minutes(tmp_path: Path, how: str) -> None:
    """The same for so long that every wait has reached its greatest; a share of the campaign: half a minute."""
    for_s = AWAY_S if is_whole() else AWAY_S / 10
    pause_and_recover(tmp_path, how, for_s)
    record_figure(f"object store {how} for {for_s:g} s: nothing lost")
