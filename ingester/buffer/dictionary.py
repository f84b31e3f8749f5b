"""One dictionary for each tag of a piece of a partition (piece.py), shared by all its chunks.

Records bring their own dictionaries; on arrival their codes are replaced by those of the piece, so that the bytes of
a row stay flat from 1-row to 10,000-row records. Append-only: a code never changes its meaning, and older codes can be
read with the newer dictionary, from any thread.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Codes = npt.NDArray[np.int32]

OVERHEAD_BYTES = 500
"""What a dictionary costs without values, measured."""

VALUE_OVERHEAD_BYTES = 150
"""What a value costs beside its text, which is held twice: Python's string, its code, and their places."""

REMEMBERED_RATIO = 8
"""Codes of a dictionary with more values than so many times the rows are not remembered: few rows of many days would
each cost the memory of all hosts."""

_NOT_MAPPED = -1
_NOTHING_MAPPED: Codes = np.zeros(0, np.int32)


class TagDictionary:
    """Values of one tag in order of first appearance."""

    __slots__ = ("_array", "_codes", "_mapped", "_source", "_values", "held_bytes")

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._values: list[str] = []
        self._array: pa.StringArray = pa.array([], pa.utf8())
        self._source: object | None = None
        self._mapped: Codes = _NOTHING_MAPPED
        self.held_bytes = OVERHEAD_BYTES

    def __len__(self) -> int:
        return len(self._values)

    def encode(self, column: pa.DictionaryArray, source: object | None = None) -> pa.Int32Array:
        """The column's codes in this dictionary, null where it is null.

        Values not seen before are appended; those of the column's dictionary that no row has are not. source: names the
        column's dictionary, where others with the same name have the same codes: what they mean here is remembered.
        """
        indices = column.indices
        if not indices.null_count:
            codes: Codes = indices.to_numpy()
            return pa.array(self._mapping(column.dictionary, codes, source)[codes])
        missing = indices.is_null().to_numpy(zero_copy_only=False)
        codes = indices.fill_null(0).to_numpy()
        mapping = self._mapping(column.dictionary, codes[~missing], source)
        return pa.array(mapping[codes] if len(mapping) else codes, pa.int32(), mask=missing)

    def array(self) -> pa.StringArray:
        """All values so far, as one Arrow array."""
        array = self._array
        if len(array) < len(self._values):
            array = self._array = pa.array(list(self._values), pa.utf8())
        return array

    def _mapping(self, values: pa.StringArray, codes: Codes, source: object | None) -> Codes:
        """The code here of each of `values` that occurs in `codes`; what is new gets the next codes, in order."""
        if source is not None and (source is self._source or len(values) <= REMEMBERED_RATIO * len(codes)):
            return self._remembered(values, codes, source)
        used = _distinct(codes, len(values))
        if len(used) == len(values):
            return self._learn(values.to_pylist())
        mapping = np.zeros(len(values), np.int32)
        mapping[used] = self._learn(values.take(pa.array(used)).to_pylist())
        return mapping

    def _remembered(self, values: pa.StringArray, codes: Codes, source: object) -> Codes:
        if source is not self._source:
            self.held_bytes -= self._mapped.nbytes
            self._source, self._mapped = source, _NOTHING_MAPPED
        new = len(values) - len(self._mapped)
        if new > 0:
            self._mapped = np.append(self._mapped, np.full(new, _NOT_MAPPED, np.int32))
            self.held_bytes += 4 * new
        unknown = codes[self._mapped[codes] == _NOT_MAPPED]
        if len(unknown):
            used = _distinct(unknown, len(values))
            self._mapped[used] = self._learn(values.take(pa.array(used)).to_pylist())
        return self._mapped

    def _learn(self, values: list[str]) -> Codes:
        codes = list(map(self._codes.get, values))
        if None in codes:
            codes = [self._append(value) if code is None else code for value, code in zip(values, codes, strict=True)]
        return np.array(codes, np.int32)

    def _append(self, value: str) -> int:
        code = self._codes.setdefault(value, len(self._values))
        if code == len(self._values):
            self._values.append(value)
            self.held_bytes += 2 * len(value.encode()) + VALUE_OVERHEAD_BYTES
        return code


def _distinct(codes: Codes, end: int) -> npt.NDArray[np.intp]:
    """Those of 0..end - 1 that occur. Counting is several times faster than sorting, unless few occur."""
    if end > 8 * len(codes):
        return np.unique(codes)
    return np.flatnonzero(np.bincount(codes, minlength=end))
