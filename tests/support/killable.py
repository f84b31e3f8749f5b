"""A penstock process that kills itself at a chosen point of its I/O: `python -m tests.support.killable router …`.

The process runs the real command line over a Disk that watches. When the file named by KILL_ARM exists, it holds the
name of a point; at the next operation that reaches it the process appends the point to KILL_HITS and sends itself
SIGKILL. So a test can kill inside an append, a persist or a commit, without a hook in the product.

Points: append-{before,torn,written,synced}, persist-{before,torn,synced,linked}, commit-{before,torn,synced,linked}.
`torn` writes half of the bytes first; `synced` is after the data's fsync and before it is acknowledged or linked.
`stop commit-synced` in place of a point alone: the process stops there (SIGSTOP), once, until somebody lets it go on.

While the file named by KILL_FULL exists, every write of the log meets a full disk. The file named by KILL_STORE says
what is wrong with the object store (tests/support/unsteady_store.py).

KILL_TABLE names a table whose rows end every process that puts them into its buffer, also one that tries records.

KILL_BREAK=ack-before-write makes a broken build for the checker's own test: appends are acknowledged before a byte of
them is written.
"""

import errno
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from common.store import disk

HELD = 20

POINTS = {
    "append": ("append-before", "append-torn", "append-written", "append-synced"),
    "persist": ("persist-before", "persist-torn", "persist-synced", "persist-linked"),
    "commit": ("commit-before", "commit-torn", "commit-synced", "commit-linked"),
}


def reach(point: str) -> None:
    """Die or stop here if this is the point that was asked for."""
    if not is_armed(point):
        return
    stops = armed() != point
    descriptor = os.open(os.environ["KILL_HITS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{point}\n".encode())
    if stops:
        Path(os.environ["KILL_ARM"]).unlink()
    os.kill(os.getpid(), signal.SIGSTOP if stops else signal.SIGKILL)


def is_armed(point: str) -> bool:
    return armed() in (point, f"stop {point}")


def armed() -> str:
    try:
        return Path(os.environ["KILL_ARM"]).read_text().strip()
    except FileNotFoundError:
        return ""


def activity(path: str, data: bytes = b"") -> str:
    """append, persist, commit, or nothing of interest. A store's temporary file is known by what it holds."""
    if path.endswith(".log") and "/log/" in path:
        return "append"
    if path.endswith(".parquet") or data.startswith(b"PAR1"):
        return "persist"
    if "/manifest/" in path or data.startswith(b'{"xxh3":'):
        return "commit"
    return ""


class WatchedFile(disk.LocalFile):
    def __init__(self, path: str, descriptor: int) -> None:
        super().__init__(descriptor)
        self._path = path
        self._activity = ""

    def write_at(self, position: int, buffers: disk.Buffers) -> None:
        start = bytes(buffers[0][:16]) if buffers else b""
        self._activity = activity(self._path, start)
        if self._activity == "append" and Path(os.environ.get("KILL_FULL", "/nonexistent")).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        if self._activity:
            reach(f"{self._activity}-before")
            if is_armed(f"{self._activity}-torn"):
                whole = b"".join(buffers)
                super().write_at(position, [whole[: len(whole) // 2]])
                reach(f"{self._activity}-torn")
        super().write_at(position, buffers)
        if self._activity == "append":
            reach("append-written")

    def sync_data(self) -> None:
        super().sync_data()
        if self._activity:
            reach(f"{self._activity}-synced")


class WatchedDisk(disk.LocalDisk):
    def create(self, path: str) -> disk.LocalFile:
        return WatchedFile(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))

    def link(self, source: str, target: str) -> None:
        super().link(source, target)
        if what := activity(target):
            reach(f"{what}-linked")


def break_acknowledgement() -> None:
    """Resolve every append before its batch reaches the disk, as a build with that defect would.

    The log is HELD appends behind its acknowledgements, so that a kill surely finds some acknowledged too early.
    """
    from common.values.ids import Offset, SequencerId
    from writebuffer.contract import Appended, AppendedRange
    from writebuffer.file.writer import FileWriter
    from writebuffer.record import Record

    append_many = FileWriter.append_many
    held: deque[tuple[SequencerId, Sequence[Record]]] = deque()

    def early(self, sequencer, records):  # type: ignore[no-untyped-def]
        held.append((sequencer, records))
        if len(held) > HELD:
            append_many(self, *held.popleft())
        place = Appended(Offset(0), records[0].append_time_ns)
        done: Future[AppendedRange] = Future()
        done.set_result(AppendedRange(place, place))
        return done

    FileWriter.append_many = early  # type: ignore[method-assign]


def kill_over_table() -> None:
    """A record that no process survives."""
    from ingester.buffer.tree import BufferTree

    add = BufferTree.add

    def killing(self, brought, rows, origins, frontiers):  # type: ignore[no-untyped-def]
        if brought.table.table == os.environ["KILL_TABLE"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return add(self, brought, rows, origins, frontiers)

    BufferTree.add = killing  # type: ignore[method-assign]


def main() -> None:
    if "KILL_TABLE" in os.environ:
        from ingester.following import trial

        kill_over_table()
        trial.COMMAND = [sys.executable, "-m", "tests.support.killable_trial"]
    disk.LocalDisk = WatchedDisk  # type: ignore[misc]
    from tests.support.unsteady_store import make_store_unsteady  # it imports what is to know the new Disk

    make_store_unsteady()
    if os.environ.get("KILL_BREAK") == "ack-before-write":
        break_acknowledgement()
    from penstock.cli import main as penstock

    sys.argv[0] = "penstock"
    penstock()


if __name__ == "__main__":
    main()
