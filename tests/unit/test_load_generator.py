"""Generated load: the lines and the run that sends them."""

import itertools
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from common.values.clock import SystemClock
from common.values.errors import InvalidRequest, Unavailable
from penstock.cli import cli
from penstock.writing.client import Written
from penstock.writing.devops import INTERVAL_S, TABLES, Counter, DevopsLines
from penstock.writing.load import LoadRun, Plan, quantile
from tests.support.ports import free_ports
from tests.support.stub_router import StubAnswer, stub_router
from tests.support.wait import wait_until

START_NS = 1_700_000_000 * 10**9
SMALL = ["load", "--rows", "50", "--series", "4", "--start", "2023-11-14T22:13:20Z"]
LINE = re.compile(rb"(\w+),((?:\w+=[^,= ]+,?)+) ((?:\w+=-?[0-9.]+i?,?)+) (\d+)")


def plan(**changes: object) -> Plan:
    values: dict[str, object] = {
        "seed": 1,
        "series": 4,
        "workers": 1,
        "rate": 0.0,
        "rows": 100,
        "seconds": None,
        "batch_rows": 30,
        "start_ns": START_NS,
    }
    return Plan(**{**values, **changes})  # type: ignore[arg-type]


def take(count: int, **changes: int) -> list[bytes]:
    defaults = {"seed": 1, "hosts": 4, "start_ns": START_NS}
    return list(itertools.islice(DevopsLines(**{**defaults, **changes}).lines(), count))


@settings(max_examples=20)
@given(st.integers(0, 2**40), st.integers(1, 700), st.integers(1, 3))
def test_the_same_seed_gives_the_same_lines(seed: int, hosts: int, workers: int) -> None:
    """Lines are a function of seed, hosts, worker and start; another seed gives others."""
    workers = min(workers, hosts)
    asked = {"seed": seed, "hosts": hosts, "workers": workers, "worker": workers - 1}
    lines = take(20, **asked)
    assert lines == take(20, **asked)
    assert lines != take(20, **{**asked, "seed": seed + 1})


def test_lines_have_the_devops_shape() -> None:
    """Nine tables, ten tags, about 200 columns, about 400 bytes a line, every line valid and every row's key unique."""
    lines = take(4 * len(TABLES) * 100)
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches)
    keys = {(match[1], match[2], match[4]) for match in matches if match}
    assert len(keys) == len(lines)
    tables = {match[1].decode(): match for match in matches if match}
    assert list(tables) == [table.name for table in TABLES]
    assert all(match[2].count(b"=") == 10 for match in tables.values())
    columns = sum(len(table.fields) + 11 for table in TABLES)
    assert 195 <= columns <= 205
    assert 380 <= sum(map(len, lines)) / len(lines) <= 450


def test_counters_only_grow_and_time_goes_on_by_the_interval() -> None:
    """What a dashboard would take the rate of never falls, over blocks too."""
    table = next(table for table in TABLES if table.name == "net")
    rows = [line for line in take(9 * 1500, hosts=1) if line.startswith(b"net,")]
    times = [int(row.rsplit(b" ", 1)[1]) for row in rows]
    assert times == [START_NS + n * INTERVAL_S * 10**9 for n in range(1500)]
    counters = [field.name for field in table.fields if isinstance(field, Counter)]
    for name in counters:
        values = [int(re.search(rb"%s=(\d+)i" % name.encode(), row)[1]) for row in rows]  # type: ignore[index]
        assert values == sorted(values)
        assert values[-1] > values[0]


def test_workers_share_out_the_hosts() -> None:
    """Together they write every host once, each with the same tags from any worker."""
    alone = {line.split(b" ")[0] for line in take(10 * len(TABLES), hosts=10)}
    shared = [
        {line.split(b" ")[0] for line in take(5 * len(TABLES), hosts=10, workers=2, worker=worker)}
        for worker in range(2)
    ]
    assert shared[0] | shared[1] == alone
    assert not shared[0] & shared[1]


