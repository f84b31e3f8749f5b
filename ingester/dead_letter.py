"""A record put aside: its bytes and why, in the store. Format in docs/formats/dead-letter.md."""

import json

from common.ids import SequencerId
from common.objectstore import ObjectStore
from ingester.events import DeadLetter


def put_aside(store: ObjectStore, sequencer: SequencerId, letter: DeadLetter) -> str:
    """Put the letter, the bytes before the note that speaks of them; returns the note's path. Raises Unavailable.

    Put again, for instance by a restart that meets the record again, it is the same.
    """
    base = f"dead-letter/{sequencer:03}/{letter.offset:020}"
    note = {"sequencer": sequencer, "offset": letter.offset, "reason": letter.reason, "bytes": len(letter.data)}
    store.put(f"{base}.bin", letter.data)
    store.put(f"{base}.json", json.dumps(note).encode())
    return f"{base}.json"
