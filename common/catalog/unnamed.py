"""Data files that no manifest record names, and which of them nobody can ever need.

A file's name carries the epoch of its writer, and only a record of that epoch can name it. Records' epochs never
decrease, so once a manifest of a higher epoch was read, its unnamed files of lower epochs stay unnamed, also those of a
writer that was superseded and still runs. A file of the manifest's own epoch may be named at any time: its commit
waits as long as the store is away or the process is stopped. No age proves otherwise.

Rows of a file that stays unnamed were persisted again, or are read again from the replay offset on: unless those
offsets were lost, and an operator accepted a gap. Such a file, and one that a person moved here, may be the only copy.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from common.catalog.manifest.change import Gap
from common.catalog.manifest.state import ManifestState
from common.catalog.paths import DATA, DataFileName, data_file_name
from common.store.objects import ObjectStore, StoredObject


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A file of a sequencer. name: what its name says.

    same_as: the path of a file that the manifest names and that has this one's name in another folder: it was moved or
    copied by hand. None otherwise.
    """

    found: StoredObject
    name: DataFileName
    same_as: str | None = None

    def can_be_named(self, state: ManifestState) -> bool:
        """Whether a record after `state`, which was read after the file was seen, may name it."""
        return self.name.epoch >= state.epoch

    def gap(self, state: ManifestState) -> Gap | None:
        """A gap whose rows the file may have."""
        first, last = self.name.first_offset, self.name.last_offset
        return next((gap for gap in state.gaps if first < gap.next_offset and gap.first_offset <= last), None)

    def can_be_removed(self, state: ManifestState) -> bool:
        """Whether nobody can need it. state: read after the file was seen, its newest record durable."""
        return not self.can_be_named(state) and self.same_as is None and self.gap(state) is None


def unnamed_files(state: ManifestState, store: ObjectStore) -> list[Unnamed]:
    """The data files of the sequencer that `state` does not name, in no order."""
    found = [
        Unnamed(each, name)
        for each in store.list(DATA)
        if (name := data_file_name(each.path)) and name.sequencer == state.sequencer and each.path not in state.files
    ]
    if not found:
        return []
    named = {_last_component(path): path for path in state.files}
    return [Unnamed(each.found, each.name, named.get(_last_component(each.found.path))) for each in found]


def foreign_files(store: ObjectStore, sequencers: int) -> Iterator[StoredObject]:
    """What is below data/ and is a data file of none of the sequencers 0..sequencers-1."""
    for each in store.list(DATA):
        name = data_file_name(each.path)
        if name is None or name.sequencer >= sequencers:
            yield each


def _last_component(path: str) -> str:
    return path.rpartition("/")[2]
