"""Unmodified clients write to a real cluster, and queries read back equal values."""

import gzip
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from influxdb import InfluxDBClient as ClientV1
from influxdb_client import InfluxDBClient, Point, WriteOptions
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client_3 import InfluxDBClient3, write_client_options
from influxdb_client_3 import Point as Point3
from influxdb_client_3 import WriteOptions as WriteOptions3
from influxdb_client_3.write_client.client.write_api import WriteType

from common.store.opening import open_store
from penstock.query.query import query
from tests.support.api_page import PAGE
from tests.support.process_cluster import CALM, ProcessCluster
from tests.support.telegraf import DONE, OUTPUTS, Output

SEQUENCERS = 2
TIME_NS = 1_767_225_600_123_456_789
FIELDS: dict[str, Any] = {"f": 0.1 + 0.2, "i": 2**63 - 1, "s": 'say "q", a=b \\ ünï', "b": True, "z": -5e-324}
TAGS = {"host": "a b,c=d ünï", "region": "eu"}
LINE = rb"m,host=a\ b\,c\=d\ " + "ünï".encode() + rb",region=eu f=0.30000000000000004,i=9223372036854775807i,"
LINE += rb's="say \"q\", a=b \\ ' + "ünï".encode() + b'",b=true,z=-5e-324 1767225600123456789'
"""The same as line protocol."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    with ProcessCluster(tmp_path_factory.mktemp("clients"), SEQUENCERS, CALM) as running:
        yield running


def read(cluster: ProcessCluster, namespace: str, sql: str) -> list[dict[str, Any]]:
    store = open_store(f"file://{cluster.data}/store")
    rows: list[dict[str, Any]] = query(sql, namespace, store, SEQUENCERS, timeout_s=30).to_pylist()
    return rows


def check(cluster: ProcessCluster, namespace: str, count: int = 1, time_ns: int = TIME_NS, **other: Any) -> None:
    """`count` rows with the values above, ns apart; other: fields that differ."""
    rows = read(cluster, namespace, "SELECT epoch_ns(time) AS ns, * EXCLUDE time FROM m ORDER BY 1")
    assert rows == [{"ns": time_ns + number, **TAGS, **FIELDS, **other} for number in range(count)]


def url(cluster: ProcessCluster) -> str:
    return f"http://127.0.0.1:{cluster.port}"


def point(kind: Any, time_ns: int = TIME_NS) -> Any:
    made = kind("m").time(time_ns)
    for name, value in TAGS.items():
        made = made.tag(name, value)
    for name, value in FIELDS.items():
        made = made.field(name, value)
    return made


@pytest.mark.parametrize("zipped", [False, True])
def test_influxdb_client_synchronously(cluster: ProcessCluster, zipped: bool) -> None:
    """influxdb-client, plain and gzip."""
    with InfluxDBClient(url(cluster), token="t", org="o", enable_gzip=zipped) as client:
        client.write_api(write_options=SYNCHRONOUS).write(f"sync-{zipped}", record=point(Point))
    check(cluster, f"sync-{zipped}")


def test_influxdb_client_in_batches(cluster: ProcessCluster) -> None:
    """Its default: batches in the background."""
    with InfluxDBClient(url(cluster), token="t", org="o") as client:
        with client.write_api(write_options=WriteOptions(batch_size=70)) as write:
            for number in range(200):
                write.write("batches", record=point(Point, TIME_NS + number))
    check(cluster, "batches", 200)


@pytest.mark.parametrize("use_v2_api", [True, False])
def test_influxdb3_python(cluster: ProcessCluster, use_v2_api: bool) -> None:
    """By its default path and by InfluxDB 3's own."""
    options = WriteOptions3(write_type=WriteType.synchronous, use_v2_api=use_v2_api)
    name = f"v3-{use_v2_api}"
    with InfluxDBClient3(
        host=url(cluster), token="t", database=name, write_client_options=write_client_options(write_options=options)
    ) as client:
        client.write(point(Point3))
    check(cluster, name)


@pytest.mark.parametrize("zipped", [False, True])
def test_influxdb_of_version_1(cluster: ProcessCluster, zipped: bool) -> None:
    """influxdb-python: points as dicts; its database is created, and listed."""
    client = ClientV1("127.0.0.1", cluster.port, "user", "secret", f"v1-{zipped}", gzip=zipped)
    client.create_database(f"v1-{zipped}")
    assert client.write_points([{"measurement": "m", "tags": TAGS, "time": TIME_NS, "fields": FIELDS}])
    assert {"name": f"v1-{zipped}"} in client.get_list_database()
    client.close()
    check(cluster, f"v1-{zipped}")


@pytest.mark.parametrize("output", OUTPUTS, ids=[output.name for output in OUTPUTS])
def test_telegrafs_outputs(cluster: ProcessCluster, output: Output) -> None:
    """What each sends at its start and with a batch."""
    assert output.start(cluster.port) in (None, 200)
    assert output.write(cluster.port, f"telegraf-{output.name}", LINE + b"\n") == DONE
    check(cluster, f"telegraf-{output.name}")


CURL = {
    "v1": ["/write?db={}", "--data-binary", "@{file}"],
    "v2": ["/api/v2/write?bucket={}", "--data-binary", "@{file}"],
    "v3": ["/api/v3/write_lp?db={}", "--data-binary", "@{file}"],
    "gzip": ["/api/v2/write?bucket={}", "-H", "Content-Encoding: gzip", "--data-binary", "@{file}.gz"],
    "chunked": ["/api/v2/write?bucket={}", "-X", "POST", "-H", "Transfer-Encoding: chunked", "-T", "{file}"],
    "1.0": ["/api/v2/write?bucket={}", "--http1.0", "--data-binary", "@{file}"],
}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("how", CURL)
def test_curl(cluster: ProcessCluster, how: str, tmp_path: Path) -> None:
    """A file, by each API, plain, gzip, in chunks and by HTTP/1.0."""
    file = tmp_path / "lines"
    file.write_bytes(LINE)
    file.with_suffix(".gz").write_bytes(gzip.compress(LINE))
    target, *options = [part.format(f"curl-{how}", file=file) for part in CURL[how]]
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url(cluster) + target, *options]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "204"
    check(cluster, f"curl-{how}")


def test_pyarrow_reads_back_what_it_wrote(cluster: ProcessCluster) -> None:
    """Every column type, by an Arrow stream."""
    names = {**TAGS, **FIELDS}
    columns = {name: pa.array([value, value]) for name, value in names.items()}
    columns |= {name: columns[name].dictionary_encode() for name in TAGS}
    columns |= {
        "u": pa.array([2**64 - 1] * 2, pa.uint64()),
        "time": pa.array([TIME_NS, TIME_NS + 1], pa.timestamp("ns")),
    }
    rows = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    target = f"{url(cluster)}/api/v3/write_arrow?db=arrow&table=m"
    post(target, sink.getvalue().to_pybytes())
    check(cluster, "arrow", 2, u=2**64 - 1)


def post(target: str, body: bytes) -> None:
    request = urllib.request.Request(target, body, {"Content-Type": "application/vnd.apache.arrow.stream"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 204


def test_the_pages_example_of_arrow_works(cluster: ProcessCluster) -> None:
    """As docs/api.md has it, typed by somebody."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    code = example.replace("8086", str(cluster.port)).replace("db=metrics", "db=example")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert read(cluster, "example", "SELECT city, temperature FROM weather ORDER BY 1") == [
        {"city": "Basel", "temperature": 21.5},
        {"city": "Bern", "temperature": 19.0},
    ]
