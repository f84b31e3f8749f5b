"""A router and an ingester whose write buffer is away: they serve, are not ready, say why, and stop in order."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_ports
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]


class Process:
    """One process of a cluster with a Redis that nobody runs."""

    def __init__(self, folder: Path, command: list[str], port_option: str) -> None:
        self.log = folder / "log.txt"
        self._port, nobody = free_ports(2)
        settings = ["--data", str(folder / "data"), "--write-buffer", f"redis://127.0.0.1:{nobody}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "penstock", *command, *settings, port_option, str(self._port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def get(self, path: str) -> tuple[int, dict[str, object]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture(
    params=[
        (["router"], "--port"),
        (["ingester", "--sequencer", "0", "--flight-port", "0"], "--http-port"),
    ],
    ids=["router", "ingester"],
)
def waiting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    started = Process(tmp_path, *request.param)
    yield started
    started.process.kill()
    started.process.wait()


def test_a_process_whose_buffer_is_away_serves_and_stops_in_order(waiting: Process) -> None:
    """Health is answered, ready is 503, each attempt is logged; SIGTERM ends the wait and the process, with 0."""
    status, _ = wait_until(lambda: waiting.get("/ready"), what="an answer")
    assert status == 503
    assert waiting.get("/health")[0] == 200  # to restart it would not bring the buffer back
    wait_until(waiting.log.read_text, holds=lambda text: text.count("retry_in_s=") >= 3, what="three attempts")
    assert waiting.process.poll() is None
    waiting.process.send_signal(signal.SIGTERM)
    assert waiting.process.wait(20) == 0, waiting.log.read_text()
    assert "event=stopped" in waiting.log.read_text()
