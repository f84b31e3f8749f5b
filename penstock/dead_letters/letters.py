"""The dead letters of a sequencer as the store has them. Format in docs/formats/dead-letter.md."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from common.catalog.manifest.state import ManifestState
from common.catalog.paths import dead_letter, dead_letter_of, dead_letters
from common.store.objects import NotFound, ObjectStore
from common.values.errors import DataCorrupt, InvalidRequest
from common.values.ids import Offset
from ingester.following.decode import Decoded, decode
from ingester.following.trial import ENDED, try_records
from writebuffer.contract import SequencedRecord
from writebuffer.record import Record


@dataclass(frozen=True, slots=True)
class Letter:
    """One record. reason: why it was put aside; "" where the note is missing. record: as this release reads it, None
    where it is no record at all, or ends processes that read it. redriven: its rows are in the store.
    """

    offset: Offset
    reason: str
    data: bytes
    record: Decoded | None
    redriven: bool

    @property
    def ends_processes(self) -> bool:
        """It did: `as_tried` says whether it still does."""
        return self.reason.startswith(ENDED)

    def as_tried(self) -> "Letter":
        """Read, after it was tried in a process of its own; else with the reason why not. Raises Unavailable."""
        found = try_records([SequencedRecord(self.offset, Record.from_bytes(self.data))])
        if found:
            return replace(self, reason=found[self.offset])
        return replace(self, reason="", record=_decoded(self.offset, self.data))

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
    reason = _reason(state, offset, store)
    record = None if reason.startswith(ENDED) else _decoded(offset, data)
    return Letter(offset, reason, data, record, offset in state.redriven)


def that_end_processes(state: ManifestState, store: ObjectStore) -> dict[Offset, str]:
    """The reasons of records whose payload must not be looked at, by offset. Raises Unavailable."""
    reasons = ((offset, _reason(state, offset, store)) for offset in offsets(state, store))
    return {offset: reason for offset, reason in reasons if reason.startswith(ENDED)}


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
