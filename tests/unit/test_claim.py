"""Claiming a sequencer that another ingester still holds."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from common.catalog.manifest import manifest
from common.catalog.manifest.change import Change, Instance
from common.catalog.manifest.state import ManifestState
from common.store.objects import run
from common.values.ids import Offset, SequencerId
from ingester.following.claim import claim
from tests.support.buffer_records import records
from tests.support.dict_store import DictStore
from writebuffer.contract import Cursor, Offsets
from writebuffer.errors import OffsetTrimmed
from writebuffer.memory import MemoryBackend, MemoryReader

SEQUENCER = SequencerId(0)


class MeanwhileReader:
    """A Reader; `meanwhile` happens once, before its offsets are read for the first time."""

    def __init__(self, reader: MemoryReader, meanwhile: Callable[[], object]) -> None:
        self._reader = reader
        self._meanwhile = [meanwhile]

    def sequencers(self) -> list[SequencerId]:
        return list(self._reader.sequencers())

    def cursor(self, sequencer: SequencerId) -> Cursor:
        return self._reader.cursor(sequencer)

    def offsets(self, sequencer: SequencerId) -> Offsets:
        if self._meanwhile:
            self._meanwhile.pop()()
        return self._reader.offsets(sequencer)

    def identity(self, sequencer: SequencerId) -> str:
        return self._reader.identity(sequencer)

    def close(self) -> None:
        self._reader.close()


def held() -> tuple[MemoryBackend, DictStore, ManifestState]:
    """A buffer of three records, whose sequencer an ingester holds that has persisted none of them."""
    backend, store = MemoryBackend(), DictStore()
    backend.create(1)
    backend.open_writer().append_many(SEQUENCER, records(range(3))).result()
    return backend, store, claim(backend.open_reader(), store, SEQUENCER, Instance("holder"), False).state


def test_a_trim_after_the_manifest_was_read_is_no_loss() -> None:
    """The holder commits and the buffer is trimmed up to there while another claims: it reads the manifest again."""
    backend, store, state = held()

    def commit_and_trim() -> None:
        change = Change(replace(state.as_of, replay_offset=Offset(3)))
        run(manifest.commit(state, change, "holder's"), store)
        backend.open_writer().trim(SEQUENCER, Offset(3))

    reader = MeanwhileReader(backend.open_reader(), commit_and_trim)
    claimed = claim(reader, store, SEQUENCER, Instance("next"), False)
    assert (claimed.state.replay_offset, claimed.state.number, claimed.state.epoch) == (3, 3, 2)


def test_a_trim_that_no_commit_explains_is_a_loss() -> None:
    """What was trimmed before it was persisted stops the claim, and nothing is claimed."""
    backend, store, _ = held()
    trim = backend.open_writer().trim
    reader = MeanwhileReader(backend.open_reader(), lambda: trim(SEQUENCER, Offset(2)))
    with pytest.raises(OffsetTrimmed, match="2 offsets removed before being persisted"):
        claim(reader, store, SEQUENCER, Instance("next"), False)
    assert run(manifest.load(SEQUENCER), store).number == 1
