"""`penstock replay --dry-run` while a cluster runs: the counts a reader of the log finds, and nothing changed."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from common import entry
from common.values.ids import SequencerId
from tests.support.process_cluster import CALM, ProcessCluster
from tests.support.wait import wait_until
from writebuffer.connect import connect


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_reports_what_the_log_holds_and_changes_nothing(tmp_path: Path) -> None:
    """Records, bytes and rows equal those of an independent walk through the log, from any offset."""
    cluster = ProcessCluster(tmp_path, 1, CALM)
    with cluster:
        for number in range(1, 6):
            lines = "\n".join(f"m,host=h{row} v={row} {number}" for row in range(number * 10))
            url = f"http://127.0.0.1:{cluster.port}/api/v2/write?bucket=b"
            with urllib.request.urlopen(urllib.request.Request(url, lines.encode(), method="POST"), timeout=30) as done:
                assert done.status == 204
        wait_until(lambda: cluster.get("ingester-0", "/status")["applied_offset"], holds=lambda at: at == 5)
        reader = connect(f"file://{cluster.data}/log").open_reader()
        found = reader.cursor(SequencerId(0)).poll(100, 1 << 24, 1.0).records
        before = files(cluster.data)
        for start in (0, 2, 5):
            command = [sys.executable, "-m", "penstock", "replay", "--data", str(cluster.data), "--sequencer", "0"]
            command += ["--from-offset", str(start), "--dry-run", "--json"]
            report = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
            rows = sum(entry.decode_header(one.record.payload).rows for one in found[start:])
            assert report["records"] == len(found) - start
            assert report["bytes"] == sum(len(one.record) for one in found[start:])
            assert (report["rows"], report["rows_unpersisted"], report["rows_persisted"]) == (rows, rows, 0)
        assert files(cluster.data) == before
        reader.close()
        cluster.stop()
