"""Checkpoints: the state as of a record, so that loading a manifest reads few records after it.

    manifest/<sequencer:03>/checkpoints/<number:020>.json     the state as of that record, and the list of its parts
    manifest/<sequencer:03>/parts/<part:08>-<digest>.json     up to PART_FILES files in the order of their commits

A checkpoint is computed from the records up to its number alone. Any process may write it at any time, more than once
or at the same time as another, and the bytes are the same. So plain puts are enough; they also replace a damaged one. A
part is named by its content and is put again only when that changed: a checkpoint costs the parts that changed since
the last one. All its objects are durable before a record names it. The records hold everything that a checkpoint does:
one that is damaged or missing is passed over, and an earlier one and more records are read instead.
Nothing is deleted: superseded checkpoints let any earlier number be loaded as fast, and take about as much space as
the records, which are kept, too.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import xxhash
from immutables import Map

from common.catalog import paths
from common.catalog.manifest import files as live_files
from common.catalog.manifest.change import Change, StoredFile
from common.catalog.manifest.envelope import FORMAT, incomplete, sealed, unsealed
from common.catalog.manifest.files import Files, Part
from common.catalog.manifest.hint import encode_hint
from common.catalog.manifest.state import Checkpoint, ManifestState, StoredPart
from common.store.objects import GetAll, PutAll, Steps
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import Epoch, ManifestNumber, SequencerId

RECORDS_MAX = 64
"""Records after the newest checkpoint; the next one needs a new checkpoint first. They are read in one round."""


def is_due(state: ManifestState) -> bool:
    """Whether the next record needs a checkpoint first."""
    return state.number - state.checkpoint.number >= RECORDS_MAX


def put(state: ManifestState) -> Steps[Checkpoint]:
    """Make a checkpoint of `state`, durable at the return. Raises Unavailable: call again."""
    parts: dict[int, StoredPart] = {}
    objects = []
    for number, files in sorted(state.files.parts.items()):
        known = state.checkpoint.parts.get(number)
        if known is None or known.files is not files:
            data = _part_bytes(state.sequencer, number, files)
            known = StoredPart(files, xxhash.xxh3_128_hexdigest(data))
            objects.append((paths.manifest_part(state.sequencer, number, known.digest), data))
        parts[number] = known
    if objects:
        yield PutAll(tuple(objects))
    yield PutAll(((paths.manifest_checkpoint(state.sequencer, state.number), _root_bytes(state, parts)),))
    with suppress(Unavailable):  # without it the search for the newest record starts lower
        yield PutAll(((paths.manifest_hint(state.sequencer), encode_hint(state.number)),))
    return Checkpoint(state.number, parts)


def read(sequencer: SequencerId, number: ManifestNumber, known: Mapping[str, bytes]) -> Steps[ManifestState]:
    """The state as of record `number` by its checkpoint. known: objects that were read before.

    Raises DataCorrupt where the checkpoint or a part of it is damaged or missing, Unavailable.
    """
    where = paths.manifest_checkpoint(sequencer, number)
    data = known.get(where)
    if data is None:
        (data,) = yield GetAll((where,))
    root = unsealed(_present(data, where), where)
    try:
        wanted = [(int(part), str(digest)) for part, digest in root["parts"]]
        names = tuple(paths.manifest_part(sequencer, part, digest) for part, digest in wanted)
        found = (yield GetAll(names)) if names else ()
        parts = [_part(sequencer, *each, data) for each, data in zip(wanted, found, strict=True)]
        return _state(sequencer, number, root, dict(zip(wanted, parts, strict=True)))
    except (KeyError, TypeError, ValueError) as error:
        raise incomplete(where, error) from None


def _root_bytes(state: ManifestState, parts: Mapping[int, StoredPart]) -> bytes:
    whole = state.as_change(with_files=False).to_json()
    values = {
        "format": FORMAT,
        "number": state.number,
        "sequencer": state.sequencer,
        "epoch": state.epoch,
        "state": whole,
        "part_files": live_files.PART_FILES,
        "next_serial": state.files.next_serial,
        "parts": [[number, part.digest] for number, part in parts.items()],
    }
    return sealed(values)


def _part_bytes(sequencer: SequencerId, number: int, files: Part) -> bytes:
    listed = [[serial, file.to_json()] for serial, file in sorted(files.items())]
    return sealed({"format": FORMAT, "sequencer": sequencer, "part": number, "files": listed})


def _part(sequencer: SequencerId, number: int, digest: str, data: bytes | None) -> Part:
    where = paths.manifest_part(sequencer, number, digest)
    values = unsealed(_present(data, where), where)
    if xxhash.xxh3_128_hexdigest(data or b"") != digest:
        raise DataCorrupt(
            f"{where}: its content belongs to another name; restore it from a copy of the store", path=where
        )
    return Map((int(serial), StoredFile.from_json(file)) for serial, file in values["files"])


def _state(
    sequencer: SequencerId, number: ManifestNumber, root: Mapping[str, Any], parts: Mapping[tuple[int, str], Part]
) -> ManifestState:
    if (root["sequencer"], root["number"]) != (sequencer, number):
        raise ValueError(
            f"its number is {root['number']} and its sequencer {root['sequencer']}, expected {number}, {sequencer}"
        )
    whole = Change.from_json(root["state"])
    before = ManifestState(sequencer, ManifestNumber(number - 1))
    is_own_size = root["part_files"] == live_files.PART_FILES
    by_number = {part: files for (part, _), files in parts.items()}
    stored = {part: StoredPart(files, digest) for (part, digest), files in parts.items()}
    return before.after(whole, Epoch(root["epoch"])).at_checkpoint(
        Files.of(by_number if is_own_size else _regrouped(by_number), int(root["next_serial"])),
        Checkpoint(number, stored if is_own_size else {}),
    )


def _regrouped(parts: Mapping[int, Part]) -> dict[int, Part]:
    """The files of another release's parts, whose size differs, in parts of this one's size, all to be written."""
    grouped: dict[int, dict[int, StoredFile]] = {}
    for part in parts.values():
        for serial, file in part.items():
            grouped.setdefault(serial // live_files.PART_FILES, {})[serial] = file
    return {number: Map(files) for number, files in grouped.items()}


def _present(data: bytes | None, where: str) -> bytes:
    if data is None:
        raise DataCorrupt(
            f"{where} is missing, although a manifest record names it; restore it from a copy of the store", path=where
        )
    return data
