"""Files that no manifest record names: what a killed ingester had put and could not commit."""

from common.catalog.manifest.state import ManifestState
from common.catalog.unnamed import unnamed_files
from common.store.objects import ObjectStore


def remove_unnamed_files(state: ManifestState, store: ObjectStore) -> int:
    """Delete this sequencer's files that nobody can ever name. state: after the own claim."""
    removable = [each for each in unnamed_files(state, store) if each.can_be_removed(state)]
    for each in removable:
        store.delete(each.found.path)
    return len(removable)
