"""What one commit changed, and the values it is made of. Format in docs/formats/manifest.md."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from common.catalog.manifest.frontier import Frontier
from common.catalog.manifest.producers import Producers
from common.catalog.partition_key import PartitionKey
from common.values.ids import ZERO, Offset
from common.values.schema import Columns, ColumnType, TableId

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One Parquet file. checksum: xxh3-64 of its bytes. sort_key: its tags.

    first_offset: the least of its rows. last_offset: one below the applied offset when they were cut.
    """

    path: str
    partition: PartitionKey
    rows: int
    size_bytes: int
    time_ns_min: int
    time_ns_max: int
    first_offset: Offset
    last_offset: Offset
    checksum: int
    sort_key: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "partition": self.partition.to_json(),
            "rows": self.rows,
            "bytes": self.size_bytes,
            "time_ns": [self.time_ns_min, self.time_ns_max],
            "offsets": [self.first_offset, self.last_offset],
            "xxh3": f"{self.checksum:016x}",
            "sort_key": list(self.sort_key),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StoredFile":
        return cls(
            path=value["path"],
            partition=PartitionKey.from_json(value["partition"]),
            rows=value["rows"],
            size_bytes=value["bytes"],
            time_ns_min=value["time_ns"][0],
            time_ns_max=value["time_ns"][1],
            first_offset=Offset(value["offsets"][0]),
            last_offset=Offset(value["offsets"][1]),
            checksum=int(value["xxh3"], 16),
            sort_key=tuple(value["sort_key"]),
        )


