"""Columns of packed rows: the blocks of one shape, of any number of entries, become one batch.

Numbers are read from the joined bodies by their positions, all blocks at once. Everything is checked on all rows; what
is wrong is named by its table, not by its entry: a reader of many entries then reads each alone.
"""

import numpy as np
import pyarrow as pa

from common.entry.cells import Cells, Present, Words
from common.entry.packed_blocks import Blocks, Numbers
from common.entry.series import Codes, SeriesTable
from common.entry.series_rows import SeriesRows
from common.entry.shape import Shape
from common.values.errors import DataCorrupt


def batch_of(blocks: Blocks) -> pa.RecordBatch:
    """As `rows_of`, in penstock's schema."""
    return rows_of(blocks, SeriesTable(blocks.shape.tag_keys)).with_tags(blocks.shape.columns)


def rows_of(blocks: Blocks, series: SeriesTable) -> SeriesRows:
    """The rows of all blocks in their order: at least one, under 2 GiB of strings.

    series: of the shape's tag keys; it learns those it does not know. Raises DataCorrupt with what does not fit.
    """
    shape = blocks.shape
    try:
        rows = _Rows(blocks)
        words = np.frombuffer(blocks.data, "<u8")
        times = words[rows.from_start(0, 1)].view(np.int64)
        _check_times(times, rows, blocks)
        columns = words[rows.from_start(blocks.rows, len(shape.fields)) + np.arange(len(shape.fields))[:, None]]
        numbers = _series(rows, blocks, series)
        cells = _cells(shape, columns, _present(rows, blocks), rows, blocks)
        return SeriesRows(times, cells, numbers, series.series)
    except DataCorrupt as error:
        raise DataCorrupt(f"table {shape.table!r}: {error.message}") from None


class _Rows:
    """Where rows and their parts are. of_block: int64[R], each row's block. within: its position there.

    Bytes from the start of the data, int64[B]: codes, lengths, presence, series, strings.
    """

    def __init__(self, blocks: Blocks) -> None:
        counts = blocks.rows
        self.firsts = np.cumsum(counts) - counts
        self.of_block = np.repeat(np.arange(len(counts)), counts)
        self.within = np.arange(len(self.of_block)) - self.firsts[self.of_block]
        self.codes = blocks.starts + counts * blocks.shape.row_bytes
        self.lengths = self.codes + 4 * counts * blocks.coded
        self.presence = self.lengths + 4 * (blocks.series - 1)
        self.series = self.presence + counts * blocks.shape.presence_bytes * blocks.presence
        self.strings = self.series + blocks.series_bytes
        self._words = blocks.starts // 8

    def from_start(self, skip: Numbers | int, size: int) -> Numbers:
        """The position of each row's first word, where rows of `size` words begin `skip` words after their block."""
        words: Numbers = (self._words + skip)[self.of_block] + self.within * size
        return words


def _check_times(times: Numbers, rows: _Rows, blocks: Blocks) -> None:
    is_least = np.minimum.reduceat(times, rows.firsts) == blocks.least
    if not (is_least & (np.maximum.reduceat(times, rows.firsts) == blocks.greatest)).all():
        raise DataCorrupt("its times are outside its header's range")


def _present(rows: _Rows, blocks: Blocks) -> Present | None:
    """bool[fields, rows], None where all are."""
    if not blocks.presence.any():
        return None
    size, fields = blocks.shape.presence_bytes, len(blocks.shape.fields)
    flagged = blocks.presence[rows.of_block]
    at = (rows.presence[rows.of_block] + rows.within * size)[:, None] + np.arange(size)
    found = np.frombuffer(blocks.data, np.uint8)[np.where(flagged[:, None], at, 0)]
    bits = np.unpackbits(found, axis=1, bitorder="little").view(np.bool_)
    if bits[flagged, fields:].any():
        raise DataCorrupt(f"a row says that it has more than {fields} fields")
    return np.ascontiguousarray((bits[:, :fields] | ~flagged[:, None]).T)


