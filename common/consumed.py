"""Below which offset nobody needs a record of the write buffer any more, as the object store says.

Consumers are the ingester, by its manifest's replay offset, and whoever registered a cursor:
    cursors/<name>/<sequencer:03>.json     {"format": 1, "identity": "…", "offset": N}
`offset`: the next record that consumer wants; `identity`: the stream's, as the write buffer gives it. Its owner
replaces the file as it goes on, and deletes it when it wants nothing more.
"""

import json
from collections.abc import Iterator

from common import manifest_record
from common.errors import DataCorrupt
from common.ids import NO_MANIFEST, ManifestNumber, Offset, SequencerId
from common.objectstore import ObjectStore, run

FOLDER = "cursors"
_FORMAT = 1
_NOTHING = Offset(0)


class Consumed:
    """Reads the store at each question; remembers only how far each manifest goes."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._numbers: dict[SequencerId, ManifestNumber] = {}

    def below(self, sequencer: SequencerId, identity: str) -> Offset:
        """0 where something that was registered follows another stream than `identity`, or nothing was persisted yet.

        Raises DataCorrupt for a manifest or a cursor that cannot be read, Unavailable.
        """
        known = self._numbers.get(sequencer, NO_MANIFEST)
        head = run(manifest_record.head(sequencer, known), self._store)
        if head is None:
            return _NOTHING
        self._numbers[sequencer] = head.number
        wanted = [(head.identity, head.replay_offset), *self._cursors(sequencer)]
        return min(offset if of == identity else _NOTHING for of, offset in wanted)

    def _cursors(self, sequencer: SequencerId) -> Iterator[tuple[str, Offset]]:
        for found in self._store.list(FOLDER):
            if found.path.endswith(f"/{sequencer:03}.json"):
                yield _parse(self._store.get(found.path), found.path)


def _parse(data: bytes, where: str) -> tuple[str, Offset]:
    try:
        values = json.loads(data)
        identity, offset = values["identity"], values["offset"]
        if values["format"] == _FORMAT and isinstance(identity, str) and manifest_record.is_offset(offset):
            return identity, Offset(offset)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DataCorrupt(
        f"{where} is no registered cursor (format 1: identity, offset); its owner has to write it again, or delete it",
        path=where,
    )
