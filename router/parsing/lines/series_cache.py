"""Series that were seen before, by the raw bytes that named them: parsed, checked and hashed once, not once a line.

A series is a number; what is known of it lies in arrays by that number, so that the lines of a whole body are placed at
once. This is the idea of Prometheus's series references: a label set is sent along once, a number after that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.entry import tag_values
from common.values.ids import SequencerId
from router.lineprotocol import scalar
from router.lineprotocol.point import LineError, Series
from router.parsing.partition import sequencer_of, series_hash

BYTES_MAX = 128 * 1024 * 1024
"""Of memory, as estimated: room for some 200,000 series of ten tags."""

NO_SERIES = -1

_SERIES_BYTES = 300
_FAMILY_BYTES = 1_000
_KEY_BYTES = 80
_NAMESPACE_BYTES = 10_000
"""What Python's objects and the arrays need besides the text."""

_FIRST_ROOM = 1024

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """The series of one table that have the same tag keys. number: dense from 0, in one namespace."""

    number: int
    table: str
    tag_keys: tuple[str, ...]


class NamespaceSeries:
    """The series of one namespace. A number means the same series until the cache drops the namespace.

    families: by family number. tag_values: by series number, the values of its family's tag keys as entries hold them.
    """

    def __init__(self, namespace: str, sequencers: int, count_bytes: Callable[[int], None]) -> None:
        self.families: list[Family] = []
        self.tag_values: list[bytes] = []
        self._namespace = namespace
        self._sequencers = sequencers
        self._count_bytes = count_bytes
        self._numbers: dict[bytes, int] = {}
        self._families: dict[tuple[str, tuple[str, ...]], Family] = {}
        self._family_of: Numbers = np.empty(_FIRST_ROOM, np.int64)
        self._sequencer_of: Numbers = np.empty(_FIRST_ROOM, np.int64)

    def __len__(self) -> int:
        return len(self.tag_values)

    @property
    def family_of(self) -> Numbers:
        """Family numbers by series number."""
        return self._family_of[: len(self)]

    @property
    def sequencer_of(self) -> Numbers:
        """Sequencers by series number."""
        return self._sequencer_of[: len(self)]

    def numbers(self, names: Sequence[bytes], is_known: Callable[[str], bool]) -> Numbers:
        """The series of each of `names`, each measurement and tags as written; NO_SERIES for what is none.

        A series that was not seen before is remembered only where `is_known` is true of its table, and is NO_SERIES
        otherwise: tables that may yet be refused must not drive out what others use.
        """
        found = list(map(self._numbers.get, names))
        if None in found:
            found = [
                self._learned(name, is_known) if number is None else number
                for name, number in zip(names, found, strict=True)
            ]
        return np.array(found, np.int64)

    def find(self, name: bytes) -> int | None:
        """The series that `name` names, measurement and tags as written, if it was seen before."""
        return self._numbers.get(name)

    def number(self, name: bytes, check: Callable[[str], None]) -> int:
        """The series that `name` names. Raises LineError.

        check: raises LineError for a table that is refused; its series is not remembered.
        """
        found = self._numbers.get(name)
        if found is not None:
            check(self.family(found).table)
            return found
        series = scalar.parse_series(name)
        check(series.table)
        return self._remember(name, series)

    def family(self, number: int) -> Family:
        """Of a series."""
        return self.families[self._family_of.item(number)]

    def sequencer(self, number: int) -> SequencerId:
        """Of a series."""
        return SequencerId(self._sequencer_of.item(number))

    def _learned(self, name: bytes, is_known: Callable[[str], bool]) -> int:
        number = self._numbers.get(name)  # of `names` an earlier one may be the same
        if number is not None:
            return number
        table, _, _ = name.partition(b",")
        if b"\\" not in table and not is_known(table.decode(errors="replace")):
            return NO_SERIES  # and the rest of it need not be parsed
        try:
            series = scalar.parse_series(name)
        except LineError:
            return NO_SERIES
        return self._remember(name, series) if is_known(series.table) else NO_SERIES

    def _remember(self, name: bytes, series: Series) -> int:
        number = len(self)
        if number == len(self._family_of):
            self._family_of = np.resize(self._family_of, 2 * number)  # the new half is not read before it is set
            self._sequencer_of = np.resize(self._sequencer_of, 2 * number)
        sequencer = sequencer_of(series_hash(self._namespace, series.table, series.tags), self._sequencers)
        family = self._family(series)
        self._sequencer_of[number], self._family_of[number] = sequencer, family.number
        self.tag_values.append(tag_values([value for _, value in series.tags]))
        self._numbers[name] = number
        self._count_bytes(2 * len(name) + _SERIES_BYTES)
        return number

    def _family(self, series: Series) -> Family:
        name = series.table, tuple(key for key, _ in series.tags)
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = Family(len(self.families), *name)
            self.families.append(family)
            self._count_bytes(_FAMILY_BYTES + sum(_KEY_BYTES + 2 * len(key) for key in name[1]))
        return family


class SeriesCache:
    """Bounded by bytes; when full it is emptied, which costs each series in use one parse. For one thread."""

    def __init__(self, sequencers: int, bytes_max: int = BYTES_MAX) -> None:
        self._sequencers = sequencers
        self._bytes_max = bytes_max
        self._bytes = 0
        self._namespaces: dict[str, NamespaceSeries] = {}

    def of(self, namespace: str) -> NamespaceSeries:
        """To be asked for again before each piece of text: only here may the cache drop what it holds."""
        if self._bytes > self._bytes_max:
            self._namespaces.clear()
            self._bytes = 0
        found = self._namespaces.get(namespace)
        if found is None:
            found = self._namespaces[namespace] = NamespaceSeries(namespace, self._sequencers, self._count)
            self._count(_NAMESPACE_BYTES)
        return found

    def _count(self, count: int) -> None:
        self._bytes += count
