"""Line protocol from a file to a router: cut into bodies at line ends, sent one after another, refusals collected.

Lines are counted as an editor counts them, so that a refused line is found by its number in the file.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from common.clock import Clock
from common.errors import InvalidRequest
from common.ids import Offset, SequencerId
from common.token import format_token, parse_token
from penstock.client import RefusedLine, Written
from router.lineprotocol.lines import split_lines

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
    """What was sent so far. rows: stored. lines: of the file, passed. refused: those of the `refused_count` that the
    router told of, with line numbers of the file."""

    rows: int = 0
    lines: int = 0
    bytes: int = 0
    batches: int = 0
    refused_count: int = 0
    refused: list[RefusedLine] = field(default_factory=list)
    last_offsets: dict[SequencerId, Offset] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """One write token for all of it; "" when nothing was stored."""
        return format_token(self.last_offsets) if self.last_offsets else ""

    def add(self, body: Body, written: Written) -> list[RefusedLine]:
        """Count one body in; returns its refused lines, numbered as in the file."""
        refused = [RefusedLine(body.first_line - 1 + line.line, line.reason) for line in written.refused]
        self.rows += body.rows - written.refused_count
        self.refused_count += written.refused_count
        self.lines = body.first_line - 1 + body.data.count(b"\n") + (not body.data.endswith(b"\n"))
        self.bytes += len(body.data)
        self.batches += 1
        self.refused += refused
        for sequencer, offset in (parse_token(written.token) if written.token else {}).items():
            self.last_offsets[sequencer] = max(offset, self.last_offsets.get(sequencer, offset))
        return refused


def send(
    file: BinaryIO,
    write: Callable[[bytes], Written],
    outcome: Outcome,
    *,
    on_sent: Callable[[int], None],
    on_refused: Callable[[RefusedLine], None],
) -> None:
    """Send all of `file`, counting into `outcome`, which is right also when an error ends it half way.

    on_sent: told the bytes of each body. Raises InvalidRequest for a line too long and for damaged gzip.
    """
    for body in bodies(file):
        for refused in outcome.add(body, write(body.data)):
            on_refused(refused)
        on_sent(len(body.data))


def is_gzip(file: io.BufferedReader) -> bool:
    """By its first bytes, which are no text and stay to be read."""
    return file.peek(2)[:2] == b"\x1f\x8b"


def unzipped(file: BinaryIO) -> BinaryIO:
    """The bytes that a gzip file packs, read as they are asked for."""
    return cast(BinaryIO, gzip.GzipFile(fileobj=file))


class RetryNotes:
    """Says why a body is sent again: at once when the reason is another than before, else every NOTE_S."""

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
    """The file's bodies in order, those without any row left out. Raises InvalidRequest for a line over bytes_max.

    Twice as much is looked at as is cut off: a string that holds newlines is seen whole, or is no legal string.
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
        raise InvalidRequest(f"the gzip file is damaged or cut off ({error}): look at it with gunzip -t") from None


def _whole_lines(held: bytes, bytes_max: int, first_line: int) -> tuple[int, int]:
    """Where the lines that fit one body end, and how many of them are rows."""
    end = rows = 0
    for _, line in split_lines(held):
        if end + len(line) >= bytes_max:
            break
        end += len(line) + 1
        rows += _is_row(line)
    if not end:
        raise InvalidRequest(f"line {first_line} is over {bytes_max} bytes: no row can be that long")
    return min(end, len(held)), rows


def _is_row(line: bytes) -> bool:
    line = line.strip()
    return bool(line) and not line.startswith(b"#")
