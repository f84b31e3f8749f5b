"""Trimming by policy: nothing that anyone still needs, and no more history than was asked for."""

import json
import math
import threading
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from common.catalog.cursors import Consumed
from common.catalog.manifest.change import StreamMark
from common.catalog.manifest.envelope import sealed
from common.catalog.paths import manifest_record
from common.values.clock import FakeClock
from common.values.config import RetentionConfig
from common.values.errors import DataCorrupt, Forked, Unavailable
from common.values.ids import ManifestNumber, Offset, SequencerId
from tests.support.buffer_records import record
from tests.support.dict_store import DictStore
from tests.support.gapped_buffer import GappedBackend
from tests.support.wait import wait_until
from writebuffer.contract import Appended, Batch, Measurable, Reader, SeekableByTime, Trimmable
from writebuffer.memory import MemoryBackend
from writebuffer.trimming import Trimmer, limits_not_kept

ONE = SequencerId(0)
SECOND_NS = 1_000_000_000
KEEP_ALL = 2**60


class Rig:
    """A buffer of one sequencer whose records are a second apart up to now, 100 bytes of payload each."""

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

    def trimmer(
        self,
        consumed: int,
        keep_age_s: float = 0,
        keep_bytes: int = KEEP_ALL,
        *,
        trimmable: Trimmable | None = None,
        reader: Any = None,
    ) -> Trimmer:
        retention = RetentionConfig(keep_age_s, keep_bytes)
        return Trimmer(
            trimmable or self.writer,
            reader or self.reader,
            [ONE],
            lambda *_: Offset(consumed),
            retention,
            self.clock,
            structlog.get_logger(),
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


class Bare:
    """The reader of a backend without optional powers, but for `size` where it is measurable."""

    def __init__(self, reader: Reader, *, measurable: bool) -> None:
        self._reader = reader
        self.offsets, self.identity = reader.offsets, reader.identity
        self.polls = 0
        if measurable:
            self.size = reader.size  # type: ignore[attr-defined]

    def cursor(self, sequencer: SequencerId) -> Mock:
        cursor = self._reader.cursor(sequencer)
        bare = Mock(spec_set=["seek", "poll", "close"])
        bare.seek.side_effect, bare.close.side_effect = cursor.seek, cursor.close
        bare.poll.side_effect = lambda *limits: self._counted(cursor.poll(*limits))
        return bare

    def _counted(self, batch: Batch) -> Batch:
        self.polls += 1
        return batch


@pytest.mark.parametrize("measurable", [False, True])
@given(count=st.integers(0, 40), consumed=st.integers(0, 40), keep_age_s=st.integers(0, 50))
def test_without_seeking_by_time_age_is_found_by_reading(
    measurable: bool, count: int, consumed: int, keep_age_s: int
) -> None:
    """Of any backend a record's append time can be read: what is older goes, as with seek_to_time, by a few reads."""
    rig = Rig(count)
    bare = Bare(rig.reader, measurable=measurable)
    consumed = min(consumed, count)
    first_offset = rig.trimmer(consumed, keep_age_s, reader=bare).trim(ONE)
    assert first_offset == min(consumed, max(0, count - 1 - keep_age_s))
    assert bare.polls <= math.ceil(math.log2(count + 1)) + 1


@pytest.mark.parametrize(("measurable", "left_from"), [(False, 0), (True, 7)])
def test_a_buffer_that_does_not_report_its_size_is_kept_by_age_alone(measurable: bool, left_from: int) -> None:
    """keep_bytes is a limit where size is known; the start says where it is not."""
    rig = Rig(10)
    bare = Bare(rig.reader, measurable=measurable)
    assert rig.trimmer(10, keep_age_s=100, keep_bytes=3 * rig.record_bytes, reader=bare).trim(ONE) == left_from


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(0, 40), st.integers(0, 30))
def test_with_clocks_apart_nothing_goes_earlier_than_they_are(
    ages_s: list[int], consumed: int, keep_age_s: int
) -> None:
    """No record is trimmed younger than keep_age_s less what routers' clocks are apart; with seek_to_time none."""
    for by_time in (False, True):
        rig = Rig(0)
        for number, age_s in enumerate(ages_s):
            rig.append(number, rig.clock.now_ns() - age_s * SECOND_NS)
        reader = rig.reader if by_time else Bare(rig.reader, measurable=False)
        first_offset = rig.trimmer(min(consumed, len(ages_s)), keep_age_s, reader=reader).trim(ONE)
        apart_s = max((later - earlier for at, later in enumerate(ages_s) for earlier in ages_s[:at]), default=0)
        assert first_offset <= consumed
        assert all(age_s > keep_age_s - (0 if by_time else max(0, apart_s)) for age_s in ages_s[:first_offset])


