"""One record of the manifest: its bytes, and what they say. Format in docs/formats/manifest.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.catalog.manifest.change import Change
from common.catalog.manifest.envelope import FORMAT, incomplete, sealed, unsealed
from common.catalog.manifest.producers import Producers
from common.catalog.manifest.state import ManifestState
from common.values.ids import NO_MANIFEST, Epoch, ManifestNumber


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """One record as stored. checkpoint: the newest one that its writer knew, 0 for none.

    Of format 1 only: full_state_number, the newest record with a full state; full, the state after this record where
    it carries one.
    """

    number: ManifestNumber
    epoch: Epoch
    nonce: str
    change: Change
    checkpoint: ManifestNumber
    full_state_number: ManifestNumber
    full: Change | None


def encode(state: ManifestState, change: Change, epoch: Epoch, nonce: str) -> tuple[ManifestState, bytes]:
    """The state after `change`, and the bytes of the record that says so."""
    after = state.after(change, epoch)
    values = {
        "format": FORMAT,
        "number": after.number,
        "sequencer": state.sequencer,
        "epoch": epoch,
        "nonce": nonce,
        "checkpoint": state.checkpoint.number,
        **change.to_json(state.as_of.producers),
    }
    return after, sealed(values)


def decode(data: bytes, where: str, producers: Producers | None = None) -> ManifestRecord:
    """The inverse. producers: those of the state before it, which the record's own are relative to.

    Raises DataCorrupt with what does not fit.
    """
    values = unsealed(data, where)
    try:
        return _decoded(values, producers)
    except (KeyError, TypeError, ValueError) as error:
        raise incomplete(where, error) from None


def _decoded(values: Mapping[str, Any], producers: Producers | None) -> ManifestRecord:
    is_format_1 = values["format"] == 1
    return ManifestRecord(
        number=ManifestNumber(values["number"]),
        epoch=Epoch(values["epoch"]),
        nonce=values["nonce"],
        change=Change.from_json(values, None if is_format_1 else producers),
        checkpoint=NO_MANIFEST if is_format_1 else ManifestNumber(values["checkpoint"]),
        full_state_number=ManifestNumber(values["full_state"]) if is_format_1 else NO_MANIFEST,
        full=Change.from_json(values["full"]) if "full" in values else None,
    )
