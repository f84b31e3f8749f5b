"""Lines of several processes as one log on a descriptor; each line begins with its process's name.

A reader that stalls (Ctrl-S, a pager) never delays a process that writes: lines wait in a bounded queue for a thread of
their own. Lines that find it full are dropped and counted, and the count is logged as soon as there is room again.
"""

import os
import queue
import threading
from collections.abc import Sequence

from common import logs

LINES_MAX = 5_000
"""Lines that wait for a stalled reader; each is at most 64 KiB, and usually below 200 bytes."""
STDERR = 2
OWN = "penstock"


class MergedLog:
    """`write`, `say` and `warn` return at once, also while the reader stalls; all from one thread."""

    def __init__(self, names: Sequence[str], descriptor: int = STDERR, lines_max: int = LINES_MAX) -> None:
        self._width = max(map(len, [*names, OWN]))
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(lines_max)
        self._dropped = 0
        self._own = logs.logger_onto(_Own(self), OWN)
        self._thread = threading.Thread(target=self._write_out, name="merged-log", daemon=True)
        self._thread.start()

    def write(self, name: str, line: str) -> None:
        self._say_dropped()
        try:
            self._lines.put_nowait(f"{name:<{self._width}} | {line}\n".encode(errors="replace"))
        except queue.Full:
            self._dropped += 1

    def say(self, text: str) -> None:
        """A line of the supervisor itself."""
        self._own.info(text)

    def warn(self, text: str) -> None:
        """The same, for something that should not happen."""
        self._own.warning(text)

    def close(self, timeout_s: float = 1.0) -> None:
        """Wait until all lines are written, at most about `timeout_s`: a reader that stalls may stay stalled."""
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _say_dropped(self) -> None:
        if self._dropped and not self._lines.full():
            dropped, self._dropped = self._dropped, 0
            self._own.warning("lines of this log were dropped here: its reader was too slow", lines=dropped)

    def _write_out(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write_all(line)
        self._say_dropped()  # after the end no other thread writes
        while not self._lines.empty():
            self._write_all(self._lines.get() or b"")

    def _write_all(self, line: bytes) -> None:
        """Not through sys.stderr: a stalled thread would keep its lock, and the interpreter could not end."""
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            return  # nobody reads the log any more; the cluster goes on


class _Own:
    """The stream of the supervisor's own lines."""

    def __init__(self, log: MergedLog) -> None:
        self._log = log

    def write(self, text: str) -> None:
        if line := text.rstrip("\n"):
            self._log.write(OWN, line)

    def flush(self) -> None:
        return
