"""A body cut into lines.

A newline ends a line, except inside a string field, whose value it belongs to. A string opens at a quote that directly
follows an unescaped `=` after the line's first unescaped space, and closes at the next quote that no backslash escapes.
A quote that is never closed opens nothing: its line ends at the newline, is refused, and the next lines are read as
usual.
"""

import re
from collections.abc import Iterator

_SERIES_END = re.compile(rb"(?<!\\) ")
_STRING_OR_NEWLINE = re.compile(rb'(?<!\\)="(?:[^"\\]++|\\.)*+"|\n', re.DOTALL)
_BLANK = b" \t"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def without_byte_order_mark(body: bytes) -> bytes:
    """`body` without the mark that some editors and Windows tools put at the start of a file."""
    return body.removeprefix(_BYTE_ORDER_MARK)


def split_lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, line without its newline), numbers from 1 and counting every newline, also those inside strings."""
    if b'"' not in body:
        yield from enumerate(body.split(b"\n"), 1)
        return
    number, start = 1, 0
    while start < len(body):
        end = line_end(body, start)
        yield number, body[start:end]
        number += body.count(b"\n", start, end) + 1
        start = end + 1


def line_end(body: bytes, start: int) -> int:
    """Where the line that begins at `start` ends: its newline, or the end of the body."""
    newline = body.find(b"\n", start)
    end = len(body) if newline < 0 else newline
    if body.find(b'"', start, end) < 0:
        return end
    line = body[start:end].lstrip(_BLANK)
    series_end = _SERIES_END.search(line)
    if line.startswith(b"#") or series_end is None:
        return end
    return _end_after_strings(body, end - len(line) + series_end.end())


def _end_after_strings(body: bytes, at: int) -> int:
    while match := _STRING_OR_NEWLINE.search(body, at):
        if match[0] == b"\n":
            return match.start()
        at = match.end()
    return len(body)
