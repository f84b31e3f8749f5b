"""`penstock up` on IPv6, on every address, and with other hosts for the router than for the ingesters."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.up_process import ROOT, Up

LINE = b"weather,city=Basel temperature=21.5 1700000000000000000\n"


@pytest.fixture(
    params=[
        (("--host", "::1"), "::1", "::1", "http://[::1]:"),
        (("--host", "::"), "::", "::", "http://[::1]:"),
        (("--router-host", "0.0.0.0", "--ingester-host", "::1"), "0.0.0.0", "::1", "http://127.0.0.1:"),
        (("--host", "localhost"), "127.0.0.1", "127.0.0.1", "http://localhost:"),
    ],
    ids=lambda case: " ".join(case[0]),
)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Up, str, str, str]]:
    options, router_host, ingester_host, url = request.param
    if any(":" in option for option in options) and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback address")
    up = Up(tmp_path, *options)
    yield up, router_host, ingester_host, url
    up.end()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def penstock(*arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", *arguments], input=stdin, capture_output=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def listening(child: psutil.Process) -> set[str]:
    """gRPC binds IPv4 addresses by sockets of IPv6."""
    return {
        one.laddr.ip.removeprefix("::ffff:") for one in child.net_connections("tcp") if one.status == psutil.CONN_LISTEN
    }


def test_a_cluster_is_written_to_queried_and_stopped_at_its_hosts(case: tuple[Up, str, str, str]) -> None:
    """Every address that is bound, printed, probed, or named in the manifest leads to its process."""
    up, router_host, ingester_host, url_start = case
    url = up.wait_ready()
    assert url.startswith(url_start)
    written = penstock("write", "-", "--namespace", "metrics", "--url", url, "--json", stdin=LINE)
    token = json.loads(written)["token"]
    data = ("--data", str(up.data))
    rows = penstock("query", "SELECT temperature FROM weather", "--namespace", "metrics", "--token", token, *data)
    assert "21.5" in rows
    [status] = json.loads(penstock("status", "--json", *data))
    assert status["state"] == "live"
    found = [hosts for child in sorted(up.children, key=lambda child: child.pid) if (hosts := listening(child))]
    assert found == [{router_host}, {ingester_host}]
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0, up.log.read_text()