def _series(rows: _Rows, blocks: Blocks, series: SeriesTable) -> Codes:
    """The number of each row's."""
    numbers = np.array(series.numbers(_packed_series(rows, blocks)), np.int32)
    if not blocks.coded.any():
        return numbers
    halves = np.frombuffer(blocks.data, "<u4")
    coded = blocks.coded[rows.of_block]
    at = rows.codes[rows.of_block] // 4 + rows.within
    codes = np.where(coded, halves[np.where(coded, at, 0)], rows.within)
    if (codes >= blocks.series[rows.of_block]).any():
        raise DataCorrupt(f"a row has series {codes.max()} of at most {blocks.series.max()}")
    firsts = np.cumsum(blocks.series) - blocks.series
    found: Codes = numbers[firsts[rows.of_block] + codes]
    return found


def _packed_series(rows: _Rows, blocks: Blocks) -> list[bytes]:
    """The tag values of all series of all blocks, one after another."""
    counts = blocks.series
    last = np.cumsum(counts) - 1
    lengths = np.zeros(last[-1] + 1, np.int64)
    if len(lengths) > len(counts):
        firsts = last + 1 - counts
        of_block = np.repeat(np.arange(len(counts)), counts - 1)
        within = np.arange(len(of_block)) - (firsts - np.arange(len(counts)))[of_block]
        listed = np.frombuffer(blocks.data, "<u4")[rows.lengths[of_block] // 4 + within].astype(np.int64)
        lengths[firsts[of_block] + within] = listed
        lengths[last] = blocks.series_bytes - np.add.reduceat(lengths, firsts)
        if lengths.min() < 0:
            raise DataCorrupt(f"series are longer than the {blocks.series_bytes.max()} bytes that they lie in")
    else:
        lengths[:] = blocks.series_bytes
    before = np.cumsum(lengths) - lengths
    starts = before + np.repeat(rows.series - before[last + 1 - counts], counts)
    data = blocks.data
    return [data[start:end] for start, end in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]


def _cells(shape: Shape, columns: Words, present: Present | None, rows: _Rows, blocks: Blocks) -> Cells:
    """columns: [fields, rows]."""
    if present is not None and columns[~present].any():
        raise DataCorrupt("a field that is absent has a value")
    if len(shape.booleans) and (columns[shape.booleans] > 1).any():
        raise DataCorrupt("a boolean is neither 0 nor 1")
    texts = _texts(columns[shape.strings].T, rows, blocks)
    if not texts:
        return Cells(shape.fields, columns, present, {})
    at_strings, at_words = shape.strings.tolist(), shape.words
    named = {}
    for at, data in zip(at_strings, texts, strict=True):
        bits, nulls = _validity(present, at)
        named[shape.fields[at][0]] = pa.Array.from_buffers(pa.utf8(), columns.shape[1], [bits, *data], nulls)
    return Cells(shape.word_fields, columns[at_words], None if present is None else present[at_words], named)


def _validity(present: Present | None, at: int) -> tuple[pa.Buffer | None, int]:
    """The bits of the rows that have the field, None where all have, and how many have not."""
    if present is None or present[at].all():
        return None, 0
    return pa.py_buffer(np.packbits(present[at], bitorder="little")), int(np.count_nonzero(~present[at]))


def _texts(lengths: Words, rows: _Rows, blocks: Blocks) -> list[list[pa.Buffer]]:
    """Offsets and bytes of each string field. lengths: [rows, string fields], in bytes."""
    if not len(blocks.shape.strings) and not blocks.string_bytes.any():
        return []
    wanted = blocks.string_bytes.astype(np.uint64)
    if (lengths > wanted.max()).any():
        raise DataCorrupt("a string is longer than all strings together")
    if (np.add.reduceat(lengths.sum(axis=1, dtype=np.uint64), rows.firsts) != wanted).any():
        raise DataCorrupt("the lengths of its strings are not those of their bytes")
    if not lengths.size:
        return []
    offsets = np.zeros(lengths.size + 1, np.int32)
    offsets[1:] = np.cumsum(lengths.ravel())
    ends = rows.strings + blocks.string_bytes
    data = blocks.data
    joined = b"".join([data[at:end] for at, end in zip(rows.strings.tolist(), ends.tolist(), strict=True)])
    texts = pa.Array.from_buffers(pa.utf8(), lengths.size, [None, pa.py_buffer(offsets), pa.py_buffer(joined)], 0)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        raise DataCorrupt(f"a string is no text: {error}") from None
    fields = lengths.shape[1]
    if fields == 1:
        return [texts.buffers()[1:]]
    return [texts.take(pa.array(np.arange(at, lengths.size, fields))).buffers()[1:] for at in range(fields)]
