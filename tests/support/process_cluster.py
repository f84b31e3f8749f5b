"""A cluster of real processes that a test starts, kills and starts again one by one.

Each runs the real command line (tests/support/killable.py) with small thresholds, so that appends, persists and commits
happen all the time. Logs go to files in the folder; a failing test shows their ends.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.ports import free_ports
from tests.support.wait import wait_until

BUSY = {
    "late_arrival_window_s": "0.4",
    "persist_age_threshold_s": "0.8",
    "tick_s": "0.1",
}
"""Rows wait under a second: a persist and a commit are never far away."""

TRIMMING = {"keep_age_s": "0", "keep_bytes": "0", "trim_interval_s": "0.3"}
"""What is persisted is trimmed at once, so that a process that still needs it fails the test."""

CALM = {"late_arrival_window_s": "300", "persist_age_threshold_s": "1800"}


class ProcessCluster:
    """Router and ingesters as child processes; `router` and `ingester-N` are their names."""

    def __init__(
        self,
        folder: Path,
        sequencers: int = 4,
        settings: dict[str, str] | None = None,
        write_buffer: str = "",
        retention: Mapping[str, str] = TRIMMING,
    ) -> None:
        """settings: of the ingesters. write_buffer: URL; by default the log in the data folder. retention: of both."""
        self.data = folder / "data"
        self.sequencers = sequencers
        self.names = ["router", *(f"ingester-{n}" for n in range(sequencers))]
        self.environment: dict[str, str] = {}
        self._folder = folder
        self._settings = settings or BUSY
        self._write_buffer = write_buffer
        self._retention = retention
        ports = free_ports(1 + 2 * sequencers)
        self.port = ports[0]
        self._http = dict(zip(self.names, ports[: 1 + sequencers], strict=True))
        self._flight = dict(zip(self.names[1:], ports[1 + sequencers :], strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "ProcessCluster":
        self.start(*self.names)
        return self

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The same without a start: what runs at the end is killed."""
        with contextlib.ExitStack() as at_end:
            at_end.push(self.__exit__)
            yield

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        if error is not None:
            for name in self.names:
                print(f"--- {name}\n" + self.log(name)[-3000:])

    def start(self, *names: str) -> None:
        """Start processes that are down, and wait until all of them are ready."""
        for name in names:
            self.spawn(name)
        for name in names:
            self.wait_ready(name)

    def add_newer(self, name: str) -> str:
        """The name of one more ingester on the same sequencer, which is not started yet."""
        newer = f"{name}-newer"
        self._http[newer], self._flight[newer] = free_ports(2)
        self.names.append(newer)
        return newer

    def wait_ready(self, name: str) -> None:
        def look() -> Any:
            if self._processes[name].poll() is not None:
                raise AssertionError(f"{name} exited with {self._processes[name].returncode}: {self.log(name)[-2000:]}")
            return self.get(name, "/ready")

        wait_until(look, timeout_s=60, what=f"{name} ready")

    def get(self, name: str, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http[name]}{path}", timeout=5) as answer:
            return json.loads(answer.read())

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self._processes[name].kill()
        self._processes[name].wait()

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def workers(self) -> list[int]:
        """The process ids of the router's workers."""
        return [worker["pid"] for worker in self.get("router", "/status")["workers"].values()]

    def http_port(self, name: str) -> int:
        return self._http[name]

    def signal(self, name: str, number: int) -> None:
        self._processes[name].send_signal(number)

    def wait(self, name: str, timeout_s: float) -> int:
        """The exit code of a process that ends. Raises subprocess.TimeoutExpired."""
        return self._processes[name].wait(timeout_s)

    def arm(self, name: str, point: str) -> None:
        """Let `name` kill itself at the next `point` (tests/support/killable.py)."""
        arm = self._arm(name)
        arm.with_suffix(".new").write_text(point)
        arm.with_suffix(".new").replace(arm)

    def unsettle_store(self, name: str, how: str) -> None:
        """What is wrong with the object store for `name` from now on (tests/support/unsteady_store.py); "": nothing."""
        path = self._store_fault(name)
        path.with_suffix(".new").write_text(how)
        path.with_suffix(".new").replace(path)

    def disarm(self, name: str) -> None:
        self._arm(name).unlink(missing_ok=True)

    def died(self, name: str, timeout_s: float) -> bool:
        """Wait for the process's end; False when it keeps running."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._processes[name].wait(timeout_s)
        return self._processes[name].poll() is not None

    def hits(self) -> list[str]:
        """Points at which processes killed themselves, in order."""
        path = self._folder / "hits"
        return path.read_text().split() if path.exists() else []

    def ended(self) -> list[str]:
        """The processes that run no more."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def stop(self) -> None:
        """SIGTERM in order: the router, then the ingesters; each must end with 0."""
        for names in (["router"], self.names[1:]):
            running = [name for name in names if self._processes[name].poll() is None]
            for name in running:
                self._processes[name].send_signal(signal.SIGTERM)
            for name in running:
                code = self._processes[name].wait(60)
                assert code == 0, f"{name} ended with {code}: {self.log(name)[-2000:]}"

    def log(self, name: str) -> str:
        path = self._folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def spawn(self, name: str) -> None:
        """Start a process; it may fail."""
        self.disarm(name)
        kind, _, number = name.removesuffix("-newer").partition("-")
        arguments = ["--data", str(self.data), "--sequencers", str(self.sequencers)]
        arguments += ["--write-buffer", self._write_buffer] if self._write_buffer else []
        arguments += _flags(self._retention)
        if kind == "router":
            arguments += ["--port", str(self.port)]
        else:
            # The command adds the sequencer's number to the port it is given.
            arguments += ["--sequencer", number]
            arguments += ["--http-port", str(self._http[name] - int(number))]
            arguments += ["--flight-port", str(self._flight[name] - int(number))]
            arguments += _flags(self._settings)
        environment = {
            **os.environ,
            **self.environment,
            "KILL_ARM": str(self._arm(name)),
            "KILL_HITS": str(self._folder / "hits"),
            "KILL_STORE": str(self._store_fault(name)),
        }
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.support.killable", kind, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=Path(__file__).parents[2],
            )

    def _store_fault(self, name: str) -> Path:
        return self._folder / f"store-{name}"

    def _arm(self, name: str) -> Path:
        return self._folder / f"arm-{name}"


def _flags(settings: Mapping[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
