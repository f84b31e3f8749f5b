"""Line protocol from a file to a router: cut into bodies at line ends, sent one after another, refusals collected.

Lines are counted as an editor counts them, so that a refused line is found by its number in the file.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from common.values.clock import Clock
from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from common.values.shown import counted
from common.values.token import format_token, parse_token
from penstock.writing.client import RefusedLine, Written
from router.lineprotocol.lines import split_lines, without_byte_order_mark

BODY_BYTES_MAX = 1_000_000
"""Of one body, newlines included."""
NOTE_S = 10.0


@dataclass(frozen=True, slots=True)
class Body:
    """data: whole lines. first_line: its first one's number in the file, from 1. rows: neither empty nor comments."""

    data: bytes
    first_line: int
    rows: int


@dataclass
class Outcome:
    """What was sent so far. rows: stored. lines: of the file, read. refused: those of the `refused_count` that the
    router listed, with line numbers of the file. dropped_count: fields left out of stored rows."""

    rows: int = 0
    lines: int = 0
    bytes: int = 0
    batches: int = 0
    refused_count: int = 0
    dropped_count: int = 0
    refused: list[RefusedLine] = field(default_factory=list)
    last_offsets: dict[SequencerId, Offset] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """One write token for all of it; "" when nothing was stored."""
        return format_token(self.last_offsets) if self.last_offsets else ""

    def add(self, body: Body, written: Written) -> list[RefusedLine]:
        """Count one body; returns its refused lines and named left-out fields, numbered as in the file."""
        refused = _in_file(body, written.refused)
        self.rows += body.rows - written.refused_count
        self.refused_count += written.refused_count
        self.dropped_count += written.dropped_count
        self.lines = body.first_line - 1 + body.data.count(b"\n") + (not body.data.endswith(b"\n"))
        self.bytes += len(body.data)
        self.batches += 1
        self.refused += refused
        for sequencer, offset in (parse_token(written.token) if written.token else {}).items():
            self.last_offsets[sequencer] = max(offset, self.last_offsets.get(sequencer, offset))
        return refused + _left_out(body, written)


def _in_file(body: Body, lines: list[RefusedLine]) -> list[RefusedLine]:
    return [RefusedLine(body.first_line - 1 + one.line, one.reason) for one in lines]


def _left_out(body: Body, written: Written) -> list[RefusedLine]:
    """The last one says so where there are more than are named."""
    named = _in_file(body, written.dropped)
    if named and len(named) < written.dropped_count:
        more = f"; with others, {written.dropped_count} in a body of {counted(body.rows, 'row')}"
        named[-1] = RefusedLine(named[-1].line, named[-1].reason + more)
    return named


def send(
    file: BinaryIO,
    write: Callable[[bytes], Written],
    outcome: Outcome,
    *,
    on_sent: Callable[[int], None],
    on_refused: Callable[[RefusedLine], None],
) -> None:
    """Send all of `file`, counting into `outcome`, which is right also when an error ends it half way.

    on_sent: called with the bytes of each body. Raises InvalidRequest for a line too long and for damaged gzip.
    """
    for body in bodies(file):
        for refused in outcome.add(body, write(body.data)):
            on_refused(refused)
        on_sent(len(body.data))


def is_gzip(file: io.BufferedReader) -> bool:
    """By its first bytes, which no text begins with. They can still be read."""
    return file.peek(2)[:2] == b"\x1f\x8b"


def unzipped(file: BinaryIO) -> BinaryIO:
    """The bytes in a gzip file, unpacked as they are read."""
    return cast(BinaryIO, gzip.GzipFile(fileobj=file))


class RetryNotes:
    """Says why a body is sent again: at once for a new reason, else every NOTE_S."""

    def __init__(self, url: str, say: Callable[[str], None], clock: Clock) -> None:
        self._url = url
        self._say = say
        self._clock = clock
        self._reason = ""
        self._said_s = 0.0

    def __call__(self, reason: str, pause_s: float) -> None:
        now_s = self._clock.monotonic_s()
        if reason == self._reason and now_s < self._said_s + NOTE_S:
            return
        self._reason, self._said_s = reason, now_s
        self._say(f"{self._url}: {reason}; again in {pause_s:g} s")


def bodies(file: BinaryIO, bytes_max: int = BODY_BYTES_MAX) -> Iterator[Body]:
    """The file's bodies in order, without those that have no row. Raises InvalidRequest for a line over bytes_max.

    Twice that much is looked at for each body, so that a legal string with newlines in it is always seen whole.
    """
    held, first_line = b"", 1
    while held := held + _read(file, 2 * bytes_max - len(held)):
        end, rows = _whole_lines(held, bytes_max, first_line)
        if rows:
            yield Body(held[:end], first_line, rows)
        first_line += held.count(b"\n", 0, end)
        held = held[end:]


def _read(file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidRequest(f"the gzip file is damaged or cut off ({error}): check it with gunzip -t") from None


def _whole_lines(held: bytes, bytes_max: int, first_line: int) -> tuple[int, int]:
    """Where the lines that fit one body end, and how many of them are rows."""
    end = rows = 0
    for _, line in split_lines(held):
        if end + len(line) >= bytes_max:
            break
        rows += _is_row(without_byte_order_mark(line) if first_line == 1 and not end else line)
        end += len(line) + 1
    if not end:
        raise InvalidRequest(f"line {first_line} is over {bytes_max} bytes: no row can be that long")
    return min(end, len(held)), rows


def _is_row(line: bytes) -> bool:
    line = line.strip()
    return bool(line) and not line.startswith(b"#")
