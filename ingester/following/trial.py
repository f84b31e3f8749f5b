"""Records tried in a process of their own: which of them end it.

The child decodes each record, puts its rows into a buffer and merges them, as an ingester would, and answers one byte.
Where it dies instead, raises, or does not answer in time, the record it was given is the one; another child goes on
with the next. `python -m ingester.following.trial` is the child.
"""

import os
import select
import struct
import subprocess
import sys
from collections.abc import Iterable
from typing import IO

from common.values.errors import Unavailable
from common.values.ids import Offset
from writebuffer.contract import SequencedRecord

COMMAND = [sys.executable, "-m", "ingester.following.trial"]
TIMEOUT_S = 60.0
"""For one record. Starting the child has as long."""

ENDED = "a process that applied it alone"
"""How the reason of a record begins that ended one: whoever reads it again does so in a process of its own."""

_HEAD = struct.Struct("<qI")
_READY = b"\n"
_DONE = b"."


def try_records(records: Iterable[SequencedRecord]) -> dict[Offset, str]:
    """By offset, why each record that ends a process does. Raises Unavailable where no child can be started."""
    condemned: dict[Offset, str] = {}
    child: _Child | None = None
    try:
        for record in records:
            child = child or _Child()
            reason = child.try_one(record)
            if reason:
                condemned[record.offset] = reason
                child.end()
                child = None
    finally:
        if child:
            child.end()
    return condemned


class _Child:
    def __init__(self) -> None:
        self._process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._answer() != _READY:
            raise Unavailable(f"no process could be started to try records in: {self._ended()}")

    def try_one(self, record: SequencedRecord) -> str:
        """Why it ended the process; "" where it did not."""
        data = record.record.to_bytes()
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(_HEAD.pack(record.offset, len(data)) + data)
            self._process.stdin.flush()
        except OSError:
            return self._ended()
        return "" if self._answer() == _DONE else self._ended()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self) -> bytes:
        """One byte; none where the process ended or the time is over."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        readable, _, _ = select.select([descriptor], [], [], TIMEOUT_S)
        return os.read(descriptor, 1) if readable else b""

    def _ended(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return f"{ENDED} did not end in {TIMEOUT_S:g} s"
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{ENDED} {how}"


def serve(records: IO[bytes], answers: IO[bytes]) -> None:
    """The child: tries what comes until the end of `records`."""
    from common.catalog.merge import merge
    from common.values.ids import Offset
    from ingester.buffer.tree import BufferTree
    from ingester.core.arrivals import Arrivals
    from ingester.following.decode import Undecodable
    from ingester.following.poller import decoded_steps
    from ingester.persist.job import view_batches
    from writebuffer.record import Record

    answers.write(_READY)
    answers.flush()
    while head := records.read(_HEAD.size):
        offset, size = _HEAD.unpack(head)
        one = SequencedRecord(Offset(offset), Record.from_bytes(records.read(size)))
        for polled in decoded_steps([one], Offset(offset + 1), caught_up=False):
            tree, arrivals = BufferTree(), Arrivals(polled)
            for position, decoded in enumerate(polled.records):
                if not isinstance(decoded.content, Undecodable):
                    arrivals.add(position, decoded.tables, 0)
            for brought, rows, origins in arrivals.rows():
                tree.add(brought, rows, origins, {})
            for partition in tree:
                view = partition.view()
                tags = sorted(name for name, kind in view.columns.items() if kind.value == "tag")
                merge(view_batches(view), view.columns, tags)
        answers.write(_DONE)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
