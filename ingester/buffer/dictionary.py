"""One dictionary for each tag of a partition, shared by all its chunks.

Records bring their own dictionaries; on arrival their codes are renumbered onto the partition's, so that the bytes of
a row stay flat from 1-row to 10,000-row records. Append-only: a code never changes its meaning, and whoever holds codes
of yesterday can read them with the dictionary of today, from any thread.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

VALUE_OVERHEAD_BYTES = 150
"""What a value costs beside its text, which stands twice: Python's string, its code, and their places."""


class TagDictionary:
    """Values of one tag in order of first appearance."""

    __slots__ = ("_array", "_codes", "_values", "value_bytes")

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._values: list[str] = []
        self._array: pa.StringArray = pa.array([], pa.utf8())
        self.value_bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def encode(self, column: pa.DictionaryArray) -> pa.Int32Array:
        """The column's codes in this dictionary, null where it is null; values not seen before are appended."""
        if len(column.dictionary) > len(column):  # a slice by day, or what a frontier left: learn only what is used
            column = column.cast(pa.utf8()).dictionary_encode()
        mapping = self._mapping(column.dictionary.to_pylist())
        indices = column.indices
        if not indices.null_count:
            return pa.array(mapping[indices.to_numpy()] if len(mapping) else mapping)
        missing = indices.is_null().to_numpy(zero_copy_only=False)
        filled: npt.NDArray[np.int32] = indices.fill_null(0).to_numpy()
        codes = mapping[filled] if len(mapping) else np.zeros(len(filled), np.int32)
        return pa.array(codes, pa.int32(), mask=missing)

    def array(self) -> pa.StringArray:
        """All values so far, as one Arrow array."""
        array = self._array
        if len(array) < len(self._values):
            array = self._array = pa.array(list(self._values), pa.utf8())
        return array

    def _mapping(self, values: list[str]) -> npt.NDArray[np.int32]:
        """The code of each of `values`; what is new gets the next codes, in order."""
        codes = list(map(self._codes.get, values))
        if None in codes:
            codes = [self._append(value) if code is None else code for value, code in zip(values, codes, strict=True)]
        return np.array(codes, np.int32)

    def _append(self, value: str) -> int:
        code = self._codes.setdefault(value, len(self._values))
        if code == len(self._values):
            self._values.append(value)
            self.value_bytes += 2 * len(value.encode()) + VALUE_OVERHEAD_BYTES
        return code
