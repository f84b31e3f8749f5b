"""A log is damaged or lost, or the whole buffer: nobody writes where nobody reads, and there is a way to continue."""

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from common.catalog.manifest import manifest
from common.entry import decode
from common.store.objects import ObjectStore, run
from common.store.opening import open_store
from common.values.ids import SequencerId
from penstock.query.query import query
from tests.support.buffer_records import read_all
from tests.support.process_cluster import CALM, ProcessCluster
from tests.support.wait import wait_until
from writebuffer.file import FileBackend
from writebuffer.file.format import BATCH_MAGIC, HEADER_BYTES
from writebuffer.file.salvage import MARGIN

SEQUENCERS = 2
ROWS = 20
WRITES = 5
ONE = SequencerId(1)


def write(cluster: ProcessCluster, first: int) -> tuple[int, str]:
    """Status and body of one write of ROWS rows, in series on both sequencers."""
    lines = "\n".join(f"m,host=h{n % 7} f={n} {n + 1}" for n in range(first, first + ROWS))
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=40)
    try:
        connection.request("POST", "/api/v2/write?bucket=lost", lines.encode())
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def store(cluster: ProcessCluster) -> ObjectStore:
    return open_store(f"file://{cluster.data}/store")


def values(cluster: ProcessCluster) -> set[int]:
    rows = query("SELECT f FROM m", "lost", store(cluster), SEQUENCERS, timeout_s=30)
    return {int(value) for value in rows.column("f").to_pylist()}


