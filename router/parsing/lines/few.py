"""A piece of few lines: each is read alone, in order.

A call of numpy or Arrow costs about a microsecond, whether for one line or for thousands, and a piece needs hundreds of
them. Here a line that has a known form costs a few microseconds; all others are odd, and the strict
parser reads them (odd.py). As every line is read after those before it, the order needs no care.
"""

from collections.abc import Mapping, Sequence

from common.entry import PackedRows
from common.values.ids import SequencerId
from common.values.schema import ColumnType
from router.lineprotocol.forms import Form, form_of, without_texts
from router.lineprotocol.lines import line_end
from router.lineprotocol.point import Fields, LineError
from router.lineprotocol.scalar import parse_time_ns, split_line
from router.parsing.draft import Draft, NewTables
from router.parsing.lines.few_rows import FewRows
from router.parsing.lines.odd import OddLines
from router.parsing.lines.piece import Bodies
from router.parsing.lines.series_cache import Family, NamespaceSeries
from router.parsing.lines.text import Part
from router.parsing.messages import Body, RequestLines
from router.parsing.time_bounds import check_time

FEW_LINES_MAX = 100
"""Beyond, arrays are faster: from 110 lines of ten fields on, or 150 of two."""

FEW_BYTES_MAX = 32 * 1024
"""Beyond, the limits of single lines and strings, and of what is packed at once (matrix.py), come within reach."""

FEW_UNLIKE_LINES_MAX = 20
"""The same where most lines have a form that none before had: to learn one costs ten times what it saves."""

_PIECES_AFTER_UNLIKE = 20
"""So many are then taken to be of such lines, too, before one shows again what they are."""

FORMS_BYTES_MAX = 8 * 1024 * 1024
"""Of memory, as estimated."""

_FORM_BYTES = 1_200
_KEY_BYTES = 300


class Forms:
    """Forms of lines that were seen before. When full all are forgotten. For one thread.

    learned: how many so far, those that were forgotten too.
    """

    def __init__(self) -> None:
        self.learned = 0
        self._unlike_pieces = 0
        self._forms: dict[tuple[Family, tuple[bytes, ...]], Form] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._forms)

    def suit(self, parts: Sequence[Part]) -> bool:
        """Whether the lines of the next piece are so few that they are best read one by one."""
        if sum(part.end - part.start for part in parts) > FEW_BYTES_MAX:
            return False
        lines = sum(part.text.count(b"\n", part.start, part.end) for part in parts)
        if lines > FEW_UNLIKE_LINES_MAX and self._unlike_pieces:
            self._unlike_pieces -= 1
            return False
        return lines <= FEW_LINES_MAX

    def note(self, learned: int, lines: int) -> None:
        """Of a piece that was read: how many of its forms were learned for it."""
        self._unlike_pieces = _PIECES_AFTER_UNLIKE if 2 * learned > lines else 0

    def find(self, family: Family, keys: tuple[bytes, ...], draft: Draft) -> Form | None:
        """None where not all tags and fields are settled. What is settled stays so, and is remembered."""
        return self._forms.get((family, keys)) or self._learned(family, keys, draft)

    def _learned(self, family: Family, keys: tuple[bytes, ...], draft: Draft) -> Form | None:
        columns = draft.settled(family.table)
        if any(columns.get(key) is not ColumnType.TAG for key in family.tag_keys):
            return None
        form = form_of(keys, columns)
        if form is not None:
            size = _FORM_BYTES + sum(_KEY_BYTES + len(key) for key in (*keys, *family.tag_keys))
            if self._bytes + size > FORMS_BYTES_MAX:
                self._forms.clear()
                self._bytes = 0
            self._forms[family, keys] = form
            self._bytes += size
            self.learned += 1
        return form


class FewLines:
    """Parts of bodies while they are read."""

    def __init__(
        self, parts: Sequence[Part], bodies: Bodies, series: NamespaceSeries, draft: Draft, forms: Forms
    ) -> None:
        self._parts = parts
        self._bodies = bodies
        self._series = series
        self._draft = draft
        self._forms = forms
        self._odd_lines = OddLines(series, draft, self._add_odd)
        self._rows = FewRows(series)

    def read(self) -> Mapping[SequencerId, list[PackedRows]]:
        """The rows of the accepted lines, in order, by sequencer and table."""
        learned = self._forms.learned
        for part in self._parts:
            self._read_part(part)
        self._forms.note(self._forms.learned - learned, len(self._rows))
        return self._rows.packed()

    def _read_part(self, part: Part) -> None:
        lines, new_tables = self._bodies.requests[part.body], self._bodies.new_tables[part.body]
        times = _Times(self._bodies.bodies[part.body])
        at = next_at = part.start
        for number, line in enumerate(part.text[part.start : part.end].split(b"\n"), part.number):
            start, at = at, at + len(line) + 1
            if line and start >= next_at and not self._read_known(line, times, lines, new_tables):
                next_at = self._read_odd(part, start, number)

    def _read_known(self, line: bytes, times: "_Times", lines: RequestLines, new_tables: NewTables) -> bool:
        """Whether the line can be read without the strict parser; it is accepted then.

        lines, new_tables: of its body.
        """
        try:
            name, said = split_line(line) or (b"", b"")
            series = self._series.find(name)
            if series is None:
                series = self._series.number(name, new_tables.check)
            family = self._series.family(series)
            said, texts = without_texts(said)
            section, _, time = said.partition(b" ")
            tokens = section.replace(b"=", b",").split(b",")
            form = self._forms.find(family, tuple(tokens[::2]), self._draft)
            if form is None:
                return False
            values, strings = form.read(section, tokens[1::2], texts)
            time_ns = times.parse(time)
        except LineError:
            return False
        lines.accepted += 1
        lines.sequencers.add(self._rows.add(series, family, time_ns, form.fields, values, strings))
        return True

    def _read_odd(self, part: Part, start: int, number: int) -> int:
        """Read the line that begins at `start`; returns where the next one begins."""
        end = line_end(part.text, start)
        self._odd_lines.read(
            number,
            number,
            part.text[start:end],
            self._bodies.bodies[part.body],
            self._bodies.requests[part.body],
            self._bodies.new_tables[part.body],
        )
        next_at = min(end + 1, len(part.text))
        self._bodies.pieces.skip(part.body, next_at)
        return next_at

    def _add_odd(self, place: int, series: int, table: str, time_ns: int, fields: Fields) -> None:
        self._rows.add_fields(series, time_ns, fields)


class _Times:
    """The times that the lines of one body name: most of them the same."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._last = b"", body.default_time_ns

    def parse(self, token: bytes) -> int:
        """token: empty where a line names none. Raises LineError for what is no time, or out of bounds."""
        last, time_ns = self._last
        if token != last:
            time_ns = self._parse(token)
            self._last = token, time_ns
        return time_ns

    def _parse(self, token: bytes) -> int:
        time_ns = parse_time_ns(token, self._body.precision_ns)
        if time_ns is None:
            return self._body.default_time_ns
        check_time(time_ns, self._body.times)
        return time_ns
