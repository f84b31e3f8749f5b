"""Files that somebody else than its holder puts in, and takes out of, a manifest: a replay, later a compactor.

Only the holder of the epoch commits. It takes a swap as an event and names it in its next record, whole or not at all.
A swap says what it was made from: the files that each partition had, and the epoch, which the names of its new files
carry. Where that is no longer so it is refused, and has to be made again: a file that was committed meanwhile may have
newer values for the same keys, and files of lower epochs are removed when a sequencer is claimed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import xxhash

from common.catalog.manifest.change import Accounts, Change, StoredFile
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.catalog.paths import data_file_name
from common.values.errors import DataCorrupt, InvalidRequest
from common.values.ids import Epoch, SequencerId


@dataclass(frozen=True, slots=True)
class Swap:
    """made_from: for each partition touched the digest of its files' paths, in the order of their commits.

    The rows that come and those that go are the same ones, but for those that a newer row of their key overwrites.
    """

    sequencer: SequencerId
    epoch: Epoch
    made_from: Mapping[PartitionKey, str]
    files_added: tuple[StoredFile, ...] = ()
    files_removed: tuple[str, ...] = ()

    @classmethod
    def of(cls, state: ManifestState, files_added: Iterable[StoredFile], files_removed: Iterable[StoredFile]) -> "Swap":
        """A swap made from `state`."""
        added, removed = tuple(files_added), tuple(files_removed)
        touched = sorted({file.partition for file in (*added, *removed)})
        made_from = {key: _digest(state, key) for key in touched}
        return cls(state.sequencer, state.epoch, made_from, added, tuple(file.path for file in removed))

    def is_in(self, state: ManifestState) -> bool:
        """Whether it was committed before: its answer was lost."""
        added = all(file.path in state.files for file in self.files_added)
        return added and not any(path in state.files for path in self.files_removed)

    def refusal(self, state: ManifestState) -> str | None:
        """Why it cannot be committed on top of `state`; None where it can."""
        if self.epoch != state.epoch:
            return f"sequencer {state.sequencer} was claimed again: its epoch is {state.epoch}, not {self.epoch}"
        for key, digest in self.made_from.items():
            if _digest(state, key) != digest:
                return f"partition {key} has other files than when this was made from them"
        missing = next((path for path in self.files_removed if path not in state.files), None)
        return f"the manifest does not name {missing}" if missing else None

    def added_to(self, change: Change, state: ManifestState) -> Change:
        """`change`, on top of `state`, with this swap; the accounts stay in balance."""
        came = sum(file.rows for file in self.files_added)
        went = sum(state.files[path].rows for path in self.files_removed)
        accounts: Accounts = change.as_of.accounts.plus(stored=came - went, overwritten=went - came)
        return replace(
            change,
            as_of=replace(change.as_of, accounts=accounts),
            files_added=change.files_added + self.files_added,
            files_removed=change.files_removed + self.files_removed,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "sequencer": self.sequencer,
            "epoch": self.epoch,
            "made_from": [[key.to_json(), digest] for key, digest in self.made_from.items()],
            "files_added": [file.to_json() for file in self.files_added],
            "files_removed": list(self.files_removed),
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


def _digest(state: ManifestState, key: PartitionKey) -> str:
    return xxhash.xxh3_128_hexdigest("\n".join(file.path for file in state.files.of_partition(key)).encode())
