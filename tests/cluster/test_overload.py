"""A router under more load than it can take: it refuses what it cannot hold, and loses nothing that it acknowledged."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from common.entry import decode
from tests.support.campaign import campaign, is_whole
from tests.support.flood import FloodPlan, FloodReport, end_flood, start_flood
from tests.support.process_cluster import ProcessCluster
from tests.support.wait import wait_until
from tests.support.watching import Memory, Probe, repeated
from writebuffer.connect import connect

RSS_MAX = 768 * 1024 * 1024
"""Of a router and its workers."""

OTHER = "127.0.0.2"
"""The address of a client that sends little."""


@pytest.mark.parametrize(
    ("connections", "seconds"),
    [(200, 8), pytest.param(1000, 60 if is_whole() else 15, marks=campaign)],
)
def test_a_flood_is_refused_and_costs_nobody_a_row(tmp_path: Path, connections: int, seconds: float) -> None:
    """Closed-loop connections that ignore Retry-After: memory stays bounded, what is refused is 503, each acknowledged
    row is stored once, another client's writes are all stored, and afterwards all is as before."""
    cluster = ProcessCluster(tmp_path)
    with cluster.held():
        cluster.start("router")
        memory, probe = Memory(cluster.pid("router")), Probe(cluster.port, OTHER)
        with repeated(memory), repeated(probe):
            report = end_flood(start_flood(FloodPlan(cluster.port, connections, seconds, body_bytes=(100_000,))))
        print(f"\n{connections} connections, {report.seconds:.0f} s: {report}; RSS {memory.rss_max / 1e6:.0f} MB")
        wait_until(lambda: cluster.get("router", "/status")["body_bytes_in_flight"], holds=lambda held: held == 0)
        assert probe.write() == 204
        cluster.signal("router", signal.SIGTERM)
        assert cluster.wait("router", 60) == 0
    check_answers(report)
    assert memory.rss_max < RSS_MAX
    assert {status for _, status, _ in probe.answers} == {204}
    check_rows(report, len(probe.answers), tmp_path)


def check_answers(report: FloodReport) -> None:
    """Only stored or refused for now, and how long to wait is a whole number."""
    assert report.statuses.keys() == {"204", "503"}
    assert report.without_retry_after == 0


def check_rows(report: FloodReport, probes: int, folder: Path) -> None:
    """Each acknowledged write is in the log, and no write is there twice: refused ones were not sent again."""
    stored: Counter[tuple[int, int]] = Counter()
    probed: Counter[int] = Counter()
    reader = connect(f"file://{folder}/data/log").open_reader()
    for sequencer in reader.sequencers():
        cursor = reader.cursor(sequencer)
        while records := cursor.poll(1_000, 16_000_000, 0).records:
            for one in records:
                tables = decode(one.record.payload).tables
                if "flood" in tables:
                    rows = tables["flood"].to_pydict()
                    stored.update((int(c), n) for c, n in zip(rows["c"], rows["n"], strict=True))
                if "probe" in tables:
                    probed.update(tables["probe"].to_pydict()["n"])
    reader.close()
    assert not set(report.acknowledged) - stored.keys()
    assert set(stored.values()) == {1}
    assert probed == Counter(range(probes))
