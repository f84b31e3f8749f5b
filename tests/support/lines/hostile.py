"""Bodies of the largest size that are made to cost memory: of names, columns, series and rows as many as fit.

    python -m tests.support.lines.hostile SEQUENCERS < body

parses one in a process of its own and prints what became of it as JSON.
"""

import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from common.values.config import RouterConfig
from router.lineprotocol.scalar import LINE_BYTES_MAX
from router.parsing.batch import BatchParser
from router.parsing.messages import Body

BODY_BYTES = RouterConfig().body_bytes_max


def filled(parts: Iterable[bytes], end: bytes = b"\n", size: int = BODY_BYTES) -> bytes:
    """As many of `parts`, each followed by `end`, as fit."""
    chosen: list[bytes] = []
    for part in parts:
        size -= len(part) + len(end)
        if size < 0:
            break
        chosen.append(part + end)
    return b"".join(chosen)


def _each(template: bytes) -> bytes:
    """Lines of `template` with another number each."""
    return filled(template.replace(b"%", b"%d" % number) for number in itertools.count())


def _long(template: bytes, size: int) -> bytes:
    """The same with numbers of so many digits."""
    return filled(template.replace(b"%", b"%0*d" % (size, number)) for number in itertools.count())


def _one_line(start: bytes, part: bytes, end: bytes = b"") -> bytes:
    """A single line of parts with another number each."""
    parts = (part.replace(b"%", b"%d" % number) for number in range(10**6))
    return start + filled(parts, b",", BODY_BYTES - 100)[:-1] + end


def _longest_lines() -> Iterator[bytes]:
    """Lines just below the limit, each of other columns."""
    for line in itertools.count():
        columns = (b"f%d=1" % (line * 10**5 + number) for number in itertools.count())
        yield b"t " + filled(columns, b",", LINE_BYTES_MAX - 100)[:-1]


def _wide_lines(tables: int) -> bytes:
    """A table after another, of as many new columns as there may be."""
    return filled(b"t%d %s" % (table, b",".join(b"%x=1" % number for number in range(1000))) for table in range(tables))


def _wide_lines_first(start: bytes) -> bytes:
    """As many new columns as there may be, then lines of `start` with another number each, which bring more."""
    wide = _wide_lines(100)
    lines = (start.replace(b"%", b"%d" % number) for number in itertools.count())
    return wide + filled(lines, size=BODY_BYTES - len(wide))


BODIES: dict[str, Callable[[], bytes]] = {
    "tables": lambda: _each(b"t% f=1"),
    "columns": lambda: _each(b"t f%=1"),
    "tag keys": lambda: _each(b"t,k%=v f=1"),
    "columns of one line": lambda: _one_line(b"t ", b"f%=1"),
    "tags of one line": lambda: _one_line(b"t,", b"k%=v", b" f=1"),
    "columns of the longest lines": lambda: filled(_longest_lines()),
    "columns of as many tables as there may be": lambda: _wide_lines(10**4),
    "tables beyond all columns": lambda: _wide_lines_first(b"u% f=1"),
    "series": lambda: _each(b"t,h=% f=1"),
    "series of many tags": lambda: _each(b"t,a=%,b=%,c=%,d=%,e=%,f=% g=1"),
    "long tables": lambda: _long(b"t% f=1", 65_000),
    "long columns": lambda: _long(b"t f%=1", 65_000),
    "long tag keys": lambda: _long(b"t,k%=v f=1", 65_000),
    "long tag values": lambda: _long(b"t,k=% f=1", 65_000),
    "too long names": lambda: _long(b"t f%=1", 65_536),
    "long strings": lambda: _long(b't f="%"', 65_536),
    "short rows": lambda: filled(itertools.repeat(b"t f=1")),
    "sparse rows": lambda: filled(b"t,h=%d c%d=1" % (number % 5000, number % 999) for number in itertools.count()),
    "newlines": lambda: b"\n" * BODY_BYTES,
    "lines that are refused": lambda: filled(itertools.repeat(b"x")),
    "quotes": lambda: filled(itertools.repeat(b't f="')),
    "one field again and again": lambda: filled(itertools.repeat(b"t " + b"f=1," * 100_000 + b"f=1")),
    "one long string": lambda: b't f="' + b"x\n" * (BODY_BYTES // 2 - 10) + b'"',
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """reasons: of the refused lines that are listed, what is quoted left out. grown_bytes: how far the peak of resident
    memory rose above what it was with the body."""

    accepted: int
    refused: int
    reasons: list[str]
    payload_bytes: int
    grown_bytes: int
    cpu_s: float


def cost(body: bytes, sequencers: int) -> Cost:
    """What parsing `body` costs, measured in a process of its own."""
    command = [sys.executable, "-m", __name__, str(sequencers)]
    ended = subprocess.run(command, input=body, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[3])
    return Cost(**json.loads(ended.stdout))


def main() -> None:
    body = Body(sys.stdin.buffer.read(), 1, 0)
    parser = BatchParser(int(sys.argv[1]))
    parser.parse("ns", [Body(b't,h=a f=1,s="x" 1\nbad', 1, 0)], {})
    before, started_s = _peak_bytes(), time.process_time()
    parsed = parser.parse("ns", [body], {})
    lines = parsed.requests[0]
    found = Cost(
        accepted=lines.accepted,
        refused=lines.refused_count,
        reasons=sorted({re.sub(r"'[^']*'", "'…'", one.reason) for one in lines.refused}),
        payload_bytes=sum(len(payload) for payloads in parsed.payloads.values() for payload in payloads),
        grown_bytes=_peak_bytes() - before,
        cpu_s=round(time.process_time() - started_s, 1),
    )
    print(json.dumps(asdict(found)))


def _peak_bytes() -> int:
    """Of resident memory, since the program was started; `getrusage` also counts what its parent had when it forked."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