@settings(max_examples=20)
@given(st.integers(1, 500), st.integers(1, 4), st.integers(1, 60))
def test_a_plan_sends_exactly_its_rows(rows: int, workers: int, batch_rows: int) -> None:
    """The workers' shares add up to --rows, in batches no larger than asked for."""
    asked = plan(rows=rows, workers=workers, batch_rows=batch_rows)
    batches = [batch for worker in range(workers) for batch in asked.batches(worker)]
    assert sum(batch.rows for batch in batches) == rows
    assert all(batch.rows <= batch_rows and batch.body.count(b"\n") == batch.rows for batch in batches)


def test_a_run_counts_what_it_sent() -> None:
    """Rows, refusals and retries in the figures are those of the answers; bytes are of what was stored."""
    bodies: list[bytes] = []
    lock = threading.Lock()

    def send(body: bytes) -> Written:
        with lock:
            bodies.append(body)
        return Written("1:0=1", refused_count=1, attempts=2)

    advanced: list[int] = []
    figures = LoadRun(plan(workers=2), lambda worker: send, SystemClock(), advanced.append).run()
    assert figures.rows == 100 - len(bodies)
    assert figures.refused == figures.retries == len(bodies) == len(figures.latencies_s)
    assert 0 < figures.bytes < sum(map(len, bodies))
    assert sum(advanced) == 100
    assert figures.errors == []


def test_an_error_ends_its_worker_and_is_reported() -> None:
    """A router that stays away is an error of the run, not a hang and not a traceback."""

    def send(body: bytes) -> Written:
        raise Unavailable("the router is away")

    figures = LoadRun(plan(), lambda worker: send, SystemClock(), lambda rows: None).run()
    assert figures.errors == ["the router is away"]
    assert figures.rows == 0


def test_what_is_no_error_of_the_router_ends_the_run_and_is_raised() -> None:
    """A worker's failure reaches the caller of run; it is neither lost in its thread nor counted as figures."""

    def send(body: bytes) -> Written:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        LoadRun(plan(), lambda worker: send, SystemClock(), lambda rows: None).run()


def test_ctrl_c_is_130_and_reports_what_was_sent() -> None:
    """The figures of an interrupted run are printed, and the exit code is the shell's own for Ctrl-C."""
    with stub_router(lambda number, body: StubAnswer(token="1:0=1")) as router:
        arguments = ["load", "--seconds", "60", "--rate", "50", "--batch-rows", "10", "--url", router.url, "--json"]
        load = subprocess.Popen([sys.executable, "-m", "penstock", *arguments], stdout=subprocess.PIPE)
        wait_until(lambda: len(router.bodies) >= 2, what="two batches sent")
        load.send_signal(signal.SIGINT)
        printed, _ = load.communicate(timeout=30)
    assert load.returncode == 130
    report = json.loads(printed)
    assert report["rows"] >= 10
    assert report["errors"] == ["stopped by Ctrl-C"]


def test_a_rate_spreads_the_rows_over_time() -> None:
    """100 rows at 500 rows/s in batches of 25: the last is sent no earlier than 0.15 s after the first."""
    figures = LoadRun(
        plan(rate=500.0, batch_rows=25), lambda worker: lambda body: Written(""), SystemClock(), lambda rows: None
    ).run()
    assert figures.rows == 100
    assert figures.seconds >= 0.15


def test_seconds_end_a_run_without_rows() -> None:
    """A run without a number of rows ends when its time is over, also while it waits for its rate."""
    asked = plan(rows=None, seconds=0.2, rate=50.0, batch_rows=5)
    figures = LoadRun(asked, lambda worker: lambda body: Written(""), SystemClock(), lambda rows: None).run()
    assert figures.rows <= 15
    assert 0.15 <= figures.seconds < 5


