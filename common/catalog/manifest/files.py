"""The live files of one sequencer, as an immutable value: a commit makes a new one that shares what did not change.

Files are numbered by serials in the order of their commits, PART_FILES of them to a part, as checkpoints store them
(checkpoint.py). They are looked up by path (does a file exist?), by table and day (queries), and listed in order.
Adding or removing a file costs the logarithm of their number.
"""

from collections.abc import Iterable, Iterator, Mapping

from immutables import Map

from common.catalog.manifest.change import StoredFile
from common.catalog.partition_key import PartitionKey
from common.values.schema import TableId

PART_FILES = 256
"""Some 100 kB of a checkpoint: what a commit that adds one file makes a later checkpoint write again."""

PARTS_SPARE = 8

Part = Map[int, StoredFile]
"""Files by serial."""


class Files(Mapping[str, StoredFile]):
    """Files by path, in the order of their commits."""

    __slots__ = ("_next_serial", "_parts", "_serials", "_tables")

    def __init__(self) -> None:
        self._serials: Map[str, int] = Map()
        self._parts: Map[int, Part] = Map()
        self._tables: Map[TableId, Map[int, Part]] = Map()
        self._next_serial = 0

    @classmethod
    def of(cls, parts: Mapping[int, Part], next_serial: int) -> "Files":
        """The same files again, from their `parts` and `next_serial`."""
        files = cls()
        files._parts = Map(parts)
        files._next_serial = next_serial
        tables: dict[TableId, dict[int, dict[int, StoredFile]]] = {}
        serials = {}
        for part in parts.values():
            for serial, file in part.items():
                serials[file.path] = serial
                tables.setdefault(file.partition.table_id, {}).setdefault(file.partition.day, {})[serial] = file
        files._serials = Map(serials)
        files._tables = Map({table: Map({day: Map(of) for day, of in days.items()}) for table, days in tables.items()})
        return files

    @property
    def parts(self) -> Mapping[int, Part]:
        """All files, by the numbers of their parts. A part that did not change is the same object."""
        return self._parts

    @property
    def next_serial(self) -> int:
        """Of the next file added."""
        return self._next_serial

    @property
    def tables(self) -> Iterable[TableId]:
        """The tables that have files, in no order."""
        return self._tables.keys()

    def of_table(self, table: TableId) -> dict[int, list[StoredFile]]:
        """The files of one table by day, days ascending; those of a day in the order of their commits."""
        days = self._tables.get(table, Map())
        return {day: _in_order(days[day]) for day in sorted(days)}

    def of_partition(self, key: PartitionKey) -> list[StoredFile]:
        """In the order of their commits."""
        return _in_order(self._tables.get(key.table_id, Map()).get(key.day, Map()))

    def after(self, added: Iterable[StoredFile], removed: Iterable[str]) -> "Files":
        """With `added`, in their order, and without the paths `removed`."""
        files = Files()
        files._serials, files._parts, files._tables = self._serials, self._parts, self._tables
        files._next_serial = self._next_serial
        for path in removed:
            files._remove(path)
        for file in added:
            files._add(file)
        return files if files._is_dense() else files._renumbered()

    def _add(self, file: StoredFile) -> None:
        self._remove(file.path)
        serial, self._next_serial = self._next_serial, self._next_serial + 1
        table, day = file.partition.table_id, file.partition.day
        self._serials = self._serials.set(file.path, serial)
        self._parts = _with(self._parts, serial // PART_FILES, serial, file)
        self._tables = self._tables.set(table, _with(self._tables.get(table, Map()), day, serial, file))

    def _remove(self, path: str) -> None:
        serial = self._serials.get(path)
        if serial is None:
            return
        partition = self[path].partition
        self._serials = self._serials.delete(path)
        self._parts = _without(self._parts, serial // PART_FILES, serial)
        days = _without(self._tables[partition.table_id], partition.day, serial)
        if days:
            self._tables = self._tables.set(partition.table_id, days)
        else:
            self._tables = self._tables.delete(partition.table_id)

    def _is_dense(self) -> bool:
        return len(self._parts) <= 2 * (len(self._serials) // PART_FILES) + PARTS_SPARE

    def _renumbered(self) -> "Files":
        """With serials from 0 on. Without it the number of parts would grow with all files there ever were.

        It costs time for all files, once for about as many removals. Every process does it at the same record.
        """
        ordered = list(enumerate(self.values()))
        starts = range(0, len(ordered), PART_FILES)
        parts = {start // PART_FILES: Map(ordered[start : start + PART_FILES]) for start in starts}
        return Files.of(parts, len(ordered))

    def __getitem__(self, path: str) -> StoredFile:
        serial = self._serials[path]
        return self._parts[serial // PART_FILES][serial]

    def __contains__(self, path: object) -> bool:
        return path in self._serials

    def __len__(self) -> int:
        return len(self._serials)

    def __iter__(self) -> Iterator[str]:
        for number in sorted(self._parts):
            yield from (file.path for file in _in_order(self._parts[number]))

    def __repr__(self) -> str:
        return f"Files({list(self)})"


def _in_order(part: Part) -> list[StoredFile]:
    return [part[serial] for serial in sorted(part)]


def _with(parts: Map[int, Part], number: int, serial: int, file: StoredFile) -> Map[int, Part]:
    return parts.set(number, parts.get(number, Map()).set(serial, file))


def _without(parts: Map[int, Part], number: int, serial: int) -> Map[int, Part]:
    left = parts[number].delete(serial)
    return parts.set(number, left) if left else parts.delete(number)
