"""A record that could not be applied, kept in the store: its bytes and why. Format in docs/formats/dead-letter.md."""

import json

from common.catalog.paths import dead_letter
from common.store.objects import ObjectStore
from ingester.core.events import DeadLetter


def put_dead_letter(store: ObjectStore, letter: DeadLetter) -> str:
    """Put the bytes, then the note that names them; returns the note's path. Raises Unavailable.

    Put again, for instance by a restart that reads the record again, it is the same.
    """
    bytes_path, note_path = (dead_letter(letter.sequencer, letter.offset, kind) for kind in ("bin", "json"))
    note = {
        "sequencer": letter.sequencer,
        "offset": letter.offset,
        "reason": letter.reason,
        "bytes": len(letter.data),
    }
    store.put(bytes_path, letter.data)
    store.put(note_path, json.dumps(note).encode())
    return note_path
