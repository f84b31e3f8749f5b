"""Files that no manifest record names: what a killed ingester had put and could not commit."""

import re

from common.objectstore import ObjectStore
from ingester.persist.manifest_state import ManifestState

_FILE = re.compile(r"(\d{3,})-(\d{8,})-.*\.parquet")


def remove_unnamed_files(state: ManifestState, store: ObjectStore) -> int:
    """Delete this sequencer's files of lower epochs that `state` does not name: they can never be named."""
    removed = 0
    for found in store.list("data"):
        match = _FILE.fullmatch(found.path.rpartition("/")[2])
        if match and int(match[1]) == state.sequencer and int(match[2]) < state.epoch and found.path not in state.files:
            store.delete(found.path)
            removed += 1
    return removed
