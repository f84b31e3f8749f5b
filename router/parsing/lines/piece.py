"""One piece of text: its lines become rows, plain ones all at once and odd ones one by one."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from common.values.ids import SequencerId
from router.lineprotocol.fields import plain_lines
from router.lineprotocol.lines import line_end
from router.lineprotocol.structure import Bools, Ints, structure
from router.parsing.draft import Draft, NewTables
from router.parsing.lines.distinct import occurring
from router.parsing.lines.odd import OddLines, OddRows
from router.parsing.lines.places import Places
from router.parsing.lines.plain import BodyTimes, PlainRows, read_plain
from router.parsing.lines.rows import Columns, Rows, joined
from router.parsing.lines.series_cache import NamespaceSeries
from router.parsing.lines.text import Part, Pieces
from router.parsing.messages import Body, RequestLines

_LINES_BETWEEN_CHECKS = 256
"""A few milliseconds of odd lines."""

_UNKNOWN_MAX = 128
"""Some ten milliseconds of lines."""


class Bodies:
    """Bodies that are read together: what became of each so far."""

    def __init__(
        self, bodies: Sequence[Body], new_tables: Sequence[NewTables], check_wanted: Callable[[], None]
    ) -> None:
        """check_wanted: called now and then; raises what ends the batch."""
        self.bodies = bodies
        self.pieces = Pieces(bodies)
        self.requests = [RequestLines() for _ in bodies]
        self.new_tables = new_tables
        self.check_wanted = check_wanted
        self._registered = -1
        self._unknown_max = _UNKNOWN_MAX

    @cached_property
    def times(self) -> BodyTimes:
        return BodyTimes(self.bodies)

    def unknown_max(self, registered: int) -> int:
        """How many lines with unknown columns to read one by one: more, where the last ones registered none.

        registered: how many columns are, so far.
        """
        learned = registered > self._registered
        self._unknown_max = _UNKNOWN_MAX if learned else 2 * self._unknown_max
        self._registered = registered
        return self._unknown_max


class Piece:
    """Parts of bodies while they are read."""

    def __init__(self, parts: Sequence[Part], bodies: Bodies, series: NamespaceSeries, draft: Draft) -> None:
        self.columns = Columns()
        self._parts = parts
        self._bodies = bodies
        self._series = series
        self._draft = draft
        self._odd_rows = OddRows(self.columns)
        self._odd_lines = OddLines(series, draft, self._odd_rows.add)

    def read(self) -> Rows:
        """The rows of the accepted lines, in order."""
        if self._parts[0].is_long_line:
            self._read_odd(self._parts[0], self._parts[0].start, self._parts[0].number, 0)
            return self._odd_rows.rows()
        found = structure(b"".join(part.data for part in self._parts))
        places = Places(self._parts, found.starts)
        lines = plain_lines(found)
        bodies = places.bodies[lines.lines]
        plain = read_plain(found.text, lines, bodies, self._bodies.times, self._series, self._draft, self.columns)
        odd = found.odd
        odd[lines.lines[plain.odd]] = True
        odd[lines.lines[self._begin_too_many(plain, bodies, places.bodies[odd])]] = True
        end = self._end_before_unknown(plain, lines.lines, places)
        consumed = self._read_odd_lines(odd[:end], places)
        kept = ~(odd | consumed)[lines.lines] & (lines.lines < end)
        self._account(plain, kept, bodies)
        return joined(plain.rows(lines.lines, kept), self._odd_rows.rows())

    def _begin_too_many(self, plain: PlainRows, bodies: Ints, odd_bodies: Ints) -> Bools:
        """Which plain lines begin a table, where their body may begin so many that the order of its lines decides.

        bodies: of the plain lines. odd_bodies: of the odd ones, each of which may begin a table.
        """
        begin = np.zeros(len(bodies), np.bool_)
        new = np.array([self._draft.is_new(family.table) for family in plain.families], np.bool_)
        if not new.any():
            return begin
        lines = np.flatnonzero(new[plain.family])
        pairs, pair = np.unique(bodies[lines] * len(new) + plain.family[lines], return_inverse=True)
        body, family = np.divmod(pairs, len(new))
        tables = self._bodies.new_tables
        begins = np.array(
            [
                not tables[one].has_begun(plain.families[other].table)
                for one, other in zip(body.tolist(), family.tolist(), strict=True)
            ],
            np.bool_,
        )
        counts = np.bincount(odd_bodies, minlength=len(tables)) + np.bincount(body[begins], minlength=len(tables))
        too_many = counts > [one.room for one in tables]
        begin[lines] = (begins & too_many[body])[pair]
        return begin

    def _end_before_unknown(self, plain: PlainRows, lines: Ints, places: Places) -> int:
        """The first line that is left for the next piece. No more than some lines with unknown columns are read: once
        these are known, others with them are plain."""
        unknown = lines[plain.unknown]
        if not len(unknown):
            return len(places.bodies)
        most = self._bodies.unknown_max(self._draft.mark())
        if len(unknown) <= most:
            return len(places.bodies)
        end = int(unknown[most])
        self._bodies.pieces.go_back(self._parts, *places.of(end))
        return end

    def _read_odd_lines(self, odd: Bools, places: Places) -> Bools:
        """Read them in order; returns which lines belong to a string of an odd one."""
        consumed = np.zeros(len(places.bodies), np.bool_)
        next_line = 0
        for count, line in enumerate(np.flatnonzero(odd).tolist()):
            if line < next_line:
                continue
            if count % _LINES_BETWEEN_CHECKS == 0:
                self._bodies.check_wanted()
            place, start, number = places.of(line)
            newlines = self._read_odd(self._parts[place], start, number, line)
            next_line = min(line + newlines + 1, places.ends[place])
            consumed[line + 1 : next_line] = True
        return consumed

    def _read_odd(self, part: Part, start: int, number: int, line: int) -> int:
        """Read the line that begins at `start`; returns how many newlines are in its strings."""
        end = line_end(part.text, start)
        self._odd_lines.read(
            line,
            number,
            part.text[start:end],
            self._bodies.bodies[part.body],
            self._bodies.requests[part.body],
            self._bodies.new_tables[part.body],
        )
        self._bodies.pieces.skip(part.body, min(end + 1, len(part.text)))
        return part.text.count(b"\n", start, end)

    def _account(self, plain: PlainRows, kept: Bools, bodies: Ints) -> None:
        """What became of the plain lines, for each body."""
        requests = self._bodies.requests
        mine = bodies[kept]
        for body, accepted in enumerate(np.bincount(mine, minlength=len(requests)).tolist()):
            requests[body].accepted += accepted
        for body, sequencer in _pairs(mine, self._series.sequencer_of[plain.series[kept]]):
            requests[body].sequencers.add(SequencerId(sequencer))
        if plain.needs_additions is None:
            return
        for body in set(bodies[kept & plain.needs_additions].tolist()):
            requests[body].needs_additions = True
        for body, family in _pairs(mine, plain.family[kept]):
            self._bodies.new_tables[body].begin(plain.families[family].table)


def _pairs(ones: Ints, others: Ints) -> Sequence[tuple[int, int]]:
    """Each that occurs, once."""
    width = int(others.max(initial=0)) + 1
    end = (int(ones.max(initial=0)) + 1) * width
    return [divmod(code, width) for code in occurring(ones * width + others, end).tolist()]
