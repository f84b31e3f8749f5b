"""The index next to a segment: it saves reading, and never changes what is found."""

import errno
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.store.disk import DiskFile
from common.values.ids import Offset
from tests.support.buffer_records import numbers, read_all, record
from tests.support.crash_disk import CrashDisk
from tests.support.file_log import FOLDER, OneLog
from writebuffer.file import index as index_module
from writebuffer.file.index import SegmentIndex, index_name
from writebuffer.file.segments import Segments


@pytest.fixture(autouse=True)
def entries_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry every 300 bytes, so that a segment of four kilobytes has ten."""
    monkeypatch.setattr(index_module, "SPACING_BYTES", 300)


Groups = list[list[int]]
"""The append times of the records of each commit."""
groups_of_times = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=5), min_size=1, max_size=40)


def written(groups: Groups, *, faults: tuple[int, ...] = ()) -> OneLog:
    """faults: which commits have a failing write, so that bytes are skipped."""
    log = OneLog()
    writer = log.open()
    number = 0
    for at, times in enumerate(groups):
        if at in faults:
            log.disk.fail("write", errno.EIO, kept_bytes=10_000)
        writer.commit([record(number + more, time_ns=time) for more, time in enumerate(times)])
        number += len(times)
    writer.close()
    return log


def indexes(log: OneLog) -> list[str]:
    return [name for name in log.disk.names(FOLDER) if name.endswith(".idx")]


def replaced(log: OneLog, name: str, content: bytes) -> None:
    log.disk.remove(f"{FOLDER}/{name}")
    log.disk.create(f"{FOLDER}/{name}").write_at(0, [content])


def deleted(log: OneLog, seed: int) -> None:
    for name in indexes(log):
        log.disk.remove(f"{FOLDER}/{name}")


def garbage(log: OneLog, seed: int) -> None:
    for name in indexes(log):
        replaced(log, name, bytes(seed % 251 for _ in range(seed % 400)))


def flipped(log: OneLog, seed: int) -> None:
    for name in indexes(log):
        content = bytearray(log.content(name))
        bit = seed % (8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        replaced(log, name, bytes(content))


def cut(log: OneLog, seed: int) -> None:
    for name in indexes(log):
        replaced(log, name, log.content(name)[: seed % len(log.content(name))])


def another_segments(log: OneLog, seed: int) -> None:
    names = indexes(log)
    contents = [log.content(name) for name in names]
    for name, content in zip(names, contents[1:] + contents[:1], strict=True):
        replaced(log, name, content)


def another_logs(log: OneLog, seed: int) -> None:
    other = written([[seed % 40]] * 30)
    for name, content in zip(indexes(log), map(other.content, indexes(other)), strict=False):
        replaced(log, name, content)


def huge(log: OneLog, seed: int) -> None:
    for name in indexes(log):
        log.disk.open(f"{FOLDER}/{name}", write=True).allocate(17 * 2**20)


DAMAGES: list[Callable[[OneLog, int], None]] = [
    lambda log, seed: None, deleted, garbage, flipped, cut, another_segments, another_logs
]  # fmt: skip


def seeks_find(log: OneLog, times: list[int]) -> None:
    cursor = log.backend.open_reader().cursor(0)
    for offset in [*range(len(times)), *reversed(range(len(times)))]:
        cursor.seek(Offset(offset))
        assert numbers(one.record for one in cursor.poll(1, 2**20, 0).records) == [offset]
    for time_ns in [-(2**70), *range(-1, 42), 2**70]:
        cursor.seek_to_time(time_ns)
        expected = next((at for at, time in enumerate(times) if time >= time_ns), len(times))
        assert cursor.poll(1, 2**20, 0).next_offset == min(expected + 1, len(times)), time_ns


@settings(max_examples=60)
@given(groups_of_times, st.sampled_from(DAMAGES), st.integers(0, 2**32), st.sets(st.integers(0, 39), max_size=3))
def test_with_any_damage_to_the_indexes_every_seek_finds_the_same(
    groups: Groups, damage: Callable[[OneLog, int], None], seed: int, faults: set[int]
) -> None:
    """Every offset and every time, with clocks that step back and batches skipped, by any index or none."""
    log = written(groups, faults=tuple(faults))
    damage(log, seed)
    seeks_find(log, [time for times in groups for time in times])


def test_an_index_with_any_bit_flipped_is_none() -> None:
    """Its checksum covers every byte."""
    log = written([[time] for time in range(20)])
    segments = Segments(log.place())
    segments.refresh()
    header = segments.counting()[0]
    raw = log.content(index_name(header.name))
    assert SegmentIndex.parse(raw, header)
    for bit in range(8 * len(raw)):
        flipped = raw[: bit // 8] + bytes([raw[bit // 8] ^ (1 << bit % 8)]) + raw[bit // 8 + 1 :]
        assert SegmentIndex.parse(flipped, header) is None


def test_an_index_of_no_sensible_length_is_not_read() -> None:
    """Bounded memory: 17 MiB are left alone."""
    log = written([[time] for time in range(40)])
    huge(log, 0)
    sizes: list[int] = []
    watch(log.disk, sizes)
    seeks_find(log, list(range(40)))
    assert max(sizes) < 2**21


def watch(disk: CrashDisk, sizes: list[int]) -> None:
    """Write down how much each read asks for."""
    opened = disk.open

    def watched(path: str, *, write: bool = False) -> DiskFile:
        file = opened(path, write=write)
        read_at = file.read_at

        def reading(position: int, length: int) -> bytes:
            data = read_at(position, length)
            sizes.append(len(data))
            return data

        file.read_at = reading  # type: ignore[method-assign]
        return file

    disk.open = watched  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize("by_time", [False, True])
def test_a_seek_into_a_large_segment_reads_little_of_it(by_time: bool) -> None:
    """With the index next to nothing of the segment is read, without it all the headers are."""
    log = OneLog(segment_bytes=2**23)
    writer = log.open()
    for number in range(2000):
        writer.commit([record(number, 1000)])
    writer.close()

    def read_bytes() -> int:
        cursor = log.backend.open_reader().cursor(0)
        sizes: list[int] = []
        watch(log.disk, sizes)
        cursor.seek_to_time(1900) if by_time else cursor.seek(Offset(1900))
        assert numbers(one.record for one in cursor.poll(1, 2**20, 0).records) == [1900]
        return sum(sizes)

    with_index = read_bytes()
    deleted(log, 0)
    assert with_index < 500_000 < 1_900_000 < read_bytes()


def whole_indexes(log: OneLog) -> Iterator[bool]:
    segments = Segments(log.place())
    segments.refresh()
    for header in segments.counting():
        name = index_name(header.name)
        yield name in indexes(log) and SegmentIndex.parse(log.content(name), header) is not None


def test_every_sealed_segment_has_an_index() -> None:
    """The writer makes it when it rolls and when it closes."""
    log = written([[time] * 5 for time in range(20)])
    assert len(log.segments()) > 2
    assert all(whole_indexes(log))


@pytest.mark.parametrize("damage", [deleted, garbage, flipped, another_segments])
def test_opening_for_writing_restores_what_is_missing_or_damaged(damage: Callable[[OneLog, int], None]) -> None:
    """Also that of the segment which a killed writer left, and an index without a segment goes."""
    log = written([[time] * 5 for time in range(20)])
    log.open().commit([record(100)])  # never closed
    damage(log, 77)
    log.disk.create(f"{FOLDER}/{10**6:020}-00000001.idx")
    log.open().close()
    assert all(whole_indexes(log))
    assert len(indexes(log)) == len(log.segments())


def test_a_restored_index_is_the_one_that_was_written() -> None:
    """Made from headers or while writing: the same bytes."""
    log = written([[time % 7] * 5 for time in range(20)])
    before = {name: log.content(name) for name in indexes(log)}
    deleted(log, 0)
    log.open().close()
    assert {name: log.content(name) for name in indexes(log)} == before


def test_opening_spends_half_a_second_on_indexes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is left to the next opening, newest first: readers do without."""
    log = written([[time] * 5 for time in range(60)])
    deleted(log, 0)
    made = index_module.write_index

    def slowly(*arguments: object) -> None:
        log.clock.advance(0.3)
        made(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(index_module, "write_index", slowly)
    log.open().close()
    assert list(whole_indexes(log)) == [False] * (len(log.segments()) - 2) + [True] * 2


@pytest.mark.parametrize("act", ["create", "write"])
def test_an_index_that_cannot_be_written_is_no_error(act: str) -> None:
    """A full disk: the records count, no half-written file is left."""
    log = OneLog()
    writer = log.open()
    writer.commit([record(0)])
    log.disk.fail(act, errno.ENOSPC, kept_bytes=20)
    writer.close()
    assert indexes(log) == []
    assert numbers(one for _, one in read_all(log.backend)) == [0]


def test_a_trimmed_segment_takes_its_index_along_and_the_size_counts_both() -> None:
    """No index is left without its segment; its blocks are disk, not data."""
    log = written([[time] * 5 for time in range(20)])
    reader = log.backend.open_reader()
    size = reader.size(0)
    blocks = sum(-(-len(log.content(name)) // 512) * 512 for name in [*log.segments(), *indexes(log)])
    assert (size.data_bytes, size.disk_bytes) == (sum(len(log.content(name)) for name in log.segments()), blocks)
    log.open().trim(Offset(99))
    assert [name.removesuffix(".idx") for name in indexes(log)] == [
        name.removesuffix(".log") for name in log.segments()
    ]


def test_the_bytes_of_an_index_do_not_change() -> None:
    """Golden bytes of docs/formats/log.md, but for the segment's link and what follows from it."""
    log = written([[5], [3]])
    raw = log.content(indexes(log)[0])
    assert raw[:8] == b"PENSIDX\0"
    assert raw[16:24].hex() == "0200000000000000"
    first, last = raw[24:56], raw[56:88]
    assert (first[:16] + first[24:]).hex() == "00" * 8 + "4000000000000000" + "0000000000000080"
    assert (last[:16] + last[24:]).hex() == "0200000000000000" + f"{len(log.content(log.segments()[0])):02x}".rjust(
        4, "0"
    )[2:] + f"{len(log.content(log.segments()[0])) >> 8:02x}" + "00" * 6 + "0500000000000000"
    assert len(raw) == 96
