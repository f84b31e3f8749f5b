"""What a sequencer's manifest says: the records, and the state they add up to.

A Change is what one commit changed; a ManifestState is all changes so far. Both are values. Format in
docs/formats/manifest.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from common.ids import NO_EPOCH, NO_MANIFEST, ZERO, Epoch, ManifestNumber, Offset, SequencerId
from common.schema import Columns, ColumnType, TableId
from ingester.frontier import Frontier
from ingester.partition_key import PartitionKey
from ingester.producers import Producers


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
    """Rows that are settled: in files, overwritten by a newer row of the same key before they got there, recognised as
    duplicates, or dead (as far as the entry's header could be read). The last two as of the replay offset."""

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

    def to_json(self) -> list[int]:
        return [self.first_offset, self.next_offset]


@dataclass(frozen=True, slots=True)
class StreamMark:
    """Which stream was followed: its identity, and the checksum of the record right below the replay offset.

    last_offset is None where no record was taken yet.
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
class Change:
    """What one record changes. `claim` names the new holder when the record claims the next epoch.

    replay_offset, log_time_ns, stream, producers and accounts are the new values; frontiers those of the partitions
    touched, sort keys those of the tables touched; columns those that records below the replay offset brought to their
    tables.
    """

    replay_offset: Offset
    log_time_ns: int
    stream: StreamMark
    producers: Producers
    accounts: Accounts
    claim: Instance | None = None
    files_added: tuple[StoredFile, ...] = ()
    files_removed: tuple[str, ...] = ()
    frontiers: Mapping[PartitionKey, Frontier] = field(default_factory=dict)
    sort_keys: Mapping[TableId, tuple[str, ...]] = field(default_factory=dict)
    columns: Mapping[TableId, Columns] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()

    def to_json(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "replay_offset": self.replay_offset,
            "log_time_ns": self.log_time_ns,
            "stream": self.stream.to_json(),
            "producers": self.producers.to_json(),
            "accounts": self.accounts.to_json(),
            "files_added": [file.to_json() for file in self.files_added],
            "files_removed": list(self.files_removed),
            "frontiers": [[key.to_json(), list(frontier)] for key, frontier in self.frontiers.items()],
            "sort_keys": [[key.namespace, key.table, list(tags)] for key, tags in self.sort_keys.items()],
            "columns": [
                [key.namespace, key.table, {name: column.value for name, column in columns.items()}]
                for key, columns in self.columns.items()
            ],
            "gaps": [gap.to_json() for gap in self.gaps],
        }
        if self.claim is not None:
            values["claim"] = self.claim.to_json()
        return values

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Change":
        return cls(
            replay_offset=Offset(value["replay_offset"]),
            log_time_ns=value["log_time_ns"],
            stream=StreamMark.from_json(value["stream"]),
            producers=Producers.from_json(value["producers"]),
            accounts=Accounts(**value["accounts"]),
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
        )


@dataclass(frozen=True, slots=True)
class ManifestState:
    """All records of a sequencer up to `number`, added up. files: by path, in the order of their commits.

    full_state_number: the newest record that carries a full state; loading starts there. full_bytes: its size;
    bytes_since_full: that of the records after it.
    """

    sequencer: SequencerId
    number: ManifestNumber = NO_MANIFEST
    epoch: Epoch = NO_EPOCH
    instance: Instance = Instance()
    replay_offset: Offset = ZERO
    log_time_ns: int = 0
    stream: StreamMark = StreamMark()
    producers: Producers = field(default_factory=Producers)
    accounts: Accounts = Accounts()
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    frontiers: Mapping[PartitionKey, Frontier] = field(default_factory=dict)
    sort_keys: Mapping[TableId, tuple[str, ...]] = field(default_factory=dict)
    columns: Mapping[TableId, Columns] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    full_state_number: ManifestNumber = NO_MANIFEST
    full_bytes: int = 0
    bytes_since_full: int = 0

    @property
    def http_address(self) -> str:
        return self.instance.http_address

    @property
    def flight_address(self) -> str:
        return self.instance.flight_address

    def covers(self, key: PartitionKey, offset: Offset, time_ns: int) -> bool:
        """Whether that row is durable in the store."""
        frontier = self.frontiers.get(key)
        return offset < self.replay_offset or (frontier is not None and frontier.covers(offset, time_ns))

    def after(self, change: Change, epoch: Epoch) -> "ManifestState":
        """The state with one more record, written under `epoch`. Numbers and sizes are the manifest's to set."""
        removed = set(change.files_removed)
        files = {path: file for path, file in self.files.items() if path not in removed}
        files.update((file.path, file) for file in change.files_added)
        frontiers = {**self.frontiers, **change.frontiers}
        above = {key: frontier.above(change.replay_offset) for key, frontier in frontiers.items()}
        return replace(
            self,
            number=ManifestNumber(self.number + 1),
            epoch=epoch,
            instance=change.claim or self.instance,
            replay_offset=change.replay_offset,
            log_time_ns=change.log_time_ns,
            stream=change.stream,
            producers=change.producers,
            accounts=change.accounts,
            files=files,
            frontiers={key: frontier for key, frontier in above.items() if frontier},
            sort_keys={**self.sort_keys, **change.sort_keys},
            columns={
                **self.columns,
                **{table: {**self.columns.get(table, {}), **new} for table, new in change.columns.items()},
            },
            gaps=self.gaps + change.gaps,
        )

    def as_change(self) -> Change:
        """The whole state as one change from nothing: what a record with a full state carries."""
        return Change(
            replay_offset=self.replay_offset,
            log_time_ns=self.log_time_ns,
            stream=self.stream,
            producers=self.producers,
            accounts=self.accounts,
            claim=self.instance,
            files_added=tuple(self.files.values()),
            frontiers=self.frontiers,
            sort_keys=self.sort_keys,
            columns=self.columns,
            gaps=self.gaps,
        )
