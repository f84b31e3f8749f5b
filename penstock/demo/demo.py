"""The whole path on a real cluster in a scratch folder, shown and checked step by step.

Live metrics go in through the unmodified influxdb-client and a burst through `penstock load`; the rows are read by SQL,
an ingester is killed, the same rows are read again, its sequencer is replayed without changing anything, and after an
ordered stop the same rows are in Parquet files. One of these is deleted, and a replay brings its rows back. Every step
runs the commands a user would run; DemoFailed says which one failed.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import click
import psutil

from common.values.config import ClusterConfig, IngesterConfig, RouterConfig, to_environment
from common.values.errors import Misconfigured, PenstockError
from penstock.cluster import embedded, ports
from penstock.terminal import exit_codes

NAMESPACE = "metrics"
MADE = ("penstock-data", "cluster.log", "cluster.out")
"""In the folder: the cluster's data, its log, and what it printed."""
SQL = (
    "SELECT time, cpu, user_s, system_s FROM live_cpu ORDER BY time DESC, cpu LIMIT 6",
    "SELECT count(*) AS rows, count(DISTINCT hostname) AS hosts, max(time) AS newest FROM cpu",
)
_READY_S = 90.0
_APPLIED_S = 30.0
_STOP_S = 180.0
_COMMAND_S = 120.0
_LOG_TAIL = 30


class DemoFailed(PenstockError):
    """A step did not show what it should."""


def run(folder: Path, *, samples: int, load_rows: int) -> None:
    """samples: looks at this machine, half a second apart. Raises DemoFailed; leaves `folder` to be looked at."""
    with DemoCluster(folder) as cluster:
        _say(f"A cluster is up: {cluster.url}, data in {cluster.data}, log in {cluster.log}")
        _send_live_metrics(cluster.url, samples)
        cluster.shows("load", "--rows", str(load_rows), "--namespace", NAMESPACE, "--url", cluster.url)
        _await_applied(cluster)
        before = [cluster.rows(sql) for sql in SQL]
        _check_burst(cluster, load_rows)
        _kill_an_ingester(cluster)
        _same(before, [cluster.rows(sql) for sql in SQL], "after SIGKILL of an ingester")
        _replay(cluster)
        cluster.stop()
        _same(before, [cluster.rows(sql, "--stored-only") for sql in SQL], "in the files alone")
        _lose_a_file(cluster)
        _same(before, [cluster.rows(sql, "--stored-only") for sql in SQL], "after the replay")
        files = _files(cluster)
        _say(f"{len(files)} Parquet files below {cluster.data}/store/data, the first one {files[0]}")


