"""Bytes that somebody else wrote: rot, recycled blocks, another log's segments, lengths that cannot be."""

import struct
import zlib

import pytest

from common.values.errors import DataCorrupt
from tests.support.buffer_records import numbers, read_all, record, records
from tests.support.file_log import FOLDER, OneLog
from writebuffer.file.format import (
    BODY_BYTES_MAX,
    HEADER_BYTES,
    BatchHeader,
    Body,
    ChainEnd,
    Horizon,
    SegmentHeader,
    SegmentName,
    batch_header,
)

LOG_ID = bytes(range(16))
SEGMENT = SegmentHeader.make(LOG_ID, ChainEnd(7, 3), 2, 1_700_000_000_000)


def small_log() -> OneLog:
    log = OneLog()
    writer = log.open()
    writer.commit(records([0, 1]))
    writer.commit([record(2)])
    writer.close()
    return log


SMALL = small_log()
SMALL_SEGMENT = SMALL.content(SMALL.segments()[0])


def resealed(raw: bytes, seed: int) -> bytes:
    """The header with a crc that fits, as somebody malicious would make it."""
    bare = raw[:4] + bytes(4) + raw[8:]
    return raw[:4] + struct.pack("<I", zlib.crc32(bare, seed)) + raw[8:]


@pytest.mark.parametrize(
    ("length", "count"), [(0xFFFFFFFF, 1), (BODY_BYTES_MAX + 1, 1), (100, 26), (100, 0), (0, 0), (3, 1), (8, 2**30)]
)
def test_lengths_that_cannot_be_are_refused_before_anything_is_read(length: int, count: int) -> None:
    """A header that is valid in all else but whose lengths are beyond the cap or the body is no header."""
    good = batch_header(SEGMENT, ChainEnd(7, SEGMENT.link), Body.of([record(0)]), 0)
    assert BatchHeader.parse(good, SEGMENT)
    bad = resealed(good[:40] + struct.pack("<II", length, count) + good[48:], SEGMENT.crc)
    assert BatchHeader.parse(bad, SEGMENT) is None


def test_a_batch_of_another_segment_is_refused() -> None:
    """The segment's crc seeds the batch's: a recycled block, or another log's, does not pass."""
    good = batch_header(SEGMENT, ChainEnd(7, SEGMENT.link), Body.of([record(0)]), 0)
    others = [
        SegmentHeader.make(bytes(16), ChainEnd(7, 3), 2, 1_700_000_000_000),
        SegmentHeader.make(LOG_ID, ChainEnd(7, 3), 2, 1_700_000_000_001),
    ]
    assert [BatchHeader.parse(good, other) for other in others] == [None, None]


def test_headers_and_horizon_come_back_as_they_were_made() -> None:
    """encode and parse are inverses."""
    assert SegmentHeader.parse(SEGMENT.raw, LOG_ID) == SEGMENT
    assert SegmentHeader.parse(SEGMENT.raw, bytes(16)) is None
    horizon = Horizon(LOG_ID, 3, 9, SegmentName(7, 2), 4711)
    assert Horizon.parse(horizon.encode()) == horizon


def test_the_bytes_of_the_format_do_not_change() -> None:
    """Golden bytes of docs/formats/log.md: a change of format is noticed here first."""
    batch = batch_header(SEGMENT, ChainEnd(7, SEGMENT.link), Body.of([record(0)]), 0)
    assert len(SEGMENT.raw) == len(batch) == HEADER_BYTES
    assert SEGMENT.raw.hex() == GOLDEN_SEGMENT
    assert batch.hex() == GOLDEN_BATCH
    assert Horizon(LOG_ID, 3, 9, SegmentName(7, 2), 4711).encode().hex() == GOLDEN_HORIZON


GOLDEN_SEGMENT = (
    "50454e534c4f4700010100004561e237000102030405060708090a0b0c0d0e0f07000000000000000200000000000000"
    "03000000000000000068e5cf8b010000"
)
GOLDEN_BATCH = (
    "50544348a9b7e0c40700000000000000020000000000000077d5687ea61226aa99b59476bf31b3d09600000001000000"
    "00000000000000000000000001000000"
)
GOLDEN_HORIZON = (
    "50454e53484f5200000102030405060708090a0b0c0d0e0f030000000000000009000000000000000700000000000000"
    "0200000000000000671200000000000086ed17f762dafd9f"
)


@pytest.mark.parametrize("tail", [bytes(3000), b"\xa5" * 3000, SMALL_SEGMENT, SMALL_SEGMENT[HEADER_BYTES:], None])
def test_zeros_garbage_and_old_batches_after_the_end_are_no_records(tail: bytes | None) -> None:
    """What follows the last batch is skipped, also another log's, or this one's own old batches (None)."""
    log = small_log()
    name = log.segments()[0]
    tail = log.content(name)[HEADER_BYTES:] if tail is None else tail
    log.disk.corrupt(f"{FOLDER}/{name}", len(log.content(name)), tail)
    assert numbers(one for _, one in read_all(log.backend)) == [0, 1, 2]
    writer = log.open()
    assert writer.commit([record(3)]) == 3
    writer.close()
    assert numbers(one for _, one in read_all(log.backend)) == [0, 1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"\x5a" * 4096, SMALL_SEGMENT])
def test_a_newest_file_without_a_header_of_this_log_holds_nothing(content: bytes) -> None:
    """What a dead writer left at the next offset, or somebody put there, does not stop the log."""
    log = small_log()
    file = log.disk.create(f"{FOLDER}/{3:020}-00000009.log")
    file.write_at(0, [content])
    writer = log.open()
    assert writer.commit([record(3)]) == 3
    writer.close()
    assert numbers(one for _, one in read_all(log.backend)) == [0, 1, 2, 3]


@pytest.mark.parametrize("with_horizon", [True, False])
def test_a_file_named_far_ahead_stops_the_log_and_is_named(with_horizon: bool) -> None:
    """Its name alone says that all below was durable: nobody knows whether it is junk, so it is left to a person."""
    log = small_log()
    log.disk.create(f"{FOLDER}/{99_999:020}-00000009.log").write_at(0, [b"garbage"])
    if not with_horizon:
        log.disk.remove(f"{FOLDER}/horizon")
    named = r"00000000000000099999-00000009\.log has no valid header.*move it away"
    with pytest.raises(DataCorrupt, match=named):
        log.open()
    if with_horizon:
        assert numbers(one for _, one in read_all(log.backend)) == [0, 1, 2]
    else:
        with pytest.raises(DataCorrupt, match=named):
            read_all(log.backend)
    log.disk.remove(f"{FOLDER}/{99_999:020}-00000009.log")
    assert log.open().commit([record(3)]) == 3


def test_damage_below_a_valid_segment_blames_no_other_file() -> None:
    """Where the horizon or a valid header says what was durable, the message points to the damage alone."""
    log = small_log()
    log.disk.corrupt(f"{FOLDER}/{log.segments()[0]}", HEADER_BYTES, bytes(8))
    with pytest.raises(DataCorrupt) as raised:
        log.open()
    assert "move it away" not in str(raised.value)


def test_damage_to_the_only_segment_s_header_is_corruption() -> None:
    """Nobody has to poll again: what was durable cannot be read, and the file is named."""
    log = small_log()
    [name] = [name for name in log.disk.names(FOLDER) if name.endswith(".log")]
    log.disk.open(f"{FOLDER}/{name}", write=True).write_at(2, [b"zzzz"])
    with pytest.raises(DataCorrupt, match=f"offset 0 was durable, but {name} at byte 0: no valid segment header"):
        read_all(log.backend)
