"""Where the lines of a text and their delimiters are, found for all bytes at once.

A structural index: the positions of every newline, space, comma and equals sign that means something, in order. Those
that a backslash escapes and those inside strings are left out. Lines whose structure is not certain are only marked as
odd: the strict parser of one line (scalar.py) decides about them, so that what is here may stay simple.

The idea is that of simdjson ("Parsing Gigabytes of JSON per Second", Langdale and Lemire, 2019), with numpy's array
operations in the place of vector instructions.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.lineprotocol.scalar import LINE_BYTES_MAX

NEWLINE, SPACE, COMMA, EQUALS, _QUOTE, _CONTROL = range(1, 7)

_KINDS = np.full(256, 0, np.uint8)
_KINDS[:32] = _CONTROL
_KINDS[list(b'\n ,="')] = NEWLINE, SPACE, COMMA, EQUALS, _QUOTE

_ENDS_STRING = np.zeros(256, np.bool_)
_ENDS_STRING[list(b", \n\r")] = True
"""What may follow a string's closing quote."""

_BACKSLASH = ord("\\")
_BACKSLASHES_MAX = 64
"""A longer run before a quote makes its line odd."""

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Structure:
    """Lines are cut at every newline, those inside strings too: a line whose string goes on is odd.

    text: the bytes, uint8. at: int64, positions of the live delimiters, ascending; kinds: uint8, what they are.
    starts, ends: int64, of each line's bytes, without its newline or CRLF. newlines: int64, each line's end as an index
    into `at`. odd: bool, by line. idle: bool, by line: empty, or a comment; such a line is not odd.
    """

    text: Bytes
    at: Ints
    kinds: Bytes
    starts: Ints
    ends: Ints
    newlines: Ints
    odd: Bools
    idle: Bools


def structure(data: bytes) -> Structure:
    """Of `data`, which ends with a newline and holds no more than 2 GiB."""
    text = np.frombuffer(data, np.uint8)
    wanted = text == ord(",")
    wanted |= text == ord("=")
    wanted |= text <= ord(" ")
    has_quotes = b'"' in data
    if has_quotes:
        wanted |= text == ord('"')
    at = np.flatnonzero(wanted)
    kinds = _KINDS[text[at]]
    if b"\r" in data:
        at, kinds = _without_line_end_returns(text, at, kinds)
    if b"\\" in data:
        live = (text[at - 1] != _BACKSLASH) | (kinds == NEWLINE) | (kinds >= _QUOTE)
        at, kinds = at[live], kinds[live]
    newlines = np.flatnonzero(kinds == NEWLINE)
    ends = at[newlines]
    starts = np.concatenate(([0], ends[:-1] + 1))
    if b"\r" in data:
        ends = ends - ((text[ends - 1] == ord("\r")) & (ends > starts))
    idle = (ends == starts) | (text[starts] == ord("#"))
    odd = (ends - starts > LINE_BYTES_MAX) | (text[starts] == ord(" "))
    if (controls := np.flatnonzero(kinds == _CONTROL)).size:
        odd[np.searchsorted(newlines, controls)] = True
    if not data.isascii():
        _mark_invalid_utf8(data, text, ends, odd)
    if has_quotes:
        at, kinds, newlines = _without_strings(text, at, kinds, newlines, odd)
    odd &= ~idle
    return Structure(text, at, kinds, starts, ends, newlines, odd, idle)


def _mark_invalid_utf8(data: bytes, text: Bytes, ends: Ints, odd: Bools) -> None:
    """Marks as odd every line that is not ASCII, if one of them is not UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        odd[np.searchsorted(ends, np.flatnonzero(text >= 0x80))] = True


def _without_line_end_returns(text: Bytes, at: Ints, kinds: Bytes) -> tuple[Ints, Bytes]:
    """Without each CR directly before a newline."""
    returns = np.flatnonzero(text[at] == ord("\r"))
    kept = np.ones(len(at), np.bool_)
    kept[returns[text[at[returns] + 1] == ord("\n")]] = False
    return at[kept], kinds[kept]


def _without_strings(text: Bytes, at: Ints, kinds: Bytes, newlines: Ints, odd: Bools) -> tuple[Ints, Bytes, Ints]:
    """Without quotes and what is between them. Marks lines as odd whose quotes are not where strings have them."""
    quotes = np.flatnonzero(kinds == _QUOTE)
    lines = np.searchsorted(newlines, quotes)
    in_fields = quotes > _first_spaces(kinds, newlines, lines)
    quotes, lines = quotes[in_fields], lines[in_fields]
    unescaped = _unescaped(text, at[quotes], lines, odd)
    quotes, lines = quotes[unescaped], lines[unescaped]
    opens = _count_in_line(lines) % 2 == 0
    places = at[quotes]
    opens_well = (text[places - 1] == ord("=")) & (text[places - 2] != _BACKSLASH)
    good = np.where(opens, opens_well, _ENDS_STRING[text[places + 1]])
    odd[lines[~good]] = True
    odd[np.flatnonzero(np.bincount(lines, minlength=len(odd)) % 2)] = True
    sure = ~odd[lines]
    steps = np.zeros(len(at), np.int8)
    steps[quotes[sure & opens]] = 1
    steps[quotes[sure & ~opens]] = -1
    kept = np.cumsum(steps, dtype=np.int8) == 0
    kept &= kinds != _QUOTE
    return at[kept], kinds[kept], (np.cumsum(kept) - 1)[newlines]


def _first_spaces(kinds: Bytes, newlines: Ints, lines: Ints) -> Ints:
    """The first live space of each of `lines`, or what comes after the line: quotes before it are parts of names."""
    spaces = np.append(np.flatnonzero(kinds == SPACE), len(kinds))
    begins = np.concatenate(([0], newlines[:-1] + 1))[lines]
    return spaces[np.searchsorted(spaces, begins)]


def _unescaped(text: Bytes, places: Ints, lines: Ints, odd: Bools) -> Bools:
    """Which of the quotes at `places` have an even number of backslashes before them."""
    unescaped = np.ones(len(places), np.bool_)
    running = np.flatnonzero(text[places - 1] == _BACKSLASH)
    for distance in range(2, _BACKSLASHES_MAX):
        if not running.size:
            return unescaped
        unescaped[running] ^= True
        running = running[text[places[running] - distance] == _BACKSLASH]
    odd[lines[running]] = True
    return unescaped


def _count_in_line(lines: Ints) -> Ints:
    """0, 1, 2, … for each run of equal values."""
    count = np.arange(len(lines))
    begins = np.concatenate(([True], lines[1:] != lines[:-1]))
    return count - np.maximum.accumulate(np.where(begins, count, 0))
