"""What the README tells a newcomer to type does what it says: clients write, plain readers read."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.objectstore import open_store
from penstock.query import query
from tests.support.process_cluster import CALM, ProcessCluster

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str, cluster: ProcessCluster) -> list[str]:
    """The README's code blocks of one language, pointed at the test's cluster."""
    text = README.read_text()
    found = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return [block.replace("8086", str(cluster.port)).replace("penstock-data", str(cluster.data)) for block in found]


def python(block: str) -> str:
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{block}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_readme_writes_and_reads(tmp_path: Path) -> None:
    """curl, influxdb-client and influxdb3-python each add their row; DuckDB, Polars and pandas read all from files."""
    cluster = ProcessCluster(tmp_path, 4, CALM)
    with cluster:
        curl = next(line for block in blocks("sh", cluster) for line in block.splitlines() if line.startswith("curl"))
        answer = subprocess.run(curl, shell=True, capture_output=True, text=True, timeout=60, check=True).stdout
        assert answer.startswith("HTTP/1.1 204")
        code = blocks("python", cluster)
        writers = [block for block in code if "influxdb_client" in block]
        readers = [block for block in code if "parquet" in block]
        assert len(writers) == 2
        assert len(readers) == 3
        for block in writers:
            python(block)
        store = open_store(f"file://{cluster.data}/store")
        rows = query("SELECT city, temperature FROM weather ORDER BY 1, 2", "metrics", store, 4, timeout_s=30)
        assert rows.to_pylist() == [
            {"city": "Basel", "temperature": 21.5},
            {"city": "Basel", "temperature": 21.5},
            {"city": "Bern", "temperature": 19.0},
        ]
        cluster.stop()
        for block in readers:
            output = python(block)
            assert "Basel" in output, output
            assert "Bern" in output, output
