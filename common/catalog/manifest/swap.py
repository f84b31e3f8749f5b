"""Files that somebody else than its holder puts in, and takes out of, a manifest: a replay, a redrive of dead letters.

Only the holder of the epoch commits. It takes a swap as an event and names it in its next record, whole or not at all.
A swap says what it was made from: the files that each partition had, and the epoch, which the names of its new files
carry. Where that is no longer so it is refused, and has to be made again: a file that was committed meanwhile may have
newer values for the same keys, and files of lower epochs are removed when a sequencer is claimed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import xxhash

from common.catalog.manifest.change import Change, StoredFile
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.catalog.paths import data_file_name
from common.values.errors import DataCorrupt, InvalidRequest
from common.values.ids import Epoch, Offset, SequencerId
from common.values.schema import Columns, ColumnType, TableId


@dataclass(frozen=True, slots=True)
class Swap:
    """made_from: for each partition touched the digest of its files' paths, in the order of their commits.

    The rows that come are those that go and those of dead letters, but for what a newer row of their key overwrites.
    redriven: by the offset of each dead letter the rows that were counted dead. columns: that their tables gain.
    """

    sequencer: SequencerId
    epoch: Epoch
    made_from: Mapping[PartitionKey, str]
    files_added: tuple[StoredFile, ...] = ()
    files_removed: tuple[str, ...] = ()
    redriven: Mapping[Offset, int] = field(default_factory=dict)
    columns: Mapping[TableId, Columns] = field(default_factory=dict)

    @classmethod
    def of(cls, state: ManifestState, files_added: Iterable[StoredFile], files_removed: Iterable[StoredFile]) -> "Swap":
        """A swap made from `state`."""
        added, removed = tuple(files_added), tuple(files_removed)
        touched = sorted({file.partition for file in (*added, *removed)})
        made_from = {key: _digest(state, key) for key in touched}
        return cls(state.sequencer, state.epoch, made_from, added, tuple(file.path for file in removed))

    def redriving(self, redriven: Mapping[Offset, int], columns: Mapping[TableId, Columns]) -> "Swap":
        """The same, with the dead letters whose rows it adds."""
        return replace(self, redriven=redriven, columns=columns)

    def is_in(self, state: ManifestState) -> bool:
        """Whether it was committed before: its answer was lost."""
        added = all(file.path in state.files for file in self.files_added) and state.redriven.issuperset(self.redriven)
        return added and not any(path in state.files for path in self.files_removed)

    def refusal(self, state: ManifestState) -> str | None:
        """Why it cannot be committed on top of `state`; None where it can."""
        if self.epoch != state.epoch:
            return f"sequencer {state.sequencer} was claimed again: its epoch is {state.epoch}, not {self.epoch}"
        for key, digest in self.made_from.items():
            if _digest(state, key) != digest:
                return f"partition {key} has other files than when this was made from them"
        if redriven := state.redriven.intersection(self.redriven):
            return f"the dead letter at offset {min(redriven)} was redriven already"
        if self.redriven and max(self.redriven) >= state.replay_offset:
            return (
                f"what lies before the dead letter at offset {max(self.redriven)} is not persisted yet: try again later"
            )
        for table, columns in self.columns.items():
            known = state.columns.get(table, {})
            if wrong := next((name for name, kind in columns.items() if known.get(name, kind) is not kind), None):
                return f"{table}: column {wrong!r} is {columns[wrong].value} there, and {known[wrong].value} before"
        missing = next((path for path in self.files_removed if path not in state.files), None)
        return f"the manifest does not name {missing}" if missing else None

    def added_to(self, change: Change, state: ManifestState) -> Change:
        """`change`, on top of `state`, with this swap; the accounts stay in balance."""
        came = sum(file.rows for file in self.files_added)
        went = sum(state.files[path].rows for path in self.files_removed)
        dead = sum(self.redriven.values())
        accounts = change.as_of.accounts.plus(stored=came - went, overwritten=dead + went - came, dead=-dead)
        return replace(
            change,
            as_of=replace(change.as_of, accounts=accounts),
            files_added=change.files_added + self.files_added,
            files_removed=change.files_removed + self.files_removed,
            columns=_united(change.columns, self.columns),
            redriven=change.redriven + tuple(sorted(self.redriven)),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "sequencer": self.sequencer,
            "epoch": self.epoch,
            "made_from": [[key.to_json(), digest] for key, digest in self.made_from.items()],
            "files_added": [file.to_json() for file in self.files_added],
            "files_removed": list(self.files_removed),
            "redriven": [[offset, rows] for offset, rows in self.redriven.items()],
            "columns": [
                [table.namespace, table.table, {name: kind.value for name, kind in columns.items()}]
                for table, columns in self.columns.items()
            ],
        }

    @classmethod
    def from_json(cls, values: Any) -> "Swap":
        """Raises InvalidRequest for what is no swap."""
        try:
            swap = cls(
                SequencerId(values["sequencer"]),
                Epoch(values["epoch"]),
                {PartitionKey.from_json(key): str(digest) for key, digest in values["made_from"]},
                tuple(map(StoredFile.from_json, values["files_added"])),
                tuple(map(str, values["files_removed"])),
                {Offset(offset): int(rows) for offset, rows in values["redriven"]},
                {
                    TableId(namespace, table): {name: ColumnType(kind) for name, kind in columns.items()}
                    for namespace, table, columns in values["columns"]
                },
            )
        except (KeyError, TypeError, ValueError, DataCorrupt) as error:
            raise InvalidRequest(f"this is no swap of files: {type(error).__name__} {error}") from None
        swap._check()
        return swap

    def _check(self) -> None:
        """Raises InvalidRequest where it would name files that are not its own."""
        for file in self.files_added:
            in_folder = file.path.rpartition("/")[0] == file.partition.folder
            name = data_file_name(file.path)
            if not in_folder or name is None or (name.sequencer, name.epoch) != (self.sequencer, self.epoch):
                raise InvalidRequest(f"{file.path} is no file of sequencer {self.sequencer}, epoch {self.epoch}")
            if file.partition not in self.made_from:
                raise InvalidRequest(f"{file.path}: made_from lacks its partition {file.partition}")


def _united(one: Mapping[TableId, Columns], other: Mapping[TableId, Columns]) -> Mapping[TableId, Columns]:
    return {table: {**one.get(table, {}), **other.get(table, {})} for table in {**one, **other}}


def _digest(state: ManifestState, key: PartitionKey) -> str:
    return xxhash.xxh3_128_hexdigest("\n".join(file.path for file in state.files.of_partition(key)).encode())
