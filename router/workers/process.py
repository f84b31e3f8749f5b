"""One worker process as the router has it: started, killed, waited for.

It is spawned, never forked: the router has threads. It shares the router's stderr and has a process group of its own,
so that Ctrl-C in a terminal does not reach it while its Python starts. What the environment sets already stays.
"""

import os
import signal
import socket
import subprocess
import sys

import psutil

WORKER = "router.workers"
"""The module that a worker runs."""

_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
}
"""numpy's linear algebra, which parsing does not use, would start a thread for each core. By default glibc gives the
arrays of each batch back to the system and takes them again, page by page: with these thresholds (the first is the
largest it accepts) a batch of 1 MB costs 8.6 instead of 10.1 ms, and 7 MB of memory more.
"""


class WorkerProcess:
    """sock: the router's end; whoever reads from it closes it."""

    def __init__(self, sequencers: int) -> None:
        """Start it. Raises OSError."""
        self.sock, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", WORKER, str(theirs.fileno()), str(sequencers)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                    env={**_ENVIRONMENT, **os.environ, "PYTHONPATH": _import_path()},
                )
            except OSError:
                self.sock.close()
                raise
        self.pid = self._process.pid

    def kill(self) -> None:
        """SIGKILL, which is always safe: a worker has nothing that is not elsewhere."""
        self._process.kill()

    def end(self) -> str:
        """Kill it, wait for its end, and say how it ended, in words that follow its name."""
        self._process.kill()
        code = self._process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def rss_bytes(self) -> int | None:
        """Resident memory; None where it cannot be read."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return None


def _import_path() -> str:
    """The modules of this very build, wherever this process found them; -P adds no current folder to them."""
    return os.pathsep.join(os.path.abspath(path) for path in sys.path)  # noqa: PTH100  "" is the current folder
