"""The values of one tag of a piece of a partition (piece.py), shared by all its chunks.

Append-only: a code never changes its meaning, and older codes can be read with the newer dictionary, from any thread.
"""

from collections.abc import Sequence

import pyarrow as pa

OVERHEAD_BYTES = 500
"""What a dictionary costs without values, measured."""

VALUE_OVERHEAD_BYTES = 150
"""What a value costs beside its text, which is held twice: Python's string, its code, and their places."""


class TagDictionary:
    """Values of one tag in order of first appearance."""

    __slots__ = ("_array", "_codes", "_values", "held_bytes")

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._values: list[str] = []
        self._array: pa.StringArray = pa.array([], pa.utf8())
        self.held_bytes = OVERHEAD_BYTES

    def __len__(self) -> int:
        return len(self._values)

    def positions(self, values: Sequence[str]) -> list[int]:
        """Where each is; those not seen before are appended, in order."""
        found = list(map(self._codes.get, values))
        if None not in found:
            return found  # type: ignore[return-value]
        new = list(dict.fromkeys([value for value, at in zip(values, found, strict=True) if at is None]))
        self._codes.update(zip(new, range(len(self._values), len(self._values) + len(new)), strict=True))
        self._values += new
        self.held_bytes += 2 * len("".join(new).encode()) + VALUE_OVERHEAD_BYTES * len(new)
        return list(map(self._codes.__getitem__, values))

    def array(self) -> pa.StringArray:
        """All values so far, as one Arrow array."""
        array = self._array
        if len(array) < len(self._values):
            array = self._array = pa.array(self.texts(), pa.utf8())
        return array

    def texts(self) -> list[str]:
        """All values so far."""
        return list(self._values)
