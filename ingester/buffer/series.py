"""The series of a piece of a partition (piece.py), and one dictionary for each of their tags, shared by its chunks.

Records bring series with numbers of their own; on arrival these are replaced by those of the piece, so that a row costs
one number whatever its tags are. Append-only: a number never changes its meaning, and older ones can be read from any
thread while new ones come.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.entry.series import NO_TAG, Codes, Series, distinct, tag_column
from ingester.buffer.dictionary import TagDictionary

OVERHEAD_BYTES = 1_000
"""What the first series costs beside its values, measured."""

SERIES_OVERHEAD_BYTES = 150
"""What a series costs beside its codes, which are held twice: its key, its number, and their places."""

REMEMBERED_RATIO = 8
"""Numbers of a source with more series than so many times the rows are not remembered: few rows of many days would each
cost the memory of all hosts."""

_CODE_BYTES = 4
_NOT_KNOWN = -1
_NOTHING_KNOWN: Codes = np.zeros(0, np.int32)
_NO_CODES: Codes = np.zeros((0, 0), np.int32)


class PieceSeries:
    """Series numbered in order of first appearance. tags: the dictionary of each tag."""

    __slots__ = ("_codes", "_known", "_numbers", "_source", "tags")

    def __init__(self) -> None:
        self.tags: dict[str, TagDictionary] = {}
        self._numbers: dict[bytes, int] = {}
        self._codes: Codes = _NO_CODES  # [series, tags in their order], with room for more series
        self._source: object | None = None
        self._known: Codes = _NOTHING_KNOWN

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def held_bytes(self) -> int:
        """Of dictionaries and series; 0 where there are none."""
        if not self._numbers:
            return 0
        keys = len(self._numbers) * (SERIES_OVERHEAD_BYTES + _CODE_BYTES * len(self.tags))
        tags = sum([tag.held_bytes for tag in self.tags.values()])
        return OVERHEAD_BYTES + keys + self._codes.nbytes + self._known.nbytes + tags

    def encode(self, numbers: Codes, series: Series) -> Codes:
        """The number here of each of these ones of `series`. Series and values that no row has are not learned.

        What the numbers of one source mean is remembered: the same ones again cost no look at their values.
        """
        count, source = len(series.codes), series.source
        if source is not None and (source is self._source or count <= REMEMBERED_RATIO * len(numbers)):
            return self._remembered(series, numbers)
        used = distinct(numbers, count)
        here = self._learn(series, used)
        if len(used) < count:
            mapping = np.zeros(count, np.int32)
            mapping[used] = here
            here = mapping
        return here[numbers]

    def column(self, tag: str, numbers: Codes) -> pa.DictionaryArray:
        """The values of a tag that is known here, of rows with these series. From any thread."""
        tags = list(self.tags)
        return tag_column(self._codes[numbers, tags.index(tag)], self.tags[tag].array())

    def series(self) -> Series:
        """All so far."""
        texts = [tag.texts() for tag in self.tags.values()]
        return Series(tuple(self.tags), self._codes[: len(self._numbers)], texts)

    def _remembered(self, series: Series, numbers: Codes) -> Codes:
        if series.source is not self._source:
            self._source, self._known = series.source, _NOTHING_KNOWN
        more = len(series.codes) - len(self._known)
        if more > 0:
            self._known = np.append(self._known, np.full(more, _NOT_KNOWN, np.int32))
        found = self._known[numbers]
        unknown = numbers[found == _NOT_KNOWN]
        if len(unknown):
            used = distinct(unknown, len(self._known))
            self._known[used] = self._learn(series, used)
            found = self._known[numbers]
        return found

    def _learn(self, series: Series, used: npt.NDArray[np.integer]) -> Codes:
        """The numbers here of those series; what is new gets the next numbers, in order."""
        places = [self._place(key) for key in series.tag_keys]
        codes = np.zeros((len(used), self._codes.shape[1]), np.int32)
        given = series.codes[used]
        for at, (key, place) in enumerate(zip(series.tag_keys, places, strict=True)):
            codes[:, place] = _translated(given[:, at], series.texts[at], self.tags[key])
        keys = _keys(codes)
        numbers = list(map(self._numbers.get, keys))
        if None not in numbers:
            return np.array(numbers, np.int32)
        numbers = [self._numbers.setdefault(key, len(self._numbers)) for key in keys]
        self._reserve(len(self._numbers))
        found = np.array(numbers, np.int32)
        self._codes[found] = codes  # of known ones what they are already
        return found

    def _place(self, tag: str) -> int:
        """The tag's column in the codes."""
        if tag not in self.tags:
            self._codes = np.pad(self._codes, ((0, 0), (0, 1)))  # first: who finds the tag finds its codes
            self.tags[tag] = TagDictionary()
        return list(self.tags).index(tag)

    def _reserve(self, series: int) -> None:
        room, tags = self._codes.shape
        if series > room:
            codes = np.zeros((max(series, room + room // 2), tags), np.int32)
            codes[:room] = self._codes
            self._codes = codes


def _translated(codes: Codes, texts: Sequence[str], tag: TagDictionary) -> Codes:
    """The codes in `tag` of values that have `codes` in `texts`."""
    used = distinct(codes, 1 + len(texts))
    values = used[1:] if used[0] == NO_TAG else used
    mapping = np.zeros(1 + len(texts), np.int32)
    mapping[values] = tag.positions([texts[code - 1] for code in values.tolist()])
    mapping[values] += 1
    found: Codes = mapping[codes]
    return found


def _keys(codes: Codes) -> list[bytes]:
    """A key for each row. Without the zeros at its end, so that it stays the same when tags are added."""
    size = codes.shape[1] * codes.itemsize
    if not size:
        return [b""] * len(codes)
    data = codes.tobytes()
    return [data[at : at + size].rstrip(b"\0") for at in range(0, len(data), size)]