def test_gaps_are_no_hindrance(tmp_path: Path) -> None:
    """The example backend with gaps between its offsets is trimmed by age, up to one past the newest old record."""
    backend = GappedBackend(f"sqlite://{tmp_path}/buffer")
    backend.create(1)
    rig = Rig(0)
    with closing(backend.open_writer()) as writer, closing(backend.open_reader()) as reader:
        now_ns = rig.clock.now_ns()
        appended = [
            writer.append(ONE, record(number, time_ns=now_ns - (19 - number) * SECOND_NS)).result(10).offset
            for number in range(20)
        ]
        for keep_age_s, oldest_kept in ((100, 0), (10, 9), (10, 9), (3, 16), (0, 19)):
            rig.trimmer(appended[-1] + 1, keep_age_s, trimmable=writer, reader=reader).trim(ONE)
            cursor = reader.cursor(ONE)
            assert [one.offset for one in cursor.poll(100, 2**20, 0).records] == appended[oldest_kept:]


@pytest.mark.parametrize("keep_age_s", [math.inf, 1e300, 1e12])
def test_history_may_be_kept_for_ever(keep_age_s: float) -> None:
    """An age beyond every record's keeps them all, and keep_bytes still counts."""
    rig = Rig(10)
    assert rig.trimmer(10, keep_age_s).trim(ONE) == 0
    assert rig.trimmer(10, keep_age_s, keep_bytes=3 * rig.record_bytes).trim(ONE) == 7
    assert rig.trimmer(10, keep_age_s, reader=Bare(rig.reader, measurable=False)).trim(ONE) == 7


@pytest.mark.parametrize(
    ("powers", "keep_age_s", "said"),
    [
        ({Trimmable, Measurable, SeekableByTime}, 60, None),
        ({Trimmable, Measurable}, 60, None),
        ({Trimmable, SeekableByTime}, 60, "keep_bytes has no effect"),
        ({Trimmable}, 60, "keep_bytes has no effect"),
        ({Trimmable}, 0, None),
        ({Measurable, SeekableByTime}, 60, "nothing trims this write buffer"),
        (set(), 0, "nothing trims this write buffer"),
    ],
)
def test_what_cannot_be_kept_is_said(powers: set[type], keep_age_s: float, said: str | None) -> None:
    """For an operator: which setting has no effect, and what happens instead."""
    found = limits_not_kept(frozenset(powers), RetentionConfig(keep_age_s=keep_age_s))
    assert (found is None) == (said is None)
    assert (said or "") in (found or "")


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
    """A store that is away for one turn does not end trimming; nor does an unexpected error."""
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


def test_a_trim_that_hangs_does_not_hold_a_stop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop gives up on it, says so, and no further sequencer is begun; what fails afterwards is not reported."""
    monkeypatch.setattr("writebuffer.trimming.TRIM_STOP_S", 0.05)
    rig, begun, released = Rig(10), threading.Event(), threading.Event()
    asked: list[SequencerId] = []

    def consumed(sequencer: SequencerId, identity: str) -> Offset:
        asked.append(sequencer)
        begun.set()
        assert released.wait(10)
        raise Unavailable("the database is gone")

    reader = Mock(wraps=rig.reader, spec_set=["offsets", "identity", "cursor"])
    with structlog.testing.capture_logs() as lines:
        retention = RetentionConfig(0, 0, 0.001)
        sequencers = [ONE, SequencerId(1)]
        trimmer = Trimmer(rig.writer, reader, sequencers, consumed, retention, rig.clock, structlog.get_logger())
        trimmer.start()
        assert begun.wait(10)
        trimmer.stop()
        assert trimmer._thread is not None
        assert trimmer._thread.is_alive()
        released.set()
        trimmer._thread.join(10)
    assert asked == [ONE]
    assert [line["event"] for line in lines if "under way" in line["event"] or "not trimmed" in line["event"]] == [
        "stopped while a trim was under way; the write buffer does not answer"
    ]


def manifest(number: int, replay_offset: int, identity: str = "a") -> tuple[str, bytes]:
    values = {"format": 1, "replay_offset": replay_offset, "stream": StreamMark(identity).to_json()}
    return manifest_record(ONE, ManifestNumber(number)), sealed(values)


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
    """It is named, rather than counted as none."""
    store = DictStore()
    store.objects.update([manifest(1, 5), ("cursors/export/000.json", data)])
    with pytest.raises(DataCorrupt, match="cursors/export/000"):
        Consumed(store).below(ONE, "a")


@pytest.mark.parametrize("offset", [True, 7.9, "3", None, -1])
def test_a_replay_offset_that_is_no_offset_stops_trimming(offset: object) -> None:
    """The same for a manifest record whose checksum fits."""
    store = DictStore()
    values = {"format": 1, "replay_offset": offset, "stream": StreamMark("a").to_json()}
    store.objects[manifest_record(ONE, ManifestNumber(1))] = sealed(values)
    with pytest.raises(DataCorrupt, match="is not complete"):
        Consumed(store).below(ONE, "a")
