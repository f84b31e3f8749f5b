"""The blocks of many entries of packed rows, as arrays: found and checked all at once.

What is wrong is not named here but which entry has it: packed_header.py reads one alone, and names it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.entry.envelope import ALIGNMENT, Envelope
from common.entry.packed_header import ALL_FLAGS, DECODED_BYTES_MAX, HAS_PRESENCE, HAS_SERIES_OF_ROW, SHAPES
from common.entry.shape import Shape

Numbers = npt.NDArray[np.int64]

_TABLE = np.dtype(
    [
        ("rows", "<u4"),
        ("series", "<u4"),
        ("series_bytes", "<u4"),
        ("string_bytes", "<u4"),
        ("least", "<i8"),
        ("greatest", "<i8"),
        ("shape_length", "<u4"),
        ("flags", "<u4"),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """B blocks of one shape. All arrays int64[B], but presence and coded, bool[B]: the flags.

    entries: positions of the entries, ascending where they come from many. starts: in `data`, the joined bodies.
    """

    shape: Shape
    data: bytes
    entries: Numbers
    rows: Numbers
    series: Numbers
    series_bytes: Numbers
    string_bytes: Numbers
    least: Numbers
    greatest: Numbers
    presence: npt.NDArray[np.bool_]
    coded: npt.NDArray[np.bool_]
    starts: Numbers

    def only(self, wanted: npt.NDArray[np.bool_] | Numbers) -> "Blocks":
        """Those that a mask, or their positions, name."""
        arrays = {name: getattr(self, name)[wanted] for name in self.__slots__[2:]}
        return Blocks(self.shape, self.data, **arrays)


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """The tables of E entries, T in all: arrays [T] in the order of the entries.

    wrong: entries of which something does not fit; where there are any, nothing else holds. rows, decoded_bytes:
    int64[E], of each entry. shape_of: int64[T], positions in `shapes`. starts: int64[T], in the joined bodies.
    """

    wrong: list[int]
    rows: Numbers
    decoded_bytes: Numbers
    shapes: list[Shape]
    shape_of: Numbers
    entries: Numbers
    fields: npt.NDArray[np.void]
    starts: Numbers

    def groups(self, kinds: Numbers) -> Iterator[tuple[int, Shape, Numbers]]:
        """For each kind and shape that occur: which tables have them. kinds: int64[T], such as of their namespaces."""
        pairs = kinds * len(self.shapes) + self.shape_of
        order = np.argsort(pairs, kind="stable")
        ends = np.flatnonzero(np.diff(pairs[order], append=-1)) + 1
        start = 0
        for end in ends.tolist():
            kind, shape = divmod(int(pairs[order[start]]), len(self.shapes))
            yield kind, self.shapes[shape], order[start:end]
            start = end

    def blocks(self, shape: Shape, data: bytes, at: Numbers) -> Blocks:
        """Those at these positions, all of one shape. data: the joined bodies."""
        here = self.fields[at]
        return Blocks(
            shape,
            data,
            self.entries[at],
            here["rows"].astype(np.int64),
            here["series"].astype(np.int64),
            here["series_bytes"].astype(np.int64),
            here["string_bytes"].astype(np.int64),
            here["least"],
            here["greatest"],
            (here["flags"] & HAS_PRESENCE) > 0,
            (here["flags"] & HAS_SERIES_OF_ROW) > 0,
            self.starts[at],
        )


def find_tables(envelopes: Sequence[Envelope]) -> Tables:
    """The tables of entries of version 2, each with at least one table and with its whole body."""
    counts = np.array([found.tables_count for found in envelopes], np.int64)
    firsts = np.cumsum(counts) - counts
    fields = np.frombuffer(b"".join([found.tables for found in envelopes]), _TABLE)
    entries = np.repeat(np.arange(len(counts)), counts)
    each = _shapes(envelopes, fields["shape_length"].astype(np.int64), firsts, entries)
    shapes = list(dict.fromkeys(each))
    numbers = {shape: number for number, shape in enumerate(shapes)}
    shape_of = np.fromiter(map(numbers.__getitem__, each), np.int64, len(each))
    if None in numbers:
        wrong = np.unique(entries[shape_of == numbers[None]]).tolist()
        return Tables(wrong, counts, counts, [], shape_of, entries, fields, entries)
    known = [shape for shape in shapes if shape is not None]
    rows, series, flags = (fields[name].astype(np.int64) for name in ("rows", "series", "flags"))
    sizes = rows * _row_bytes(known, shape_of, flags) + 4 * (series - 1) + fields["series_bytes"]
    sizes += fields["string_bytes"]
    sizes += -sizes % ALIGNMENT
    raw = np.array([found.raw_length for found in envelopes], np.int64)
    decoded_row_bytes = np.array([shape.decoded_row_bytes for shape in known], np.int64)[shape_of]
    decoded = raw + np.add.reduceat(rows * decoded_row_bytes, firsts)
    fits = (series > 0) & (series <= rows) & (flags <= ALL_FLAGS) & (fields["least"] <= fields["greatest"])
    fits &= (series == rows) | ((flags & HAS_SERIES_OF_ROW) > 0)
    right = np.logical_and.reduceat(fits, firsts) & (np.add.reduceat(sizes, firsts) == raw)
    right &= (decoded <= DECODED_BYTES_MAX) & _shapes_fit(envelopes, fields, firsts)
    right &= ~_has_a_table_twice(known, shape_of, entries, len(raw))
    return Tables(
        np.flatnonzero(~right).tolist(),
        np.add.reduceat(rows, firsts),
        decoded,
        known,
        shape_of,
        entries,
        fields,
        np.cumsum(sizes) - sizes,
    )


def _shapes(envelopes: Sequence[Envelope], lengths: Numbers, firsts: Numbers, entries: Numbers) -> list[Shape | None]:
    """Of each table; None for what is no shape. What an entry does not have is left out of its last ones."""
    data = b"".join([found.shapes for found in envelopes])
    limits = np.cumsum([len(found.shapes) for found in envelopes])
    before = np.cumsum(lengths) - lengths
    begins = np.concatenate(([0], limits[:-1]))
    starts = np.minimum(before - before[firsts][entries] + begins[entries], limits[entries])
    ends = np.minimum(starts + lengths, limits[entries])
    return SHAPES.find_all([data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])


def _row_bytes(shapes: Sequence[Shape], shape_of: Numbers, flags: Numbers) -> Numbers:
    """In a block, of each table."""
    row_bytes = np.array([shape.row_bytes for shape in shapes], np.int64)[shape_of]
    presence_bytes = np.array([shape.presence_bytes for shape in shapes], np.int64)[shape_of]
    found: Numbers = row_bytes + 4 * ((flags & HAS_SERIES_OF_ROW) > 0) + presence_bytes * ((flags & HAS_PRESENCE) > 0)
    return found


def _shapes_fit(envelopes: Sequence[Envelope], fields: npt.NDArray[np.void], firsts: Numbers) -> npt.NDArray[np.bool_]:
    """Whether an entry's shapes are all that it has, but for padding."""
    lengths = np.array([len(found.shapes) for found in envelopes], np.int64)
    left = lengths - np.add.reduceat(fields["shape_length"].astype(np.int64), firsts)
    fit: npt.NDArray[np.bool_] = (left >= 0) & (left < ALIGNMENT)
    return fit


def _has_a_table_twice(
    shapes: Sequence[Shape], shape_of: Numbers, entries: Numbers, count: int
) -> npt.NDArray[np.bool_]:
    names = {name: number for number, name in enumerate(dict.fromkeys(shape.table for shape in shapes))}
    tables = np.array([names[shape.table] for shape in shapes], np.int64)[shape_of]
    pairs, times = np.unique(entries * len(names) + tables, return_counts=True)
    found = np.zeros(count, np.bool_)
    found[pairs[times > 1] // len(names)] = True
    return found
