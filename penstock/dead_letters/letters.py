"""The dead letters of a sequencer as the store has them. Format in docs/formats/dead-letter.md."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common.catalog.manifest.state import ManifestState
from common.catalog.paths import dead_letter, dead_letter_of, dead_letters
from common.store.objects import NotFound, ObjectStore
from common.values.errors import DataCorrupt, InvalidRequest
from common.values.ids import Offset
from ingester.following.decode import Decoded, decode
from writebuffer.contract import SequencedRecord
from writebuffer.record import Record


@dataclass(frozen=True, slots=True)
class Letter:
    """One record. reason: why it was put aside; "" where the note is missing. record: as this release reads it, None
    where it is no record at all. redriven: its rows are in the store.
    """

    offset: Offset
    reason: str
    data: bytes
    record: Decoded | None
    redriven: bool

    @property
    def rows(self) -> int:
        """As far as the entry's header can be read."""
        return self.record.rows if self.record else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "offset": self.offset,
            "reason": self.reason,
            "bytes": len(self.data),
            "rows": self.rows,
            "append_time_ns": self.record.append_time_ns if self.record else None,
            "redriven": self.redriven,
        }


def offsets(state: ManifestState, store: ObjectStore) -> list[Offset]:
    """Of the sequencer's dead letters, ascending."""
    named = (dead_letter_of(found.path) for found in store.list(dead_letters(state.sequencer)))
    return sorted(offset for offset, kind in filter(None, named) if kind == "bin")


def read(state: ManifestState, offset: Offset, store: ObjectStore) -> Letter:
    """Raises InvalidRequest where there is none, Unavailable."""
    try:
        data = store.get(dead_letter(state.sequencer, offset, "bin"))
    except NotFound:
        raise InvalidRequest(
            f"sequencer {state.sequencer} has no dead letter at offset {offset}: `penstock dead-letter list` shows all"
        ) from None
    return Letter(offset, _reason(state, offset, store), data, _decoded(offset, data), offset in state.redriven)


def read_all(state: ManifestState, store: ObjectStore) -> Iterator[Letter]:
    """One after another, by offset. Raises Unavailable."""
    for offset in offsets(state, store):
        try:
            yield read(state, offset, store)
        except InvalidRequest:  # dropped meanwhile
            continue


def drop(state: ManifestState, offset: Offset, store: ObjectStore) -> None:
    """Remove the note, then the bytes. Raises Unavailable."""
    for kind in ("json", "bin"):
        store.delete(dead_letter(state.sequencer, offset, kind))


def _reason(state: ManifestState, offset: Offset, store: ObjectStore) -> str:
    try:
        return str(json.loads(store.get(dead_letter(state.sequencer, offset, "json")))["reason"])
    except (NotFound, ValueError, KeyError, TypeError):
        return ""


def _decoded(offset: Offset, data: bytes) -> Decoded | None:
    try:
        return decode(SequencedRecord(offset, Record.from_bytes(data)))
    except DataCorrupt:
        return None
