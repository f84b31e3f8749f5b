"""Trimming by policy: nothing that anyone still needs, and no more history than was asked for."""

import json
from typing import Any
from unittest.mock import Mock

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from common import manifest_record
from common.clock import FakeClock
from common.config import RetentionConfig
from common.consumed import Consumed
from common.errors import DataCorrupt, Forked
from common.ids import ManifestNumber, Offset, SequencerId
from tests.support.buffer_records import record
from tests.support.dict_store import DictStore
from tests.support.wait import wait_until
from writebuffer.contract import Appended
from writebuffer.memory import MemoryBackend
from writebuffer.trimming import Trimmer

ONE = SequencerId(0)
SECOND_NS = 1_000_000_000
KEEP_ALL = 2**60


class Rig:
    """A buffer of one sequencer whose records lie a second apart up to now, 100 bytes of payload each."""

    def __init__(self, count: int) -> None:
        self.clock = FakeClock()
        self.backend = MemoryBackend()
        self.backend.create(1)
        self.writer = self.backend.open_writer()
        self.reader = self.backend.open_reader()
        now_ns = self.clock.now_ns()
        for number in range(count):
            self.append(number, now_ns - (count - 1 - number) * SECOND_NS)
        self.record_bytes = len(record(0, 100))

    def append(self, number: int, time_ns: int) -> Appended:
        return self.writer.append(ONE, record(number, 100, time_ns=time_ns)).result(5)

    def trimmer(self, consumed: int, keep_age_s: float = 0, keep_bytes: int = KEEP_ALL) -> Trimmer:
        retention = RetentionConfig(keep_age_s, keep_bytes)
        return Trimmer(
            self.writer, self.reader, [ONE], lambda *_: Offset(consumed), retention, self.clock, structlog.get_logger()
        )


@given(
    count=st.integers(0, 40),
    consumed=st.integers(0, 40),
    keep_age_s=st.integers(0, 50),
    keep_records=st.integers(0, 50),
)
def test_what_is_left_is_what_is_needed_and_the_history_asked_for(
    count: int, consumed: int, keep_age_s: int, keep_records: int
) -> None:
    """Everything not consumed stays; below it what is young enough and within the bytes, and nothing else."""
    rig = Rig(count)
    consumed = min(consumed, count)
    first_offset = rig.trimmer(consumed, keep_age_s, keep_records * rig.record_bytes).trim(ONE)
    by_age = max(0, count - 1 - keep_age_s)  # the newest is 0 s old; one exactly keep_age_s old stays
    by_bytes = max(0, count - keep_records)
    assert first_offset == min(consumed, max(by_age, by_bytes))
    assert rig.reader.offsets(ONE).first_offset == first_offset


def test_without_time_or_size_history_is_kept_whole() -> None:
    """A backend that can say neither how old nor how large its records are keeps them, rather than guess."""
    rig = Rig(10)
    bare = Mock(spec_set=["offsets", "identity", "reader"])
    bare.offsets.side_effect, bare.identity.side_effect = rig.reader.offsets, rig.reader.identity
    bare.reader.return_value = Mock(spec_set=["close"])
    retention = RetentionConfig(keep_age_s=0, keep_bytes=0)
    trimmer = Trimmer(rig.writer, bare, [ONE], lambda *_: Offset(10), retention, rig.clock, structlog.get_logger())
    assert trimmer.trim(ONE) == 0
    assert rig.trimmer(10, keep_age_s=0, keep_bytes=0).trim(ONE) == 10


def test_a_buffer_that_lost_records_is_not_trimmed() -> None:
    """What ends below the consumed offset may hold other records at the same offsets, that nobody has seen yet."""
    rig = Rig(5)
    with pytest.raises(Forked, match="below 6 were consumed, but the buffer ends at 5"):
        rig.trimmer(6).trim(ONE)
    assert rig.reader.offsets(ONE).first_offset == 0


