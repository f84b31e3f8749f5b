"""A router that is watched from outside while it is under load: its memory, and what one small client sees of it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import psutil

SAMPLE_S = 0.05
PROBE_S = 0.1
ANSWER_TIMEOUT_S = 30.0


class Memory:
    """rss_max: the most that the process and its children had together, in bytes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.rss_max = 0

    def look(self) -> int:
        rss = 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                rss += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.rss_max = max(self.rss_max, rss)
        return rss


class Probe:
    """A client with one connection and small writes. answers: of each when it was sent, its status, how long it took
    (seconds)."""

    def __init__(self, port: int, address: str) -> None:
        self.answers: list[tuple[float, int, float]] = []
        self._connection = HTTPConnection("127.0.0.1", port, ANSWER_TIMEOUT_S, source_address=(address, 0))

    def write(self) -> int:
        """One write; returns its status."""
        sent_s = time.monotonic()
        line = f"probe n={len(self.answers)}i {len(self.answers)}"
        self._connection.request("POST", "/api/v2/write?bucket=probe", line)
        response = self._connection.getresponse()
        response.read()
        self.answers.append((sent_s, response.status, time.monotonic() - sent_s))
        return response.status

    def close(self) -> None:
        self._connection.close()


@contextmanager
def repeated(act: "Memory | Probe") -> Iterator[None]:
    """Look, or write, again and again until the block ends. An error of it is raised at the end."""
    stopped = threading.Event()
    errors: list[Exception] = []

    def work() -> None:
        try:
            while not stopped.wait(PROBE_S if isinstance(act, Probe) else SAMPLE_S):
                act.write() if isinstance(act, Probe) else act.look()
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to the block
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    if errors:
        raise errors[0]
