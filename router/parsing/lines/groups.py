"""Rows in groups: those of one sequencer and table, which become one block of an entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from common.entry import with_absent_tags
from router.parsing.lines.distinct import distinct
from router.parsing.lines.rows import Columns, Ints, Rows
from router.parsing.lines.series_cache import NamespaceSeries


@dataclass(frozen=True, slots=True)
class Groups:
    """n rows, at least one, in g groups; int64 all.

    order: [n], the rows, group after group, in each as before. starts, ends: [g], of the groups in `order`.
    sequencers, tables: [g]. group, place: [n], the group of each of `order`, and which of its rows it is.
    """

    order: Ints
    starts: Ints
    ends: Ints
    sequencers: Ints
    tables: Ints
    group: Ints
    place: Ints

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def rows(self) -> Ints:
        """[g], how many rows each has."""
        return self.ends - self.starts


def groups_of(rows: Rows, columns: Columns, series: NamespaceSeries) -> Groups:
    codes = series.sequencer_of[rows.series] * len(columns.tables) + _tables(rows, columns, series)
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = np.append(starts[1:], len(rows))
    sequencers, tables = np.divmod(ordered[starts], len(columns.tables))
    group = np.repeat(np.arange(len(starts)), ends - starts)
    return Groups(order, starts, ends, sequencers, tables, group, np.arange(len(rows)) - starts[group])


def _tables(rows: Rows, columns: Columns, series: NamespaceSeries) -> Ints:
    """The table number of each row."""
    families = series.family_of[rows.series]
    found, places = distinct(families, len(series.families))
    return np.array([columns.table(series.families[family].table) for family in found.tolist()])[places]


class TagKeys:
    """The tag keys of each group: those of all its families.

    of_group: sorted. cells: rows times keys, of groups of several families; name_bytes: of the keys of one of these, at
    most. In a group of one family both follow from what its lines said.
    """

    def __init__(self, rows: Rows, groups: Groups, known: NamespaceSeries) -> None:
        families = known.family_of[rows.series][groups.order]
        first = families[groups.starts]
        mixed = np.logical_or.reduceat(families != first[groups.group], groups.starts)
        self.of_group = [known.families[family].tag_keys for family in first.tolist()]
        self.is_mixed: list[bool] = mixed.tolist()
        self.cells = self.name_bytes = 0
        for group in np.flatnonzero(mixed).tolist():
            of_rows = set(families[groups.starts[group] : groups.ends[group]].tolist())
            keys = sorted({key for family in of_rows for key in known.families[family].tag_keys})
            self.of_group[group] = tuple(keys)
            self.cells += int(groups.rows[group]) * len(keys)
            self.name_bytes = max(self.name_bytes, sum(len(key.encode()) for key in keys))


class SeriesOfGroups:
    """Which series each group has, and for each row which of them.

    codes: uint32, by row of the groups. in_order: by group, whether row i of it has series i and no other row has.
    """

    def __init__(self, rows: Rows, groups: Groups, known: NamespaceSeries) -> None:
        self._known = known
        found, series = distinct(rows.series[groups.order], len(known))
        group_of = np.empty(len(found), np.int64)
        group_of[series] = groups.group
        by_group = np.argsort(group_of, kind="stable")
        bounds = np.searchsorted(group_of[by_group], np.arange(len(groups) + 1))
        place = np.empty(len(found), np.int64)
        place[by_group] = np.arange(len(found))
        self._series: list[int] = found[by_group].tolist()
        self._bounds: list[int] = bounds.tolist()
        self.codes: npt.NDArray[np.uint32] = (place[series] - bounds[groups.group]).astype(np.uint32)
        self.in_order: list[bool] = np.logical_and.reduceat(self.codes == groups.place, groups.starts).tolist()

    def tags(self, group: int, keys: TagKeys) -> Sequence[bytes]:
        """The tag values of each series of a group, by the group's tag keys."""
        series = self._series[self._bounds[group] : self._bounds[group + 1]]
        if keys.is_mixed[group]:
            return tags_of_mixed(self._known, series, keys.of_group[group])
        values = self._known.tag_values
        return [values[number] for number in series]


def tags_of_mixed(known: NamespaceSeries, series: Sequence[int], keys: Sequence[str]) -> Sequence[bytes]:
    """The tag values of series of several families, by `keys`, which are those of all of them."""
    place_of = {key: place for place, key in enumerate(keys)}
    absent: dict[int, list[int]] = {}
    for family in {known.family(number) for number in series}:
        absent[family.number] = _absent_before([place_of[key] for key in family.tag_keys], len(place_of))
    return [with_absent_tags(known.tag_values[number], absent[known.family(number).number]) for number in series]


def _absent_before(places: Sequence[int], end: int) -> list[int]:
    """How many of 0..end - 1 are missing before each of `places`, which ascend, and after the last."""
    bounds = [-1, *places, end]
    return [after - before - 1 for before, after in pairwise(bounds)]
