"""A real writer or reader of a file log in a process of its own: `python -m tests.support.log_process write|tail URL`.

write: appends without end and prints "offset number" for each record once it is acknowledged. tail: prints "offset
number" for each record from the first on. Both say "ready" first, and end with their standard input or by a signal.
"""

import subprocess
import sys
from collections import deque

from common.logs import configure
from common.values.ids import SequencerId
from tests.support.buffer_records import record
from writebuffer.connect import connect

IN_FLIGHT = 16


def write(url: str, start: int) -> None:
    writer = connect(url).open_writer()
    say("ready")
    waiting: deque[tuple[int, object]] = deque()
    number = start
    while True:
        waiting.append((number, writer.append(SequencerId(0), record(number, 2000))))
        number += 1
        while len(waiting) >= IN_FLIGHT:
            done, future = waiting.popleft()
            say(f"{future.result(30).offset} {done}")  # type: ignore[attr-defined]


def tail(url: str) -> None:
    cursor = connect(url).open_reader().cursor(SequencerId(0))
    say("ready")
    while True:
        for one in cursor.poll(100, 2**20, 0.1).records:
            say(f"{one.offset} {one.record.headers.producer_sequence}")


def say(line: str) -> None:
    print(line, flush=True)


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Start one; returns once it is ready. The caller kills it."""
    command = [sys.executable, "-m", "tests.support.log_process", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def lines(process: "subprocess.Popen[str]", count: int) -> list[tuple[int, int]]:
    """The next `count` lines, fewer when it ended."""
    assert process.stdout is not None
    found = [process.stdout.readline() for _ in range(count)]
    return [(int(line.split()[0]), int(line.split()[1])) for line in found if line.endswith("\n")]


if __name__ == "__main__":
    configure(f"test-{sys.argv[1]}")  # logs go to standard error; standard output is the protocol
    if sys.argv[1] == "write":
        write(sys.argv[2], int(sys.argv[3]))
    else:
        tail(sys.argv[2])
