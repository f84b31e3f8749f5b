"""All objects of a manifest there ever were: loading one reads the newest checkpoint and the records after it alone."""

from collections.abc import Iterator, Mapping
from typing import Any

import xxhash

from common.catalog import paths
from common.catalog.manifest.envelope import incomplete, unsealed
from common.catalog.manifest.state import ManifestState
from common.store.objects import NotFound, ObjectStore
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import ManifestNumber, SequencerId
from penstock.fsck.finding import Finding, Kind


def wrong_history(state: ManifestState, store: ObjectStore) -> Iterator[Finding]:
    """Objects that are not what was written, and records up to `state` that are missing. Raises Unavailable."""
    sequencer = state.sequencer
    seen = bytearray(state.number + 1)
    for found in store.list(paths.manifest_folder(sequencer)):
        number = paths.manifest_record_number(found.path, sequencer)
        if number is not None and number <= state.number:
            seen[number] = True
        try:
            _check(sequencer, found.path, store.get(found.path))
        except NotFound:
            continue
        except Unavailable as error:
            store.get(paths.CLUSTER)  # raises where it is not this object alone
            yield Finding(Kind.UNREAD, error.message, found.path, sequencer)
        except DataCorrupt as error:
            yield Finding(Kind.CHECKPOINT if number is None else Kind.RECORD, error.message, sequencer=sequencer)
    for at in range(1, state.number + 1):
        if not seen[at]:
            where = paths.manifest_record(sequencer, ManifestNumber(at))
            yield Finding(Kind.RECORD, "it is missing, and later records are there", where, sequencer)


def _check(sequencer: SequencerId, path: str, data: bytes) -> None:
    """Raises DataCorrupt."""
    values = unsealed(data, path)
    try:
        place = _place(sequencer, path, values, data)
    except (KeyError, TypeError, ValueError) as error:
        raise incomplete(path, error) from None
    if place != path:
        raise DataCorrupt(f"{path}: its content belongs to {place}; restore it from a copy of the store", path=path)


def _place(sequencer: SequencerId, path: str, values: Mapping[str, Any], data: bytes) -> str:
    """Where an object with this content belongs."""
    if path == paths.manifest_hint(sequencer):
        return path
    if "part" in values:
        return paths.manifest_part(values["sequencer"], values["part"], xxhash.xxh3_128_hexdigest(data))
    if "state" in values:
        return paths.manifest_checkpoint(values["sequencer"], values["number"])
    return paths.manifest_record(values["sequencer"], values["number"])
