"""The tags of a batch: which values its rows use, and which series each row is of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from router.lineprotocol.point import Tags

ABSENT = -1

Codes = npt.NDArray[np.int32]
_SPAN_MAX = 2**62


@dataclass(frozen=True, slots=True)
class TagColumn:
    """values: distinct strings, those that rows use. codes: by row, the value's place; ABSENT without one."""

    values: pa.StringArray
    codes: Codes

    def take(self, rows: npt.NDArray[np.intp]) -> "TagColumn":
        """Of these rows, with the values that they use."""
        return _used(self.codes[rows], self.values)

    def to_arrow(self) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(self.codes, mask=self.codes == ABSENT), self.values)


def tag_column(column: pa.DictionaryArray) -> TagColumn:
    """A null value counts as an absent one. Values are never repeated by row, however often a row uses one."""
    valid = column.indices.is_valid().to_numpy(zero_copy_only=False)
    indices = column.indices.fill_null(0).to_numpy().astype(np.int64)
    found = _used(np.where(valid, indices, ABSENT), column.dictionary)
    if not found.values.null_count and pc.count_distinct(found.values).as_py() == len(found.values):
        return found
    encoded = found.values.dictionary_encode()
    places = encoded.indices.fill_null(ABSENT).to_numpy()
    codes = np.where(found.codes == ABSENT, ABSENT, places[found.codes])
    return TagColumn(encoded.dictionary, codes.astype(np.int32))


def _used(codes: npt.NDArray[np.integer], values: pa.Array) -> TagColumn:
    used, dense = np.unique(codes, return_inverse=True)
    if len(used) and used[0] == ABSENT:
        used, dense = used[1:], dense - 1
    return TagColumn(values.take(pa.array(used, pa.int64())).cast(pa.utf8()), dense.astype(np.int32))


def series_of_rows(tags: Sequence[Codes], rows: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The first row of each series, and the series of each row, both by number."""
    combined = np.zeros(rows, np.int64)
    span = 1
    for codes in tags:
        width = int(codes.max(initial=ABSENT)) + 2
        if span * width > _SPAN_MAX:
            values, combined = np.unique(combined, return_inverse=True)
            span = len(values)
        combined = combined * width + codes + 1
        span *= width
    _, first, of_row = np.unique(combined, return_index=True, return_inverse=True)
    return first, of_row


def tags_of_rows(tags: Mapping[str, TagColumn], rows: npt.NDArray[np.intp]) -> Iterator[Tags]:
    """The (key, value) pairs of each of `rows`, in the order of `tags`."""
    columns = [(name, column.values.to_pylist(), column.codes[rows].tolist()) for name, column in tags.items()]
    for number in range(len(rows)):
        yield tuple((name, values[codes[number]]) for name, values, codes in columns if codes[number] != ABSENT)
