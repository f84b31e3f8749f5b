"""Rows of a few lines, one by one, packed for their sequencers and tables: as matrix.py does with arrays."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from common.entry import PackedRows
from common.values.ids import SequencerId
from router.lineprotocol.forms import SortedFields, row_struct
from router.lineprotocol.point import Fields
from router.parsing.lines.groups import tags_of_mixed
from router.parsing.lines.series_cache import Family, NamespaceSeries

_Row = tuple[int, Family, int, SortedFields, bytes, bytes]
"""Series, its family, time, fields by name, their values as `row_struct` packs them, their strings joined. A tuple,
because making an object of a class costs as much as to read two fields."""


class FewRows:
    """Rows that come in the order of their lines."""

    def __init__(self, series: NamespaceSeries) -> None:
        self._known = series
        self._groups: defaultdict[tuple[SequencerId, str], list[_Row]] = defaultdict(list)

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def add(
        self, series: int, family: Family, time_ns: int, fields: SortedFields, values: bytes, strings: bytes
    ) -> SequencerId:
        """family: of the series. Returns its sequencer."""
        sequencer = self._known.sequencer(series)
        self._groups[sequencer, family.table].append((series, family, time_ns, fields, values, strings))
        return sequencer

    def add_fields(self, series: int, time_ns: int, fields: Fields) -> None:
        """Of a line as the strict parser read it."""
        by_name = sorted(fields.items())
        texts = [value.encode() for _, (_, value) in by_name if isinstance(value, str)]
        lengths = iter(map(len, texts))
        values = [next(lengths) if isinstance(value, str) else value for _, (_, value) in by_name]
        names = tuple((name, column) for name, (column, _) in by_name)
        self.add(series, self._known.family(series), time_ns, names, row_struct(names).pack(*values), b"".join(texts))

    def packed(self) -> Mapping[SequencerId, list[PackedRows]]:
        """All rows by sequencer and table, each table once."""
        result: dict[SequencerId, list[PackedRows]] = {}
        for (sequencer, table), rows in self._groups.items():
            result.setdefault(sequencer, []).append(self._table(table, rows))
        return result

    def _table(self, table: str, rows: Sequence[_Row]) -> PackedRows:
        series, families, times_ns, fields, values, strings = zip(*rows, strict=True)
        names, matrix, present = _matrix(fields, values)
        places = {number: place for place, number in enumerate(dict.fromkeys(series))}
        keys, tags = self._tags(set(families), places)
        codes = None if len(places) == len(rows) else np.array([places[number] for number in series], np.uint32)
        times = np.array(times_ns, np.int64)
        return PackedRows(table, keys, names, times, matrix, present, b"".join(strings), tags, codes)

    def _tags(self, families: set[Family], series: Iterable[int]) -> tuple[tuple[str, ...], Sequence[bytes]]:
        """The tag keys of all rows, and the values of each of `series`."""
        if len(families) == 1:
            (family,) = families
            return family.tag_keys, [self._known.tag_values[number] for number in series]
        keys = tuple(sorted({key for family in families for key in family.tag_keys}))
        return keys, tags_of_mixed(self._known, list(series), keys)


def _matrix(
    fields: Sequence[SortedFields], values: Sequence[bytes]
) -> tuple[SortedFields, npt.NDArray[np.uint64], npt.NDArray[np.bool_] | None]:
    """The fields that any row has, the values, and which rows have them where not all have all."""
    first = fields[0]
    if fields.count(first) == len(fields):
        return first, np.frombuffer(b"".join(values), np.uint64).reshape(len(fields), len(first)), None
    names = tuple(sorted({field for of_row in fields for field in of_row}))
    places = {field: place for place, field in enumerate(names)}
    cells = [row * len(names) + places[field] for row, of_row in enumerate(fields) for field in of_row]
    matrix = np.zeros(len(fields) * len(names), np.uint64)
    matrix[cells] = np.frombuffer(b"".join(values), np.uint64)
    present = np.zeros(len(matrix), np.bool_)
    present[cells] = True
    shape = len(fields), len(names)
    return names, matrix.reshape(shape), present.reshape(shape)