def test_records_that_come_and_are_consumed_meanwhile_are_no_fork() -> None:
    """Under load an ingester may persist beyond what the buffer's end was a moment before."""
    rig = Rig(10)

    def consumed(sequencer: SequencerId, identity: str) -> Offset:
        for number in range(10, 20):
            rig.append(number, rig.clock.now_ns())
        return rig.reader.offsets(sequencer).next_offset

    retention = RetentionConfig(keep_age_s=0, keep_bytes=0)
    trimmer = Trimmer(rig.writer, rig.reader, [ONE], consumed, retention, rig.clock, structlog.get_logger())
    assert trimmer.trim(ONE) == 20


@pytest.mark.parametrize("error", [DataCorrupt("injected"), OverflowError("injected")])
def test_the_thread_goes_on_after_an_error(error: Exception) -> None:
    """A store that is away for one turn is no reason to stop trimming for ever, nor is what nobody foresaw."""
    rig = Rig(10)
    answers: list[Any] = [error, Offset(4)]

    def consumed(sequencer: SequencerId, identity: str) -> Offset:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Offset(answer)

    retention = RetentionConfig(0, 0, 0.001)
    with structlog.testing.capture_logs() as lines:
        trimmer = Trimmer(rig.writer, rig.reader, [ONE], consumed, retention, rig.clock, structlog.get_logger())
        trimmer.start()
        wait_until(lambda: rig.reader.offsets(ONE).first_offset, holds=lambda first: first == 4, what="trimmed to 4")
        trimmer.stop()
    assert [line["event"] for line in lines] == ["not trimmed; tried again later", "trimmed"]
    assert "injected" in str(lines[0])


def manifest(number: int, replay_offset: int, identity: str = "a") -> tuple[str, bytes]:
    values = {"format": 1, "replay_offset": replay_offset, "stream": {"identity": identity}}
    return manifest_record.path(ONE, ManifestNumber(number)), manifest_record.sealed(values)


def cursor(name: str, offset: object, identity: str = "a", sequencer: int = 0) -> tuple[str, bytes]:
    values = {"format": 1, "identity": identity, "offset": offset}
    return f"cursors/{name}/{sequencer:03}.json", json.dumps(values).encode()


@pytest.mark.parametrize(
    ("objects", "below"),
    [
        ([], 0),
        ([manifest(1, 5)], 5),
        ([manifest(1, 5), manifest(2, 7)], 7),
        ([manifest(1, 5, identity="another")], 0),
        ([manifest(1, 5), cursor("export", 3)], 3),
        ([manifest(1, 5), cursor("export", 9)], 5),
        ([manifest(1, 5), cursor("export", 3, identity="another")], 0),
        ([manifest(1, 5), cursor("export", 3, sequencer=1)], 5),
        ([manifest(1, 5), cursor("one", 4), cursor("two", 2)], 2),
        ([cursor("export", 3)], 0),
    ],
)
def test_consumed_is_what_every_consumer_has_done_with(objects: list[tuple[str, bytes]], below: int) -> None:
    """The least of the newest replay offset and every cursor of this sequencer; 0 where one follows another stream."""
    store = DictStore()
    store.objects.update(objects)
    consumed = Consumed(store)
    assert [consumed.below(ONE, "a") for _ in range(2)] == [below, below]


_CURSOR = b'{"format": 1, "identity": "a", "offset": %s}'


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b'{"format": 2, "identity": "a", "offset": 1}']
    + [_CURSOR % offset for offset in (b"-1", b"1e999", b"-1e999", b"NaN", b"7.9", b"true", b'"3"', b"null")],
)
def test_a_cursor_that_cannot_be_read_stops_trimming(data: bytes) -> None:
    """It is named, rather than taken for none."""
    store = DictStore()
    store.objects.update([manifest(1, 5), ("cursors/export/000.json", data)])
    with pytest.raises(DataCorrupt, match="cursors/export/000"):
        Consumed(store).below(ONE, "a")


@pytest.mark.parametrize("offset", [True, 7.9, "3", None, -1])
def test_a_replay_offset_that_is_no_offset_stops_trimming(offset: object) -> None:
    """The same for a manifest record whose checksum fits."""
    store = DictStore()
    values = {"format": 1, "replay_offset": offset, "stream": {"identity": "a"}}
    store.objects[manifest_record.path(ONE, ManifestNumber(1))] = manifest_record.sealed(values)
    with pytest.raises(DataCorrupt, match="is not complete"):
        Consumed(store).below(ONE, "a")
