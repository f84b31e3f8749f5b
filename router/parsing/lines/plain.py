"""The plain lines of a piece of text that fit the schemas, turned into rows all at once.

Everything that is not certain, or that would change something (a column that is not known yet, another type, a name or
number that is wrong), makes its line odd: the odd lines are read one by one, in order (odd.py). So the types that lines
register, the limits and the messages have one home, and plain lines only use what was known before the piece.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.values.schema import RESERVED_COLUMNS, TIME_NS_MAX, ColumnType
from router.lineprotocol import values
from router.lineprotocol.fields import PlainLines
from router.lineprotocol.point import LineError
from router.lineprotocol.scalar import GUESSED_PRECISION, field_key
from router.lineprotocol.structure import Bools, Bytes, Ints
from router.lineprotocol.values import TYPES
from router.parsing.draft import Draft
from router.parsing.lines.distinct import distinct
from router.parsing.lines.rows import Columns, Rows
from router.parsing.lines.series_cache import NO_SERIES, Family, NamespaceSeries
from router.parsing.messages import Body

_UNFIT = len(TYPES) + 1
"""In the place of the type of a column that no plain line may have."""

_TYPE_NUMBERS: Mapping[ColumnType, int] = {column: number for number, column in enumerate(TYPES)}


class BodyTimes:
    """What the bodies of a batch say of times, by their place in it: int64 each."""

    def __init__(self, bodies: Sequence[Body]) -> None:
        self.precision_ns = np.array([body.precision_ns for body in bodies], np.int64)
        self.default_ns = np.array([body.default_time_ns for body in bodies], np.int64)
        self.min_ns = np.array([body.times.min_ns for body in bodies], np.int64)
        self.max_ns = np.array([body.times.max_ns for body in bodies], np.int64)


@dataclass(frozen=True, slots=True)
class PlainRows:
    """n lines and their m fields. odd: bool[n], those that are not plain after all: what else is here of them has no
    meaning. unknown: bool[n], those of them that have a column, or table, that the draft lacks so far.

    series, times_ns, field_counts: int64[n]. columns: int64[m]. bits: uint64[m]. text_cells, texts: as in Rows.
    needs_additions: bool[n], whether a line has a column that the draft has and that is not settled; None where none.
    families: those of the lines. family: int64[n], places in `families`.
    """

    odd: Bools
    unknown: Bools
    series: Ints
    times_ns: Ints
    field_counts: Ints
    columns: Ints
    bits: npt.NDArray[np.uint64]
    text_cells: Ints
    texts: pa.StringArray
    needs_additions: Bools | None
    families: Sequence[Family]
    family: Ints

    def rows(self, lines: Ints, kept: Bools) -> Rows:
        """The rows of those lines where `kept` is true. lines: int64[n], their places in the piece."""
        if kept.all():
            counts = self.field_counts
            row = np.repeat(np.arange(len(lines)), counts)
            return Rows(lines, self.series, self.times_ns, row, self.columns, self.bits, self.text_cells, self.texts)
        counts = self.field_counts[kept]
        cells = np.repeat(kept, self.field_counts)
        texts = cells[self.text_cells]
        return Rows(
            lines[kept],
            self.series[kept],
            self.times_ns[kept],
            np.repeat(np.arange(len(counts)), counts),
            self.columns[cells],
            self.bits[cells],
            (np.cumsum(cells) - 1)[self.text_cells[texts]],
            self.texts.filter(pa.array(texts)),
        )


def read_plain(
    text: Bytes,
    lines: PlainLines,
    bodies: Ints,
    times: BodyTimes,
    series: NamespaceSeries,
    draft: Draft,
    columns: Columns,
) -> PlainRows:
    """bodies: of each line, its place in the batch. columns: of the piece; grows."""
    if not len(lines.lines):
        return _nothing(lines)
    numbers = _series(text, lines, series, draft)
    unknown = numbers == NO_SERIES
    if unknown.all():
        return _nothing(lines)
    numbers[unknown] = numbers[np.argmin(unknown)]  # any series there is: these lines are odd
    families, family = distinct(series.family_of[numbers], len(series.families))
    known = [series.families[number] for number in families.tolist()]
    unknown |= np.array([not _fits(draft, one) for one in known])[family]
    fit = _FitCells(text, lines, known, family, draft, columns)
    cell_values = _Values(text, lines, fit.types)
    begins = np.cumsum(lines.fields) - lines.fields
    odd = unknown | np.logical_or.reduceat(fit.wrong | cell_values.wrong, begins)
    if fit.unknown.any():
        unknown |= np.logical_or.reduceat(fit.unknown, begins)
    times_ns, wrong_times = _times(text, lines, bodies, times)
    odd |= wrong_times
    needs = None
    if draft.additions:
        needs = np.logical_or.reduceat(fit.needs_additions, begins)
        needs |= np.array([draft.adds(one.table, one.tag_keys) for one in known])[family]
    return PlainRows(
        odd=odd,
        unknown=unknown,
        series=numbers,
        times_ns=times_ns,
        field_counts=lines.fields,
        columns=fit.columns,
        bits=cell_values.bits,
        text_cells=cell_values.text_cells,
        texts=cell_values.texts,
        needs_additions=needs,
        families=known,
        family=family,
    )


def _series(text: Bytes, lines: PlainLines, series: NamespaceSeries, draft: Draft) -> Ints:
    """The series of each line. Where lines outnumber the series, equal names are found before they are looked up."""

    def is_known(table: str) -> bool:
        return bool(draft.columns(table))

    if len(lines.lines) > 2 * len(series):
        encoded = values.texts(text, lines.series_starts, lines.series_ends, pa.binary()).dictionary_encode()
        return series.numbers(encoded.dictionary.to_pylist(), is_known)[values.codes(encoded)]
    data, starts, ends = text.tobytes(), lines.series_starts.tolist(), lines.series_ends.tolist()
    return series.numbers([data[start:end] for start, end in zip(starts, ends, strict=True)], is_known)


def _nothing(lines: PlainLines) -> PlainRows:
    """Where every line is odd."""
    odd = np.ones(len(lines.lines), np.bool_)
    by_line = np.zeros(len(lines.lines), np.int64)
    by_cell = np.zeros(len(lines.key_ends), np.int64)
    return PlainRows(
        odd=odd,
        unknown=odd,
        series=by_line,
        times_ns=by_line,
        field_counts=lines.fields,
        columns=by_cell,
        bits=by_cell.view(np.uint64),
        text_cells=np.zeros(0, np.int64),
        texts=pa.array([], pa.utf8()),
        needs_additions=None,
        families=[],
        family=by_line,
    )


def _fits(draft: Draft, family: Family) -> bool:
    known = draft.columns(family.table)
    return all(known.get(key) is ColumnType.TAG for key in family.tag_keys)


class _FitCells:
    """What the schemas say of each field, by cell. types: uint8, the type's number where the value has the column's
    type, else NO_TYPE. columns: int64. wrong, unknown, needs_additions: bool."""

    def __init__(
        self, text: Bytes, lines: PlainLines, families: Sequence[Family], family: Ints, draft: Draft, columns: Columns
    ) -> None:
        encoded = values.texts(text, lines.key_starts, lines.key_ends, pa.binary()).dictionary_encode()
        keys = [_key(raw) for raw in encoded.dictionary.to_pylist()]
        codes = np.repeat(family, lines.fields) * len(keys) + values.codes(encoded)
        found, pair = distinct(codes, len(families) * len(keys))
        pairs = _Pairs(found, families, keys, draft, columns)
        self.types = values.types_by_last_byte(text, lines.value_ends)
        self.wrong = self.types != pairs.types[pair]
        self.types[self.wrong] = values.NO_TYPE
        self.columns = pairs.columns[pair]
        self.unknown = pairs.unknown[pair]
        self.needs_additions = pairs.needs_additions[pair]


class _Pairs:
    """What the schemas say of a family and a key: of these pairs there are few, and each is looked up once.

    By pair: types, uint8, or _UNFIT; columns, int64; unknown, needs_additions, bool.
    """

    def __init__(
        self,
        pairs: Ints,
        families: Sequence[Family],
        keys: Sequence[str | None],
        draft: Draft,
        columns: Columns,
    ) -> None:
        """pairs: the place in `families` times the number of keys, plus the place in `keys`."""
        self.types = np.full(len(pairs), _UNFIT, np.uint8)
        self.columns = np.zeros(len(pairs), np.int64)
        self.unknown = np.zeros(len(pairs), np.bool_)
        self.needs_additions = np.zeros(len(pairs), np.bool_)
        tables = [(draft.columns(one.table), columns.table(one.table)) for one in families]
        for pair, code in enumerate(pairs.tolist()):
            family, key = divmod(code, len(keys))
            (known, table), name = tables[family], keys[key]
            column = None if name is None else known.get(name)
            if name is None or column is None or column is ColumnType.TAG or name in RESERVED_COLUMNS:
                self.unknown[pair] = column is None
                continue
            self.types[pair] = _TYPE_NUMBERS[column]
            self.columns[pair] = columns.column(table, name, column)
            if draft.additions:
                self.needs_additions[pair] = draft.adds(families[family].table, (name,))


def _key(raw: bytes) -> str | None:
    """None for what cannot be a field's name."""
    try:
        return field_key(raw)
    except LineError:
        return None


