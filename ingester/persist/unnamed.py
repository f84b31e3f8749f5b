"""Files that no manifest record names: what a killed ingester had put and could not commit."""

from common.catalog.manifest.state import ManifestState
from common.catalog.paths import DATA, data_file_owner
from common.store.objects import ObjectStore


def remove_unnamed_files(state: ManifestState, store: ObjectStore) -> int:
    """Delete this sequencer's files of lower epochs that `state` does not name: they can never be named."""
    removed = 0
    for found in store.list(DATA):
        owner = data_file_owner(found.path)
        if owner and owner[0] == state.sequencer and owner[1] < state.epoch and found.path not in state.files:
            store.delete(found.path)
            removed += 1
    return removed
