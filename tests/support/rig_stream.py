"""The stream that the ingesters of a rig read: a list of records, and a model of what each must come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.entry import Entry
from common.values.ids import Offset
from common.values.schema import DAY_NS, ColumnType, TableId
from ingester.following.decode import Decoded
from tests.support.records import NAMESPACE, Row, columns, decoded, poison, rows_of
from writebuffer.contract import Offsets
from writebuffer.same_stream import FoundStream


@dataclass
class Logged:
    """A record and what it must come to, by the records before it.

    tables: the rows it brings; of a lost one those that had been persisted. fate: stored, duplicate, dead or lost.
    """

    record: Decoded
    tables: Mapping[str, Sequence[Row]]
    fate: str

    @property
    def rows(self) -> int:
        """How many the accounts know of."""
        return sum(map(len, self.tables.values())) if self.fate == "lost" else self.record.rows

    @property
    def is_read(self) -> bool:
        """Whether a reader sees its rows."""
        return self.fate in ("stored", "lost")


@dataclass
class Model:
    """What the log comes to: repeats are left out, and a column keeps the type that its first record gave it."""

    seen: set[tuple[bytes | None, int]] = field(default_factory=set)
    types: dict[TableId, dict[str, ColumnType]] = field(default_factory=dict)

    def fate(self, record: Decoded) -> str:
        marks = (record.producer_id, record.producer_sequence)
        if marks in self.seen:
            return "duplicate"
        self.seen.add(marks)
        if not isinstance(record.content, Entry):
            return "dead"
        brought = {
            TableId(record.content.namespace, table): columns(rows_of(batch))
            for table, batch in record.content.tables.items()
        }
        for table, found in brought.items():
            if any(self.types.get(table, {}).get(name, kind) is not kind for name, kind in found.items()):
                return "dead"
        for table, found in brought.items():
            self.types.setdefault(table, {}).update(found)
        return "stored"


class RigStream:
    """`log`: every record there ever was; those below `first_offset` cannot be read any more."""

    def __init__(self) -> None:
        self.identity = "stream"
        self.log: list[Logged] = []
        self.first_offset = Offset(0)
        self.next_offset = Offset(0)
        self._model = Model()
        self._sequence = 0

    def append(self, tables: Mapping[str, Sequence[Row]], *, skip: int = 0, bad: bool = False, **marks: Any) -> Offset:
        """Append a record, `skip` offsets further on than need be; a new sequence of producer 1 unless marks say."""
        offset = Offset(self.next_offset + skip)
        if "sequence" not in marks:
            marks["sequence"], self._sequence = self._sequence, self._sequence + 1
        self._add((poison if bad else decoded)(offset, tables, **marks), tables)
        return offset

    def again(self, offset: int) -> Offset:
        """Append the record at `offset` once more, as a router does whose first answer was lost."""
        first = next(each for each in self.log if each.record.offset == offset)
        record = first.record._replace(offset=self.next_offset)
        self._add(record, first.tables)
        return record.offset

    def read(self, first: Offset) -> list[Decoded]:
        """The records from `first` on, which can still be read."""
        assert first >= self.first_offset, f"offset {first} was trimmed: the log begins at {self.first_offset}"
        return [each.record for each in self.log if each.record.offset >= first]

    def trim(self, before: Offset) -> None:
        self.first_offset = max(self.first_offset, min(before, self.next_offset))

    def kept(self) -> int:
        """How many records can still be read."""
        return sum(each.record.offset >= self.first_offset for each in self.log)

    def found(self, last_offset: Offset | None) -> FoundStream:
        """What the buffer says of it; last_offset: of the record that a manifest remembers."""
        remembered = [each.record for each in self.log if self.first_offset <= each.record.offset == last_offset]
        checksum = remembered[0].checksum if remembered else None
        return FoundStream(self.identity, Offsets(self.first_offset, self.next_offset), checksum)

    def lose(self, before: Offset, state: ManifestState) -> None:
        """Of the records below `before`, which are trimmed, only the rows are left that `state` says are durable."""
        for each in self.log:
            if state.replay_offset <= each.record.offset < before:
                each.tables = {table: _durable(rows, table, each, state) for table, rows in each.tables.items()}
                each.fate = "lost"

    def _add(self, record: Decoded, tables: Mapping[str, Sequence[Row]]) -> None:
        self.log.append(Logged(record, tables, self._model.fate(record)))
        self.next_offset = Offset(record.offset + 1)


def _durable(rows: Sequence[Row], table: str, logged: Logged, state: ManifestState) -> list[Row]:
    if logged.fate != "stored":
        return []
    key = lambda row: PartitionKey(NAMESPACE, table, row.time_ns // DAY_NS)
    return [row for row in rows if state.covers(key(row), logged.record.offset, row.time_ns)]
