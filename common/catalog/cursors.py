"""The offset below which no consumer needs the write buffer's records any more, as the object store says.

Consumers are the ingester, by its manifest's replay offset, and every client that registered a cursor:
    cursors/<name>/<sequencer:03>.json     {"format": 1, "identity": "…", "offset": N}
`offset`: the next record that consumer wants; `identity`: the stream's, as the write buffer gives it. Its owner
replaces the file as it goes on, and deletes it when it needs no more records.
"""

import json
from collections.abc import Iterator

from common.catalog import paths
from common.catalog.manifest.envelope import is_offset
from common.catalog.manifest.head import Head, head
from common.store.objects import NotFound, ObjectStore, run
from common.values.errors import DataCorrupt
from common.values.ids import Offset, SequencerId

_FORMAT = 1
_NOTHING = Offset(0)


class Consumed:
    """Each call reads the store; of a manifest it reads only what was written since the last call.

    What it answers is durable: records below may be removed for good.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._heads: dict[SequencerId, Head] = {}

    def below(self, sequencer: SequencerId, identity: str) -> Offset:
        """0 where something that was registered follows another stream than `identity`, or nothing was persisted yet.

        Raises DataCorrupt for a manifest or a cursor that cannot be read, Unavailable.
        """
        newest = run(head(sequencer, self._heads.get(sequencer)), self._store)
        if newest is None:
            return _NOTHING
        self._heads[sequencer] = newest
        wanted = [(newest.stream.identity, newest.replay_offset), *self.cursors(sequencer)]
        return min(offset if of == identity else _NOTHING for of, offset in wanted)

    def cursors(self, sequencer: SequencerId) -> Iterator[tuple[str, Offset]]:
        """Identity and offset of each that is registered."""
        for found in self._store.list(paths.CURSORS):
            if not paths.is_cursor_of(found.path, sequencer):
                continue
            try:
                cursor = _parse(self._store.get(found.path), found.path)
                self._store.make_durable(found.path)
            except NotFound:  # its owner deleted it meanwhile: it needs no more records
                continue
            yield cursor


def furthest(store: ObjectStore, sequencer: SequencerId, identity: str) -> Offset:
    """One past the newest record of that stream that any registered consumer has read; 0 where there is none."""
    cursors = Consumed(store).cursors(sequencer)
    return max((offset for of, offset in cursors if of == identity), default=_NOTHING)


def _parse(data: bytes, where: str) -> tuple[str, Offset]:
    try:
        values = json.loads(data)
        identity, offset = values["identity"], values["offset"]
        if values["format"] == _FORMAT and isinstance(identity, str) and is_offset(offset):
            return identity, Offset(offset)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DataCorrupt(
        f"{where} is no registered cursor (format 1: identity, offset); its owner has to write it again, or delete it",
        path=where,
    )