@pytest.mark.parametrize("name", ["series", "workers", "batch_rows"])
def test_a_plan_of_nothing_is_refused(name: str) -> None:
    """A zero that would send nothing, or wait for ever, is named."""
    with pytest.raises(InvalidRequest, match=f"--{name.replace('_', '-')} is 0"):
        plan(**{name: 0})


def test_more_workers_than_hosts_are_refused() -> None:
    """A worker without a host would have nothing to say."""
    with pytest.raises(InvalidRequest, match="--workers 5 is above --series 4"):
        plan(workers=5)


def test_quantiles_are_by_nearest_rank() -> None:
    """p50 and p99 of 1..100 are what one counts to; of nothing they are 0."""
    values = [float(n) for n in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([], 0.5)) == (51.0, 100.0, 0.0)


def test_the_command_reports_and_sends_what_the_generator_gives() -> None:
    """`penstock load --json` sends the seed's lines and prints the figures."""
    with stub_router(lambda number, body: StubAnswer(token="1:0=1")) as router:
        arguments = [*SMALL, "--batch-rows", "20", "--namespace", "bench", "--url", router.url, "--json"]
        result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert b"".join(router.bodies).splitlines() == take(50)
    assert router.requests[0][0] == "/api/v2/write?bucket=bench&precision=ns"
    report = json.loads(result.stdout)
    assert (report["rows"], report["batches"], report["errors"]) == (50, 3, [])
    assert 0 < report["p50_ms"] <= report["p99_ms"]


def test_refused_rows_and_their_bytes_are_in_no_rate() -> None:
    """What is reported as rows/s and MB/s was acknowledged; the bytes of a body are shared out among its rows."""
    run = plan(rows=30)
    size = len(next(iter(run.batches(0))).body)

    def send(body: bytes) -> Written:
        return Written("1:0=1", refused_count=10)

    figures = LoadRun(run, lambda worker: send, SystemClock(), lambda rows: None).run()
    assert (figures.rows, figures.refused, figures.bytes) == (20, 10, size * 20 // 30)
    figures.seconds = 2.0
    report = figures.report()
    assert (report["rows_per_s"], report["mb_per_s"]) == (10.0, round(figures.bytes / 2e6, 3))


def test_one_of_each_has_no_plural(tmp_path: Path) -> None:
    """Row, batch, retry and error are counted as one says it."""
    result = CliRunner().invoke(cli, ["load", "--rows", "1", "--series", "1", "--output", str(tmp_path / "lines.lp")])
    assert result.stderr.startswith("1 row written in ")
    assert "1 batch: p50" in result.stderr
    assert "0 rows refused, 0 retries, 0 errors" in result.stderr


def test_a_router_that_is_away_is_exit_code_3() -> None:
    """`load` ends with the same code as `write` does for the same reason, and still prints its figures."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    result = CliRunner().invoke(cli, [*SMALL, "--url", url, "--timeout", "0"])
    assert result.exit_code == 3, result.output
    assert result.stdout.startswith("0 rows acknowledged in")
    assert f"penstock: error: {url}: Connection refused" in result.stderr


def test_a_file_that_cannot_be_written_is_the_callers_to_correct(tmp_path: Path) -> None:
    """Before anything is generated, with the option's name."""
    result = CliRunner().invoke(cli, [*SMALL, "--output", str(tmp_path / "nowhere" / "lines.lp")])
    assert result.exit_code == 2
    assert "'--output'" in result.stderr


def test_the_lines_can_go_to_a_file_instead(tmp_path: Path) -> None:
    """--output writes the same lines and sends nothing; the figures go to stderr so that - stays clean."""
    file = tmp_path / "lines.lp"
    result = CliRunner().invoke(cli, [*SMALL, "--output", str(file)])
    assert result.exit_code == 0, result.output
    assert file.read_bytes().splitlines() == take(50)
    assert result.stdout == ""
    assert "50 rows written in" in result.stderr