def salvage(cluster: ProcessCluster, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", "log", "salvage", str(cluster.data), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def flip(segment: Path, batch: int) -> None:
    """A byte in the body of that batch."""
    data = bytearray(segment.read_bytes())
    at = 0
    for _ in range(batch + 1):
        at = data.index(BATCH_MAGIC, at) + HEADER_BYTES
    data[at + 50] ^= 1
    segment.write_bytes(data)


def segments(log: Path) -> list[Path]:
    """Those with records, of sequencer 1."""
    return [path for path in sorted((log / "001").glob("*.log")) if BATCH_MAGIC in path.read_bytes()]


def a_record_in_the_middle(log: Path) -> None:
    flip(segments(log)[-1], 1)


def a_persisted_record(log: Path) -> None:
    flip(segments(log)[0], 0)


def the_tail(log: Path) -> None:
    """Of the newest segment, from within its third batch on."""
    newest = segments(log)[-1]
    data = newest.read_bytes()
    at = 0
    for _ in range(3):
        at = data.index(BATCH_MAGIC, at) + 1
    newest.write_bytes(data[: at + 20])


def the_folder(log: Path) -> None:
    (log / "001").rename(log.with_name("moved"))


def its_files(log: Path) -> None:
    for path in (log / "001").iterdir():
        path.unlink()


def buffered(cluster: ProcessCluster) -> int:
    return sum(cluster.get(name, "/status")["rows_buffered"] for name in cluster.names[1:])


def in_the_log(cluster: ProcessCluster) -> dict[int, set[int]]:
    """The values in each record of sequencer 1, by offset."""
    found = {}
    for offset, record in read_all(FileBackend(str(cluster.data / "log")), 1):
        [rows] = decode(record.payload).tables.values()
        found[offset] = {int(value) for value in rows.column("f").to_pylist()}
    return found


def written(cluster: ProcessCluster) -> dict[int, set[int]]:
    """A record that is persisted, then WRITES that only the log has, one after the other; then all are killed.

    Returns what `in_the_log` does.
    """
    cluster.start(*cluster.names)
    assert write(cluster, 0)[0] == 204
    wait_until(lambda: buffered(cluster), holds=lambda rows: rows == ROWS, what="the rows are applied")
    cluster.stop()  # persists what is applied; what is not by then stays in the log
    cluster.start(*cluster.names)
    for number in range(1, 1 + WRITES):
        assert write(cluster, number * ROWS)[0] == 204
    rows_then = ROWS * WRITES
    wait_until(lambda: buffered(cluster), holds=lambda rows: rows == rows_then, what="the rows are applied")
    assert values(cluster) == set(range(ROWS + rows_then))
    records = in_the_log(cluster)
    for name in cluster.names:
        cluster.kill(name)
    return records


@pytest.mark.parametrize(
    ("lose", "code", "lost", "goes_on_at"),
    [
        (a_record_in_the_middle, 5, [2], 1 + WRITES),
        (the_tail, 5, [3, 4, 5], 1 + WRITES),
        (the_folder, 4, range(1, 1 + WRITES), 1 + MARGIN),
        (its_files, 4, range(1, 1 + WRITES), 1 + MARGIN),
        (a_persisted_record, 5, [], 1 + WRITES),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_damaged_log_is_salvaged_and_only_what_cannot_be_read_is_lost(
    tmp_path: Path, lose: Callable[[Path], None], code: int, lost: Sequence[int], goes_on_at: int
) -> None:
    """Nobody writes into it before; then only rows of unreadable, unpersisted records are gone, and none is twice."""
    cluster = ProcessCluster(tmp_path, SEQUENCERS, CALM, retention={})
    with cluster.held():
        records = written(cluster)
        lose(cluster.data / "log")
        cluster.spawn("router")
        assert cluster.wait("router", 30) == code
        assert "penstock log salvage" in cluster.log("router")

        looked = salvage(cluster, "--json")
        assert looked.returncode == 5, looked.stderr
        whole, damaged = json.loads(looked.stdout)
        assert whole["whole"]
        assert damaged["next_offset"] == goes_on_at
        gone = [offset for first, end in damaged["lost_for_good"] for offset in range(first, end)]
        assert set(gone) <= set(lost), "what nobody knows of is not named"
        done = salvage(cluster, "--accept-loss")
        assert done.returncode == 0, done.stderr
        assert salvage(cluster).returncode == 0
        if lost:
            assert "Start the cluster once with --accept-loss" in done.stdout
            cluster.spawn("ingester-1")
            assert cluster.wait("ingester-1", 30) == 2
            cluster.environment = {"PENSTOCK_ACCEPT_LOSS": "true"}
        else:
            assert "Nothing is lost: start the cluster" in done.stdout
        cluster.start(*cluster.names)
        cluster.environment = {}

        kept = set(range(ROWS * (1 + WRITES))) - set().union(*(records[offset] for offset in lost))
        assert write(cluster, ROWS * (1 + WRITES))[0] == 204
        expected = kept | set(range(ROWS * (1 + WRITES), ROWS * (2 + WRITES)))
        assert values(cluster) == expected
        for name in cluster.names:
            cluster.kill(name)
        cluster.start(*cluster.names)  # the gap is on record: no flag
        assert values(cluster) == expected
        wait_until(lambda: len(expected) - ROWS - buffered(cluster), holds=lambda n: n <= 0, what="all is applied")
        cluster.stop()

        states = [run(manifest.load(SequencerId(number)), store(cluster)) for number in range(SEQUENCERS)]
        assert len(states[1].gaps) == (1 if lost else 0)
        assert sum(state.accounts.stored for state in states) == len(expected)
        assert sum(state.accounts.overwritten + state.accounts.dead for state in states) == 0
        assert max(in_the_new_log(cluster)) >= goes_on_at


def in_the_new_log(cluster: ProcessCluster) -> list[int]:
    return [offset for offset, _ in read_all(FileBackend(str(cluster.data / "log")), 1)]


def test_a_buffer_deleted_under_a_router_is_503_with_its_reason(tmp_path: Path) -> None:
    """No 500, no trace; the router ends with 4 and does not make another buffer."""
    with ProcessCluster(tmp_path, SEQUENCERS, CALM) as cluster:
        assert write(cluster, 0)[0] == 204
        (cluster.data / "log").rename(cluster.data / "log.away")
        status, body = write(cluster, ROWS)
        assert status == 503
        assert "the buffer was deleted since this writer opened it" in json.loads(body)["message"]
        assert cluster.wait("router", 30) == 4
        assert "Traceback" not in cluster.log("router")
        cluster.spawn("router")
        assert cluster.wait("router", 30) == 4
        assert not (cluster.data / "log").exists()
        (cluster.data / "log.away").rename(cluster.data / "log")
        cluster.start("router")
        assert write(cluster, ROWS)[0] == 204
