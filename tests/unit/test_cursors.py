"""Registered cursors: what consumers other than the ingesters still want of the write buffer."""

import json

from common.catalog.cursors import Consumed, furthest
from common.values.ids import Offset, SequencerId
from tests.support.dict_store import DictStore

ONE, OTHER = SequencerId(1), SequencerId(2)


class LosingStore(DictStore):
    """One in which `lost` is deleted right after it was listed, or right after it was read."""

    lost = "cursors/gone/001.json"
    after_reading = False

    def get(self, path: str) -> bytes:
        if path != self.lost:
            return super().get(path)
        if not self.after_reading:
            self.delete(path)
            return super().get(path)
        data = super().get(path)
        self.delete(path)
        return data


def register(store: DictStore, name: str, sequencer: SequencerId, offset: int) -> None:
    values = {"format": 1, "identity": "stream", "offset": offset}
    store.put(f"cursors/{name}/{sequencer:03}.json", json.dumps(values).encode())


def test_a_cursor_deleted_meanwhile_wants_nothing() -> None:
    """Its owner needs no more records; the others count as before."""
    for after_reading in (False, True):
        store = LosingStore()
        store.after_reading = after_reading
        for name, sequencer, offset in (("a", ONE, 5), ("gone", ONE, 3), ("z", ONE, 8), ("a", OTHER, 1)):
            register(store, name, sequencer, offset)
        assert sorted(Consumed(store).cursors(ONE)) == [("stream", 5), ("stream", 8)]
        assert furthest(store, ONE, "stream") == Offset(8)