@dataclass(frozen=True, slots=True)
class Accounts:
    """Rows that are settled: stored in files, overwritten by a newer row of the same key before that, recognised as
    duplicates, or dead (counted where the entry's header could be read). The last two are as of the replay offset."""

    stored: int = 0
    overwritten: int = 0
    duplicate: int = 0
    dead: int = 0

    @property
    def settled(self) -> int:
        return self.stored + self.overwritten + self.duplicate + self.dead

    def plus(self, stored: int = 0, overwritten: int = 0, duplicate: int = 0, dead: int = 0) -> "Accounts":
        return Accounts(
            self.stored + stored, self.overwritten + overwritten, self.duplicate + duplicate, self.dead + dead
        )

    def to_json(self) -> dict[str, int]:
        return {
            "stored": self.stored,
            "overwritten": self.overwritten,
            "duplicate": self.duplicate,
            "dead": self.dead,
        }


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets [first, next) that the buffer no longer had and an operator accepted as lost; their rows are unknown."""

    first_offset: Offset
    next_offset: Offset

    def holds(self, other: "Gap") -> bool:
        return self.first_offset <= other.first_offset and other.next_offset <= self.next_offset

    def to_json(self) -> list[int]:
        return [self.first_offset, self.next_offset]


@dataclass(frozen=True, slots=True)
class StreamMark:
    """Which stream was followed: its identity, and the checksum of the record right below the replay offset.

    last_offset is None where no record was applied yet.
    """

    identity: str = ""
    last_offset: Offset | None = None
    last_checksum: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "last_offset": self.last_offset,
            "last_xxh3": f"{self.last_checksum:016x}",
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StreamMark":
        last = value["last_offset"]
        return cls(value["identity"], None if last is None else Offset(last), int(value["last_xxh3"], 16))


@dataclass(frozen=True, slots=True)
class Instance:
    """Who claimed, and where queries find it. flight: host:port; http: host:port."""

    name: str = ""
    http_address: str = ""
    flight_address: str = ""

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "http": self.http_address, "flight": self.flight_address}

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> "Instance":
        return cls(value["name"], value["http"], value["flight"])


@dataclass(frozen=True, slots=True)
class AsOf:
    """The result of all records below `replay_offset`; a restart reads from there and starts with these values.

    log_time_ns: the greatest append time below it. accounts: `stored` and `overwritten` count the rows of all files,
    also those above the replay offset. rows_taken: of all records below it, as their entries say, counted apart
    from the accounts; None where it is not known, after a gap and in manifests of earlier releases.
    """

    replay_offset: Offset = ZERO
    log_time_ns: int = 0
    stream: StreamMark = StreamMark()
    producers: Producers = field(default_factory=Producers)
    accounts: Accounts = Accounts()
    rows_taken: int | None = 0

    def to_json(self, known: Producers | None = None) -> dict[str, Any]:
        """known: the producers before, of which only the difference is written."""
        return {
            "replay_offset": self.replay_offset,
            "log_time_ns": self.log_time_ns,
            "stream": self.stream.to_json(),
            "producers": self.producers.to_json(known),
            "accounts": self.accounts.to_json(),
            "taken": self.rows_taken,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], known: Producers | None = None) -> "AsOf":
        return cls(
            replay_offset=Offset(value["replay_offset"]),
            log_time_ns=value["log_time_ns"],
            stream=StreamMark.from_json(value["stream"]),
            producers=Producers.from_json(value["producers"], known),
            accounts=Accounts(**value["accounts"]),
            rows_taken=value.get("taken"),
        )


NOBODY = Instance()


@dataclass(frozen=True, slots=True)
class Change:
    """What one record changes. `claim` names the new holder when the record claims the next epoch.

    as_of: the new values. frontiers: those of the partitions touched; sort_keys: those of the tables touched; columns:
    those that records below the replay offset brought to their tables. redriven: dead letters whose rows are in
    files_added.
    """

    as_of: AsOf
    claim: Instance | None = None
    files_added: tuple[StoredFile, ...] = ()
    files_removed: tuple[str, ...] = ()
    frontiers: Mapping[PartitionKey, Frontier] = field(default_factory=dict)
    sort_keys: Mapping[TableId, tuple[str, ...]] = field(default_factory=dict)
    columns: Mapping[TableId, Columns] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    redriven: tuple[Offset, ...] = ()

    def to_json(self, known: Producers | None = None) -> dict[str, Any]:
        """known: the producers before, of which only the difference is written."""
        values: dict[str, Any] = {
            **self.as_of.to_json(known),
            "files_added": [file.to_json() for file in self.files_added],
            "files_removed": list(self.files_removed),
            "frontiers": [[key.to_json(), list(frontier)] for key, frontier in _sorted(self.frontiers)],
            "sort_keys": [[key.namespace, key.table, list(tags)] for key, tags in _sorted(self.sort_keys)],
            "columns": [
                [key.namespace, key.table, {name: column.value for name, column in _sorted(columns)}]
                for key, columns in _sorted(self.columns)
            ],
            "gaps": [gap.to_json() for gap in self.gaps],
            "redriven": list(self.redriven),
        }
        if self.claim is not None:
            values["claim"] = self.claim.to_json()
        return values

    @classmethod
    def from_json(cls, value: Mapping[str, Any], known: Producers | None = None) -> "Change":
        return cls(
            as_of=AsOf.from_json(value, known),
            claim=Instance.from_json(value["claim"]) if "claim" in value else None,
            files_added=tuple(map(StoredFile.from_json, value["files_added"])),
            files_removed=tuple(value["files_removed"]),
            frontiers={
                PartitionKey.from_json(key): Frontier((offset, time_ns) for offset, time_ns in corners)
                for key, corners in value["frontiers"]
            },
            sort_keys={TableId(namespace, table): tuple(tags) for namespace, table, tags in value["sort_keys"]},
            columns={
                TableId(namespace, table): {name: ColumnType(column) for name, column in columns.items()}
                for namespace, table, columns in value["columns"]
            },
            gaps=tuple(Gap(Offset(first), Offset(next_)) for first, next_ in value["gaps"]),
            redriven=tuple(map(Offset, value.get("redriven", ()))),  # absent in records of before
        )


def _sorted(values: Mapping[K, V]) -> list[tuple[K, V]]:
    """By key: the order of the maps themselves differs between processes."""
    return [(key, values[key]) for key in sorted(values)]  # type: ignore[type-var]
