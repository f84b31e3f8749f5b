"""What README.md and docs/reading-files.md have a newcomer type works: clients write, plain readers read."""

import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from common.store.opening import open_store
from penstock.query.query import query
from tests.support.process_cluster import CALM, ProcessCluster

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs/reading-files.md")


def blocks(language: str, cluster: ProcessCluster) -> list[str]:
    """The pages' code blocks of one language, pointed at the test's cluster."""
    text = "".join(page.read_text() for page in PAGES)
    found = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return [block.replace("8086", str(cluster.port)).replace("penstock-data", str(cluster.data)) for block in found]


LATER = """weather,city=Chur temperature=12,clouds=1152921504606846977i,clear=true 1577836800000000001
weather,city=Lugano Temperature=55 1580515200000000000"""
"""Rows of other days, so in files of their own: one has columns that the first files lack, one a column that differs
from `temperature` in case only."""

CHECKS = {
    "duckdb": """
assert [name.lower() for name in rows.columns] == ["time", "city", "clear", "clouds", "temperature"], rows.columns
late = duckdb.sql("SELECT typeof(clouds), max(clouds), bool_or(clear), count(*) FROM rows GROUP BY ALL").fetchall()
assert late == [("BIGINT", 2**60 + 1, True, 5)], late
times = duckdb.sql(
    "SELECT city, date_trunc('day', time) <= now(), epoch_ns(time::TIMESTAMP_NS - INTERVAL 1 DAY) FROM rows "
    "WHERE time BETWEEN '2020-01-01' AND now() ORDER BY time LIMIT 1").fetchall()
assert times == [("Chur", True, 1577836800000000001 - 86400 * 10**9)], times
mixed = duckdb.sql("SELECT temperature FROM rows WHERE city = 'Lugano'").fetchall()
assert mixed == [(55.0,)], mixed  # as the page warns: delete the warning where this is no longer so
""",
    "duckdb, pyarrow": """
assert [name.split()[0] for name in rows.columns] == schema.names, rows.columns
place = {name: f'"{name} {number}"' for number, name in enumerate(schema.names)}
columns = ", ".join(place[name] for name in ("city", "temperature", "Temperature"))
found = duckdb.sql(f"SELECT {columns} FROM rows WHERE {place['time']} < '2021-01-01' ORDER BY 1").fetchall()
assert found == [("Chur", 12.0, None), ("Lugano", None, 55.0)], found
""",
    "pyarrow": """
found = sorted(rows.to_table().to_pylist(), key=lambda row: row["time"])[:2]
assert found[0].pop("time").value == 1577836800000000001
assert found[0] == {"city": "Chur", "temperature": 12.0, "Temperature": None, "clouds": 2**60 + 1, "clear": True}, found
assert (found[1]["temperature"], found[1]["Temperature"]) == (None, 55.0), found
""",
    "pandas": """
assert rows.dtypes["clouds"] == "int64[pyarrow]", rows.dtypes
assert rows.dtypes["clear"] == "bool[pyarrow]", rows.dtypes
first, second = rows.sort_values("time").head(2).to_dict("records")
assert (first["clouds"], first["temperature"], second["Temperature"]) == (2**60 + 1, 12.0, 55.0), (first, second)
assert pandas.isna(first["Temperature"]) and pandas.isna(second["temperature"]), (first, second)
""",
    "polars": """
first, second = rows.sort("time").head(2).drop("time").to_dicts()
assert first == {"city": "Chur", "temperature": 12.0, "Temperature": None, "clouds": 2**60 + 1, "clear": True}, first
assert (second["temperature"], second["Temperature"]) == (None, 55.0), second
""",
}
"""By what a recipe imports: that its `rows` are all rows with all columns."""


def imported(block: str) -> str:
    return ", ".join(sorted(set(re.findall(r"^import (duckdb|pyarrow|pandas|polars)\b", block, flags=re.MULTILINE))))


def write(cluster: ProcessCluster, lines: str) -> None:
    url = f"http://127.0.0.1:{cluster.port}/api/v2/write?bucket=metrics"
    with urllib.request.urlopen(url, data=lines.encode(), timeout=60) as answer:
        assert answer.status == 204


def python(block: str) -> str:
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{block}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_readme_writes_and_reads(tmp_path: Path) -> None:
    """curl, influxdb-client and influxdb3-python each add their row; each recipe reads all of them from files."""
    cluster = ProcessCluster(tmp_path, 4, CALM)
    with cluster:
        curl = next(line for block in blocks("sh", cluster) for line in block.splitlines() if line.startswith("curl"))
        answer = subprocess.run(curl, shell=True, capture_output=True, text=True, timeout=60, check=True).stdout
        assert answer.startswith("HTTP/1.1 204")
        code = blocks("python", cluster)
        writers = [block for block in code if "influxdb_client" in block]
        readers = [block for block in code if "parquet" in block]
        assert len(writers) == 2
        assert sorted(map(imported, readers)) == sorted(CHECKS)
        for block in writers:
            python(block)
        store = open_store(f"file://{cluster.data}/store")
        rows = query("SELECT city, temperature FROM weather ORDER BY 1, 2", "metrics", store, 4, timeout_s=30)
        assert rows.to_pylist() == [
            {"city": "Basel", "temperature": 21.5},
            {"city": "Basel", "temperature": 21.5},
            {"city": "Bern", "temperature": 19.0},
        ]
        write(cluster, LATER)
        cluster.stop()
        for block in readers:
            output = python(block + CHECKS[imported(block)])
            assert "Basel" in output, output
            assert "Bern" in output, output
