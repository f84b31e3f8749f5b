"""The offsets of a sequencer have one name each, wherever people see them."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.process_cluster import CALM, ProcessCluster
from tests.support.wait import wait_until


def text(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return str(answer.read().decode())


def test_persisted_applied_and_next_are_called_so_in_status_page_metrics_and_log(tmp_path: Path) -> None:
    """`penstock status`, an ingester's /status, its page and its metrics say the same of each by the same word."""
    with ProcessCluster(tmp_path, 1, CALM) as cluster:
        urllib.request.urlopen(f"http://127.0.0.1:{cluster.port}/api/v2/write?bucket=b", b"m f=1 1", timeout=30).close()
        wait_until(lambda: cluster.get("ingester-0", "/status")["applied_offset"], holds=lambda at: at == 1)
        expected = {"persisted": 0, "applied": 1, "next": 1}
        command = [sys.executable, "-m", "penstock", "status", "--data", str(cluster.data), "--json"]
        (line,) = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
        assert {name: line[name] for name in expected} == expected
        port = cluster.http_port("ingester-0")
        values = json.loads(text(port, "/status"))
        assert {name: values[f"{name}_offset"] for name in expected} == expected
        metrics = dict(re.findall(r'^penstock_ingester_offset\{kind="(\w+)"\} ([\d.]+)$', text(port, "/metrics"), re.M))
        assert {name: float(value) for name, value in metrics.items()} == expected
        page = text(port, "/")
        assert all(f"<td>{name} offset</td>" in page for name in expected)
        assert "persisted_offset=0" in cluster.log("ingester-0")
        assert "replay" not in page + text(port, "/metrics").replace("rows_replayed", "")
