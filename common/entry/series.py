"""The tags of packed rows as dictionary columns: each series' values are parsed once, however many rows it has."""

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.values.errors import DataCorrupt

TAG_BYTES = 100
"""What a tag without values counts: as with values, about a tenth of what it takes."""

_NO_TAG = -1
_EMPTY = pa.nulls(0, pa.utf8())


class SeriesTable:
    """Series of one tuple of tag keys by their packed values; numbered from 0 as they come.

    bytes: of the packed values, all of them, and for each tag a little. A reader of many records keeps one as long as
    it is small. codes: names the dictionaries of all its columns, which only grow: a code keeps its meaning.
    """

    def __init__(self, tag_keys: tuple[str, ...]) -> None:
        self._tag_keys = tag_keys
        self._numbers: dict[bytes, int] = {}
        self._all_codes = array("i")
        self._values: list[dict[str, int]] = [{} for _ in tag_keys]
        self._dictionaries: list[pa.StringArray] = [_EMPTY] * len(tag_keys)
        self._matrix: npt.NDArray[np.int32] = np.empty((0, len(tag_keys)), np.int32)
        self.bytes = TAG_BYTES * (1 + len(tag_keys))
        self.codes = object()

    def numbers(self, series: Sequence[bytes]) -> list[int]:
        """The number of each. Raises DataCorrupt with what does not fit; the table keeps those before it."""
        found = list(map(self._numbers.get, series))
        if None not in found:
            return found  # type: ignore[return-value]
        return [self._add(packed) if number is None else number for packed, number in zip(series, found, strict=True)]

    def columns(self, numbers: npt.NDArray[np.integer]) -> list[pa.DictionaryArray]:
        """The tag columns of rows whose series have these numbers. A dictionary may have values that no row has."""
        codes = np.ascontiguousarray(self._code_rows()[numbers].T)
        present = codes != _NO_TAG
        nulls = (len(numbers) - present.sum(axis=1)).tolist()
        buffer, size = pa.py_buffer(codes), 4 * len(numbers)
        arrays = []
        for tag in range(len(self._tag_keys)):
            bits = pa.py_buffer(np.packbits(present[tag], bitorder="little")) if nulls[tag] else None
            data = [bits, buffer.slice(tag * size, size)]
            indices = pa.Array.from_buffers(pa.int32(), len(numbers), data, nulls[tag])
            arrays.append(pa.DictionaryArray.from_arrays(indices, self._dictionary(tag), safe=False))
        return arrays

    def _add(self, packed: bytes) -> int:
        number = self._numbers.get(packed)
        if number is not None:
            return number
        for codes, value in zip(self._values, self._parse(packed), strict=True):
            self._all_codes.append(codes.setdefault(value, len(codes)) if value else _NO_TAG)
        self.bytes += len(packed)
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

    def _code_rows(self) -> npt.NDArray[np.int32]:
        if len(self._matrix) < len(self._numbers):
            codes = np.frombuffer(self._all_codes.tobytes(), np.int32)
            self._matrix = codes.reshape(len(self._numbers), len(self._tag_keys))
        return self._matrix

    def _dictionary(self, tag: int) -> pa.StringArray:
        values = self._values[tag]
        if len(self._dictionaries[tag]) < len(values):
            self._dictionaries[tag] = pa.array(list(values), pa.utf8())
        return self._dictionaries[tag]
