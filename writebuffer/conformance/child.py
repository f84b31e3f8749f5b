"""A writer or reader in a process of its own: `python -m writebuffer.conformance.child ACT NAME ...`.

write NAME NUMBER  append records from that number on without end; print "offset number checksum" for each once it is
                   acknowledged
read NAME          print the same for everything from the first to the next offset, and end
identity NAME      print the identity of each sequencer, and end

The buffer is the one called NAME beside the write buffer to be proven. That one's own URL comes in an environment
variable: it may hold a password, which neither `url` nor a command line may show.

Nothing that was printed is kept back in a buffer: a line that was read was acknowledged before the process was killed.
What the backend itself prints or logs goes to standard error.
"""

import os
import subprocess
import sys
from collections import deque
from concurrent.futures import Future
from typing import TextIO

from common.logs import configure
from common.values.ids import SequencerId
from writebuffer.conformance.samples import number_of, record
from writebuffer.conformance.subject import Subject
from writebuffer.contract import Appended, Backend, Reader
from writebuffer.record import Record

URL_VARIABLE = "PENSTOCK_CONFORMANCE_URL"
IN_FLIGHT = 64
_ONE = SequencerId(0)
_WAIT_S = 60.0

Line = tuple[int, int, int]
"""Offset, number and checksum of one record."""


class Child:
    """The process, from outside."""

    def __init__(self, subject: Subject, act: str, name: str, *arguments: object) -> None:
        """name: of the buffer beside `subject`."""
        command = [sys.executable, "-m", __name__, *subject.arguments(), act, name, *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), URL_VARIABLE: subject.url}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def lines(self, count: int) -> list[Line]:
        """The next `count`; fewer when it ended before."""
        assert self._process.stdout is not None
        found = [self._process.stdout.readline() for _ in range(count)]
        return [_parse(line) for line in found if line.endswith("\n")]

    def rest(self) -> list[str]:
        """The lines it still prints until it ends. Raises AssertionError when it failed by itself."""
        assert self._process.stdout is not None
        found = [line for line in self._process.stdout if line.endswith("\n")]
        code = self._process.wait()
        assert code <= 0, f"the process that opened the same buffer failed with exit code {code}"
        return found

    def rest_of_lines(self) -> list[Line]:
        return [_parse(line) for line in self.rest()]

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more. What it printed before can still be read."""
        self._process.kill()
        self._process.wait()


def line_of(offset: int, one: Record) -> Line:
    return (offset, number_of(one), one.checksum())


def _parse(line: str) -> Line:
    offset, number, checksum = line.split()
    return (int(offset), int(number), int(checksum))


def _write(backend: Backend, number: int, output: TextIO) -> None:
    writer = backend.open_writer()
    waiting: deque[tuple[Record, Future[Appended]]] = deque()
    while True:
        one = record(number, 500)
        waiting.append((one, writer.append(_ONE, one)))
        number += 1
        # Printed as soon as they resolve: a kill loses these records first, if they were acknowledged too early.
        while waiting and (waiting[0][1].done() or len(waiting) >= IN_FLIGHT):
            done, future = waiting.popleft()
            print(*line_of(future.result(_WAIT_S).offset, done), file=output, flush=True)


def _read(reader: Reader, output: TextIO) -> None:
    cursor, at, end = reader.cursor(_ONE), reader.offsets(_ONE).first_offset, reader.offsets(_ONE).next_offset
    while at < end:
        batch = cursor.poll(1000, 2**20, _WAIT_S)
        for one in batch.records:
            print(*line_of(one.offset, one.record), file=output)
        at = batch.next_offset


def _main(arguments: list[str]) -> None:
    factory = arguments[1] if arguments[0] == "--backend" else None
    act, name, *rest = arguments[2:] if factory else arguments
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    configure(f"conformance-{act}")
    backend = Subject(os.environ[URL_VARIABLE], factory).beside(name)
    if act == "write":
        _write(backend, int(rest[0]), output)
        return
    reader = backend.open_reader()
    if act == "read":
        _read(reader, output)
    else:
        print(*(reader.identity(sequencer) for sequencer in reader.sequencers()), sep="\n", file=output)
    output.close()
    reader.close()


if __name__ == "__main__":
    _main(sys.argv[1:])
