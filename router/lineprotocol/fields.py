"""The parts of plain lines: those with one or two live spaces and fields that are key=value, comma, key=value, …

The parts are ranges of the text; nothing is copied or decoded. What a number or a name is worth is for values.py and
the caller to find out.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.lineprotocol.structure import EQUALS, SPACE, Ints, Structure


@dataclass(frozen=True, slots=True)
class PlainLines:
    """n lines with m fields in all, in the order of the text. Every array is int64, ranges are [start, end) in bytes.

    lines: n, numbers of the lines in the structure. series_ends: n, where the series' part ends; it begins with the
    line. fields: n, how many fields a line has. time_starts, time_ends: n, equal where a line names no time.
    key_starts, key_ends, value_starts, value_ends: m, none of them empty.
    """

    lines: Ints
    series_starts: Ints
    series_ends: Ints
    fields: Ints
    time_starts: Ints
    time_ends: Ints
    key_starts: Ints
    key_ends: Ints
    value_starts: Ints
    value_ends: Ints


def plain_lines(found: Structure) -> PlainLines:
    """Those of the lines that are neither odd nor idle; marks as odd the ones that are not plain."""
    at, kinds = found.at, found.kinds
    lines = np.flatnonzero(~(found.odd | found.idle))
    last = found.newlines[lines]
    begin = np.concatenate(([-1], found.newlines))[lines] + 1
    spaces = np.flatnonzero(kinds == SPACE)
    before = np.cumsum(kinds == SPACE)
    spaces_before = np.concatenate(([0], before))[begin]
    count = before[last] - spaces_before
    with_time = count == 2
    spaces = np.append(spaces, [len(kinds) - 1] * 2)
    first = spaces[spaces_before]
    second = np.where(with_time, spaces[spaces_before + 1], last)
    between = second - first - 1
    good = (with_time | (count == 1)) & (between % 2 == 1) & (~with_time | (second + 1 == last))
    good &= at[np.minimum(first, last)] > found.starts[lines]
    if not good.all():
        found.odd[lines[~good]] = True
        lines, last, first, second = lines[good], last[good], first[good], second[good]
        between, with_time = between[good], with_time[good]
    return _with_fields(found, lines, first, second, (between + 1) // 2, with_time)


def _with_fields(
    found: Structure, lines: Ints, first: Ints, second: Ints, fields: Ints, with_time: npt.NDArray[np.bool_]
) -> PlainLines:
    """first, second: of the delimiters around each line's fields, as indices into `found.at`."""
    at, kinds = found.at, found.kinds
    ends = found.ends[lines]
    begins = np.cumsum(fields) - fields
    equals = np.repeat(first + 1 - 2 * begins, fields) + 2 * np.arange(int(fields.sum()))
    key_starts = at[equals - 1] + 1
    key_ends = at[equals]
    value_ends = at[equals + 1]
    value_ends[begins + fields - 1] = np.where(with_time, at[second], ends)
    time_starts = np.where(with_time, at[second] + 1, ends)
    wrong = (kinds[equals] != EQUALS) | (kinds[equals + 1] == EQUALS)
    wrong |= (key_ends == key_starts) | (value_ends == key_ends + 1)
    if wrong.any():
        bad = np.logical_or.reduceat(wrong, begins)
        found.odd[lines[bad]] = True
        good = ~bad
        return _with_fields(found, lines[good], first[good], second[good], fields[good], with_time[good])
    return PlainLines(
        lines, found.starts[lines], at[first], fields, time_starts, ends, key_starts, key_ends, key_ends + 1, value_ends
    )
