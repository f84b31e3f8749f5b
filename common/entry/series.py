"""Series: the tags of rows by number, so that a row costs one number and each series' values are parsed once."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.values.errors import DataCorrupt

Codes = npt.NDArray[np.int32]

NO_TAG = 0
"""The code where a series has no such tag; else one more than the value's position."""

TAG_BYTES = 100
"""What a tag without values counts: as with values, about a tenth of what it takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Series numbered from 0. Immutable.

    codes: int32[series, tags], NO_TAG or one more than a position in `texts` of the tag; those may have values that no
    series has. source: names the table that they are of, whose numbers only grow and keep their meaning; None where
    there is none.
    """

    tag_keys: tuple[str, ...]
    codes: Codes
    texts: Sequence[Sequence[str]]
    source: object | None = None

    def column(self, at: int, numbers: Codes) -> pa.DictionaryArray:
        """The values of the tag at that position, of rows with these series."""
        return tag_column(self.codes[numbers, at], pa.array(self.texts[at], pa.utf8()))


def tag_column(codes: Codes, values: pa.StringArray) -> pa.DictionaryArray:
    """codes: NO_TAG, or one more than a position in `values`."""
    present = codes != NO_TAG
    nulls = len(codes) - int(np.count_nonzero(present))
    bits = pa.py_buffer(np.packbits(present, bitorder="little")) if nulls else None
    indices = np.where(present, codes - 1, 0) if nulls else codes - 1
    array = pa.Array.from_buffers(
        pa.int32(), len(codes), [bits, pa.py_buffer(indices.astype(np.int32, copy=False))], nulls
    )
    return pa.DictionaryArray.from_arrays(array, values, safe=False)


def distinct(codes: Codes, end: int) -> npt.NDArray[np.intp]:
    """Those of 0..end - 1 that occur, ascending. Counting is several times faster than sorting, unless few occur."""
    if end > 8 * len(codes):
        return np.unique(codes).astype(np.intp)
    return np.flatnonzero(np.bincount(codes, minlength=end))


class SeriesTable:
    """Series of one tuple of tag keys by their packed values; numbered from 0 as they come.

    bytes: of the packed values, all of them, and for each tag a little. A reader of many records keeps one as long as
    it is small.
    """

    def __init__(self, tag_keys: tuple[str, ...]) -> None:
        self._tag_keys = tag_keys
        self._numbers: dict[bytes, int] = {}
        self._all_codes = array("i")
        self._codes: list[dict[str, int]] = [{} for _ in tag_keys]
        self._texts: list[list[str]] = [[] for _ in tag_keys]
        self._source = object()
        self._series: Series | None = None
        self.bytes = TAG_BYTES * (1 + len(tag_keys))

    def numbers(self, series: Sequence[bytes]) -> list[int]:
        """The number of each. Raises DataCorrupt with what does not fit; the table keeps those before it."""
        found = list(map(self._numbers.get, series))
        if None not in found:
            return found  # type: ignore[return-value]
        return [self._add(packed) if number is None else number for packed, number in zip(series, found, strict=True)]

    @property
    def series(self) -> Series:
        """All so far. Their texts may grow later."""
        if self._series is None:
            codes = np.frombuffer(self._all_codes.tobytes(), np.int32)
            matrix = codes.reshape(len(self._numbers), len(self._tag_keys))
            self._series = Series(self._tag_keys, matrix, self._texts, self._source)
        return self._series

    def _add(self, packed: bytes) -> int:
        number = self._numbers.get(packed)
        if number is not None:
            return number
        for codes, texts, value in zip(self._codes, self._texts, self._parse(packed), strict=True):
            self._all_codes.append(_code(value, codes, texts) if value else NO_TAG)
        self.bytes += len(packed)
        self._series = None
        return self._numbers.setdefault(packed, len(self._numbers))

    def _parse(self, packed: bytes) -> list[str]:
        values = []
        at = 0
        for _ in self._tag_keys:
            start = at + 2
            at = start + int.from_bytes(packed[at:start], "little")
            try:
                values.append(packed[start:at].decode())
            except UnicodeDecodeError as error:
                raise DataCorrupt(f"a tag value is no text: {error}") from None
        if at != len(packed):
            raise DataCorrupt(f"a series of {len(packed)} bytes has tag values of {at} bytes")
        return values


def _code(value: str, codes: dict[str, int], texts: list[str]) -> int:
    code = codes.get(value)
    if code is None:
        texts.append(value)
        code = codes[value] = len(texts)
    return code
