"""The values of many fields at once: what type each has, and its 64 bits.

Arrow casts texts to numbers. It reads them in place: the places of the values become the offsets of a string array over
the text itself, in which every second entry, the gap to the next value, is null. Arrow also accepts what is no number
of line protocol (hexadecimal, a leading plus sign). What it refuses, or accepts although it is none, is left to the
strict parser.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.values.schema import ARROW_TYPES, ColumnType
from router.lineprotocol.scalar import STRING_BYTES_MAX
from router.lineprotocol.structure import Bools, Bytes, Ints

TYPES = (ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.UNSIGNED, ColumnType.STRING, ColumnType.BOOLEAN)
"""A type's number is its place here."""

NO_TYPE = len(TYPES)

_TYPE_BY_LAST = np.full(256, NO_TYPE, np.uint8)
for _type, _last_bytes in enumerate((b"0123456789.", b"i", b"u", b'"', b"tTeEfF")):
    _TYPE_BY_LAST[list(_last_bytes)] = _type

_FORMS = {
    ColumnType.FLOAT: r"\A-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z",
    ColumnType.INTEGER: r"\A-?[0-9]{1,20}\z",
    ColumnType.UNSIGNED: r"\A[0-9]{1,20}\z",
}
_DIGITS_SURE = 18
"""So many always fit 64 bits."""

_BOOLEANS = pa.array(["t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"])
_TRUE_SPELLINGS = 5

Bits = npt.NDArray[np.uint64]


def types_by_last_byte(text: Bytes, value_ends: Ints) -> npt.NDArray[np.uint8]:
    """The type that each value has if it has any: its number in TYPES, or NO_TYPE."""
    return _TYPE_BY_LAST[text[value_ends - 1]]


def texts(text: Bytes, starts: Ints, ends: Ints, kind: pa.DataType | None = None) -> pa.Array:
    """The n ranges, which follow each other, as entries 0, 2, 4, … of an array of 2n - 1; the others are null."""
    count = len(starts)
    offsets = np.empty(2 * count, np.int32)
    offsets[0::2] = starts
    offsets[1::2] = ends
    valid = np.full((2 * count + 7) // 8, 0x55, np.uint8)
    buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(kind or pa.utf8(), 2 * count - 1, buffers, max(count - 1, 0))


def codes(encoded: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    """The codes of `texts` that were dictionary-encoded."""
    return np.frombuffer(encoded.indices.buffers()[1], np.int32, len(encoded))[::2]


def fixed(
    text: Bytes, starts: Ints, ends: Ints, column: ColumnType, suffix_bytes: int | None = None
) -> tuple[Bits, Bools | None]:
    """The bits of floats, integers, unsigned integers, or booleans (1 for true); and which of them are wrong, if any.

    suffix_bytes: at the end of each, not part of the number; by default as fields of this type have them.
    """
    if column is ColumnType.BOOLEAN:
        return _booleans(text, starts, ends)
    ends = ends - (column is not ColumnType.FLOAT if suffix_bytes is None else suffix_bytes)
    found = texts(text, starts, ends)
    try:
        bits = _cast(found, column)
    except pa.ArrowInvalid:
        return _without_wrong(text, starts, ends, column, found)
    wrong = ~np.isfinite(bits.view(np.float64)) if column is ColumnType.FLOAT else _hexadecimal(text, starts)
    wrong |= text[starts] == ord("+")
    return bits, wrong if wrong.any() else None


def _without_wrong(
    text: Bytes, starts: Ints, ends: Ints, column: ColumnType, found: pa.Array
) -> tuple[Bits, Bools | None]:
    """Finds the wrong ones by their form. What has the right form may still be too large for Arrow."""
    formed = pc.match_substring_regex(found, _FORMS[column])
    wrong = ~formed.fill_null(False).to_numpy(zero_copy_only=False)[::2]
    bits = np.zeros(len(starts), np.uint64)
    try:
        _cast_right(text, starts, ends, column, bits, wrong)
    except pa.ArrowInvalid:
        wrong |= ends - starts > _DIGITS_SURE  # some of these are out of range: the strict parser knows which
        _cast_right(text, starts, ends, column, bits, wrong)
    if column is ColumnType.FLOAT:
        wrong |= ~np.isfinite(bits.view(np.float64))
    return bits, wrong


def _cast_right(text: Bytes, starts: Ints, ends: Ints, column: ColumnType, bits: Bits, wrong: Bools) -> None:
    """Fill in the bits of those that are not wrong."""
    chosen = np.flatnonzero(~wrong)
    if chosen.size:
        bits[chosen] = _cast(texts(text, starts[chosen], ends[chosen]), column)


def _cast(found: pa.Array, column: ColumnType) -> Bits:
    cast = found.cast(ARROW_TYPES[column])
    return np.frombuffer(cast.buffers()[1], np.uint64, len(cast))[::2]


def _hexadecimal(text: Bytes, starts: Ints) -> Bools:
    """Arrow reads `0x1f` as an integer. The byte looked at may belong to what follows a number: then a good line is
    read by the strict parser, too."""
    second, third = text[starts + 1], text[np.minimum(starts + 2, len(text) - 1)]
    found: Bools = ((second | 0x20) == ord("x")) | ((third | 0x20) == ord("x"))
    return found


def _booleans(text: Bytes, starts: Ints, ends: Ints) -> tuple[Bits, Bools | None]:
    found = pc.index_in(texts(text, starts, ends), _BOOLEANS)
    codes = found.fill_null(len(_BOOLEANS)).to_numpy()[::2]
    wrong = codes == len(_BOOLEANS)
    return (codes < _TRUE_SPELLINGS).astype(np.uint64), wrong if wrong.any() else None


def strings(text: Bytes, starts: Ints, ends: Ints) -> tuple[pa.StringArray, Bools | None]:
    """What is between the quotes, without the escapes; and which of them are too long, or end with a quote that a
    backslash escapes and so are no strings, if any."""
    found = texts(text, starts + 1, ends - 1).drop_null()
    wrong = (ends - starts - 2 > STRING_BYTES_MAX) | (text[starts] != ord('"'))
    if (text == ord("\\")).any():
        found = pc.replace_substring_regex(found, r'\\(["\\])', r"\1")
    return found, wrong if wrong.any() else None
