"""A real `penstock up` as a process of its own, and what it left running."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]


class Up:
    """`penstock up` with one sequencer on free ports; its output goes to files in `folder`."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.data = folder / "data"
        self.output = folder / "stdout"
        self.log = folder / "stderr"
        arguments = ["--data", str(self.data), "--sequencers", "1", *more]
        for option in ("--port", "--http-port", "--flight-port"):
            arguments += [option, "0"]
        with self.output.open("wb") as output, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "up", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                cwd=ROOT,
            )
        self.children: list[psutil.Process] = []

    def wait_ready(self) -> str:
        """The router's URL."""

        def look() -> str:
            assert self.process.poll() is None, f"up ended with {self.process.returncode}:\n{self.log.read_text()}"
            return self.output.read_text()

        text = wait_until(look, holds=lambda text: "penstock is ready" in text, timeout_s=60, what="a ready cluster")
        self.children = psutil.Process(self.process.pid).children(recursive=True)
        assert len(self.children) >= 2
        found = re.search(r"router +(http://\S+)", text)
        assert found is not None
        return found[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Leave no process running, also after a failed test."""
        self.kill()
        for child in filter(psutil.Process.is_running, self.children):
            os.kill(child.pid, signal.SIGKILL)