class DemoCluster:
    """`penstock up` as a process of its own, on free ports."""

    def __init__(self, folder: Path) -> None:
        self.data, self.log, self._output = (folder / name for name in MADE)
        cluster = ClusterConfig(data=str(self.data))
        router, ingester = ports.settle(
            cluster.sequencers, RouterConfig(port=0), IngesterConfig(http_port=0, flight_port=0)
        )
        self.url = embedded.router_url(router)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self._environ = {**inherited, **to_environment(cluster, router, ingester)}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "DemoCluster":
        with self.log.open("wb") as log, self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._command("up"), env=self._environ, stdin=subprocess.DEVNULL, stdout=output, stderr=log
            )
        try:
            self._await_ready(self._process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def rows(self, sql: str, *arguments: str) -> str:
        """The table that a query prints. Waits for an ingester on its way back."""
        return self.shows("query", sql, "--namespace", NAMESPACE, "--timeout", "60", *arguments)

    def shows(self, *arguments: str, fails_with: int = exit_codes.OK) -> str:
        """Run a command of penstock that ends with that exit code, printing the command and what it prints."""
        _say(f"$ penstock {shlex.join(arguments)}")
        shown = self._run(*arguments, fails_with=fails_with)
        click.echo(shown.rstrip())
        return shown

    def answers(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self._run(*arguments))

    def ingester_process(self, sequencer: int) -> psutil.Process:
        assert self._process is not None
        for child in psutil.Process(self._process.pid).children():
            if child.cmdline()[-3:] == ["ingester", "--sequencer", str(sequencer)]:
                return child
        raise DemoFailed(f"no process of ingester {sequencer} runs; see {self.log}")

    def stop(self) -> None:
        """In order, as Ctrl-C would."""
        assert self._process is not None
        _say("Stopping in order: the ingesters persist the rows in their memory")
        self._process.terminate()
        code = self._process.wait(_STOP_S)
        _expect(code == 0, f"the cluster stopped with exit code {code}; see {self.log}")

    def _run(self, *arguments: str, fails_with: int = exit_codes.OK) -> str:
        done = subprocess.run(
            self._command(*arguments),
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        _expect(
            done.returncode == fails_with,
            f"penstock {shlex.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}\n{self._log_tail()}",
        )
        return done.stdout

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        wait_for(
            lambda: process.poll() is not None or b"penstock is ready" in self._output.read_bytes(),
            _READY_S,
            f"the cluster was not ready after {_READY_S:g} s; see {self.log}",
        )
        _expect(process.poll() is None, f"the cluster did not start:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL:])

    def _end(self) -> None:
        """Leave no process running: children stop by themselves once their supervisor is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "penstock", *arguments]


def wait_for(is_so: Callable[[], bool], timeout_s: float, problem: str) -> None:
    """Look every 50 ms. Raises DemoFailed with `problem` at the timeout."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        _expect(time.monotonic() < deadline_s, problem)
        time.sleep(0.05)


def _send_live_metrics(url: str, samples: int) -> None:
    try:
        from influxdb_client.client.influxdb_client import InfluxDBClient
        from influxdb_client.client.write_api import SYNCHRONOUS
    except ImportError:
        raise Misconfigured("the demo writes through influxdb-client: pip install influxdb-client") from None
    from penstock.demo.machine_metrics import sample

    _say(f"Sending this machine's metrics through influxdb-client: {samples} samples")
    points = 0
    with InfluxDBClient(url=url, token="unused", org="unused") as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        for number in range(samples):
            if number:
                time.sleep(0.5)
            batch = sample()
            api.write(bucket=NAMESPACE, record=batch)
            points += len(batch)
    click.echo(f"{points} points acknowledged")


def _await_applied(cluster: DemoCluster) -> None:
    """What was acknowledged is durable; a moment later it is in memory too, and the rows shown are all rows."""

    def no_lag() -> bool:
        return all(status["lag"] == 0 for status in cluster.answers("status", "--json"))

    wait_for(no_lag, _APPLIED_S, f"the ingesters did not catch up within {_APPLIED_S:g} s; see {cluster.log}")


def _check_burst(cluster: DemoCluster, load_rows: int) -> None:
    """One of the nine tables has its share of the rows."""
    sql = "SELECT count(*) AS rows FROM cpu"
    [answer] = cluster.answers("query", sql, "--namespace", NAMESPACE, "--format", "json")
    _expect(0 < answer["rows"] <= load_rows, f"the burst of {load_rows} rows left {answer['rows']} rows in table cpu")


def _kill_an_ingester(cluster: DemoCluster) -> None:
    statuses = cluster.answers("status", "--json")
    busiest = max(statuses, key=lambda status: status["rows_buffered"] or 0)
    _expect(bool(busiest["rows_buffered"]), f"no ingester has rows in memory: {statuses}")
    process = cluster.ingester_process(busiest["sequencer"])
    _say(f"SIGKILL of ingester {busiest['sequencer']} (pid {process.pid}, {busiest['rows_buffered']:,} rows in memory)")
    process.kill()
    process.wait(10)


def _replay(cluster: DemoCluster) -> None:
    busiest = max(cluster.answers("status", "--json"), key=lambda status: status["next"] or 0)
    arguments = ["replay", "--sequencer", str(busiest["sequencer"]), "--from-offset", "0", "--dry-run"]
    cluster.shows(*arguments)
    report = cluster.answers(*arguments, "--json")
    _expect(report["rows"] > 0, f"the replay found no rows: {report}")


def _files(cluster: DemoCluster) -> list[Path]:
    files = sorted((cluster.data / "store" / "data").rglob("*.parquet"))
    _expect(bool(files), f"no Parquet files below {cluster.data}/store/data")
    return files


def _lose_a_file(cluster: DemoCluster) -> None:
    """Delete a file of table cpu by hand: fsck names it, the replay of its sequencer brings its rows back."""
    lost = max((file for file in _files(cluster) if "/cpu/" in file.as_posix()), key=lambda file: file.stat().st_size)
    sequencer = str(int(lost.name.split("-")[0]))
    _say(f"Deleting {lost} by hand")
    lost.unlink()
    replay = ["replay", "--sequencer", sequencer, "--from-offset", "0"]
    named = cluster.shows("fsck", "--sequencer", sequencer, fails_with=exit_codes.CORRUPT)
    _expect(lost.name in named, f"fsck did not name {lost.name}")
    cluster.shows(*replay)
    report = cluster.answers(*replay, "--dry-run", "--diff", "--json")
    _expect(report["partitions_different"] == 0, f"the store is not as the log says: {report}")
    cluster.shows("fsck")


def _same(before: list[str], after: list[str], where: str) -> None:
    for sql, first, second in zip(SQL, before, after, strict=True):
        _expect(first == second, f"other rows {where}: {sql}\nbefore\n{first}\nafter\n{second}")
    _say(f"The same rows {where}.")


def _expect(is_so: bool, problem: str) -> None:
    if not is_so:
        raise DemoFailed(problem)


def _say(text: str) -> None:
    click.echo(f"\n{click.style(text, bold=True)}")