class _Values:
    """The values of all cells. bits: uint64. wrong: bool, those whose text is no value of its type. text_cells, texts:
    as in Rows."""

    def __init__(self, text: Bytes, lines: PlainLines, types: npt.NDArray[np.uint8]) -> None:
        self.bits = np.zeros(len(types), np.uint64)
        self.wrong = np.zeros(len(types), np.bool_)
        self.text_cells = np.zeros(0, np.int64)
        self.texts = pa.array([], pa.utf8())
        for number in np.flatnonzero(np.bincount(types, minlength=values.NO_TYPE)[: values.NO_TYPE]).tolist():
            cells = np.flatnonzero(types == number)
            starts, ends = lines.value_starts[cells], lines.value_ends[cells]
            if TYPES[number] is ColumnType.STRING:
                self.text_cells = cells
                self.texts, wrong = values.strings(text, starts, ends)
            else:
                self.bits[cells], wrong = values.fixed(text, starts, ends, TYPES[number])
            if wrong is not None:
                self.wrong[cells[wrong]] = True


def _times(text: Bytes, lines: PlainLines, bodies: Ints, said: BodyTimes) -> tuple[Ints, Bools]:
    """The time of each line, and which cannot be used."""
    times_ns = said.default_ns[bodies]
    wrong = np.zeros(len(bodies), np.bool_)
    named = np.flatnonzero(lines.time_ends > lines.time_starts)
    if not named.size:
        return times_ns, wrong
    bits, no_number = values.fixed(text, lines.time_starts[named], lines.time_ends[named], ColumnType.INTEGER, 0)
    units = bits.view(np.int64)
    bodies = bodies[named]
    precision_ns = said.precision_ns[bodies]
    if (precision_ns == GUESSED_PRECISION).any():
        precision_ns = np.where(precision_ns == GUESSED_PRECISION, _guessed_precision_ns(units), precision_ns)
    most = TIME_NS_MAX // precision_ns
    out = (units > most) | (units < -most)
    times_ns[named] = np.where(out, 0, units) * precision_ns
    out |= (times_ns[named] < said.min_ns[bodies]) | (times_ns[named] > said.max_ns[bodies])
    if no_number is not None:
        out |= no_number
    wrong[named] = out
    return times_ns, wrong


def _guessed_precision_ns(units: Ints) -> Ints:
    """As scalar.py guesses: the least of these that puts a time of now into nanoseconds."""
    size = np.abs(units) // 10**9
    return np.select([size < 5, size < 5_000, size < 5_000_000], [10**9, 10**6, 10**3], 1)
