"""One real server started by a test, ended by its process id, and startable again on the same port and data."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


class ServerProcess:
    """`command` in `folder`; what it prints goes to folder/NAME.log, which the error of a failed start quotes."""

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def check_alive(self) -> None:
        """Raises AssertionError with the end of its log once the process has ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            tail = self._log.read_text(errors="replace")[-2000:]
            raise AssertionError(f"{self._command[0]} ended with {self._process.returncode}: {tail}")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it answers nothing until `resume`, and stays connected. Returns once all threads are stopped."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._signal(how)
            self._process.wait(30)

    def _signal(self, which: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(which)
