"""The file log on a disk that fails or fills up: at every sync, at every byte of a write, at every byte of room."""

import errno
from collections.abc import Callable, Sequence

import pytest

from common.values.errors import Unavailable
from tests.support.buffer_records import numbers, read_all, record, records
from tests.support.crash_disk import CrashDisk
from tests.support.crash_exploration import INSISTING, Exploration, insist
from tests.support.crash_states import Bounds, CrashPoint, Recorder
from tests.support.figures import record_figure
from tests.support.file_log import SEGMENT_BYTES, OneLog
from tests.support.log_crashes import LogLaw, LogLife, Promised, Records
from writebuffer.file.format import HEADER_BYTES
from writebuffer.record import Record

MADE = Records()
BATCH = records(range(100, 105))
STICKY = INSISTING - 1
"""Times that a sync fails which does not fail once only."""


def numbers_read(log: OneLog) -> list[int]:
    return numbers(one for _, one in read_all(log.backend))


def batch_bytes(group: Sequence[Record]) -> int:
    return HEADER_BYTES + sum(4 + len(one) for one in group)


def lived_with_a_failing_sync(act: str, number: int, times: int) -> list[CrashPoint[Promised]] | None:
    """The crash points after the failure at which something new had been promised; None when it never came to it.

    Two groups, a roll, a trim, closing, opening again, a group. After an error the same call is made again, as the
    log's thread does.
    """
    life = LogLife(CrashDisk(), MADE)
    life.open()
    life.commit([0])
    life.log.disk.fail(act, errno.EIO, number=number, times=times)
    with Recorder(life.log.disk, life.look) as recorder:
        for at in range(1, 4):
            insist(lambda at=at: life.commit([at]))
        insist(lambda: life.trim(3))
        insist(life.close)
        insist(life.open)
        insist(lambda: life.commit([4]))
    if not life.log.disk.failed:
        return None
    promises = [point.known.stored for point in recorder.points]
    return [point for at, point in enumerate(recorder.points) if at == 0 or promises[at] != promises[at - 1]]


@pytest.mark.parametrize("times", [1, STICKY], ids=["once", "sticky"])
@pytest.mark.parametrize("act", ["sync", "sync_folder"])
def test_after_a_failed_sync_nothing_counts_that_is_not_durable(act: str, times: int) -> None:
    """What the failed sync was to write may be lost for ever; what is acknowledged or read after it never is."""
    explored = Exploration(LogLaw(MADE), Bounds(all_up_to=8), Bounds(all_up_to=1))
    number = 1
    while points := lived_with_a_failing_sync(act, number, times):
        explored.explore(points, one_life_in=0, one_killed_in=0)
        number += 1
    assert number > 5
    record_figure(f"{act} failing at each of {number - 1}, {'once' if times == 1 else f'{times} times'}: {explored}")


def test_on_a_poisoned_log_nothing_is_written_or_acknowledged() -> None:
    """The sync of any group fails, in an existing segment or a new one: later groups do not touch the disk."""
    for synced in range(6):
        log = OneLog()
        writer = log.open()
        for number in range(synced):
            writer.commit(records([number], 1000))
        log.disk.fail("sync", errno.EIO)
        with pytest.raises(Unavailable) as failed:
            writer.commit(records([synced], 1000))
        assert failed.value.written == "unknown"
        done = log.disk.operations
        for _ in range(3):
            with pytest.raises(Unavailable, match="sync failed") as refused:
                writer.commit(records([9]))
            assert refused.value.written == "no"
        assert log.disk.operations == done
        assert log.offsets() == (0, synced)


def test_the_unproven_tail_is_written_again_and_synced_before_it_is_named() -> None:
    """Opening after a failed sync: the new segment's bytes, then its name, then the folder, then the horizon."""
    log = OneLog()
    writer = log.open()
    writer.commit([record(0)])
    log.disk.fail("sync", errno.EIO)
    with pytest.raises(Unavailable):
        writer.commit([record(1)])
    writer.close()
    done: list[str] = []
    log.disk.on_change = lambda what: done.append(" ".join(what.replace("/data/log/000/", "").split()[:2]))
    log.open()
    again = f"{1:020}-00000002.log"
    steps = [f"sync {again}.part", f"rename {again}", "sync_folder /data/log/000", "write horizon"]
    first_at = done.index(steps[0])
    assert [done.index(step, first_at) for step in steps] == sorted(done.index(step, first_at) for step in steps)


def test_a_full_disk_at_every_byte_of_room() -> None:
    """With any room left for a batch, preallocated or rolling: it is refused as not written, or it is stored."""
    cases = {True: 0, False: 0}
    for groups in ((1,), (2, 2)):
        for room in range(HEADER_BYTES + batch_bytes(BATCH) + 50):
            log = OneLog(segment_bytes=1200)
            cases[refused_or_stored(log, groups, lambda log, room=room: limit(log, room))] += 1
    assert min(cases.values()) > 100
    record_figure(f"a full disk at every byte of room: {cases[True]} refused, {cases[False]} written")


def limit(log: OneLog, room: int) -> None:
    log.disk.space_bytes = log.disk.used_bytes() + room


def test_a_full_disk_at_every_byte_of_a_write() -> None:
    """Where reserved space was not really reserved, a batch may end anywhere: refused, and no trace of it is read."""
    for kept in range(batch_bytes(BATCH)):

        def fill(log: OneLog, kept: int = kept) -> None:
            log.disk.fail("write", errno.ENOSPC, kept_bytes=kept)
            log.disk.fail("allocate", errno.ENOSPC, times=3)

        assert refused_or_stored(OneLog(), (1,), fill)
    record_figure(f"a disk that is full at every byte of a batch: {batch_bytes(BATCH)} refused")


def refused_or_stored(log: OneLog, groups: tuple[int, ...], fill: Callable[[OneLog], None]) -> bool:
    """Whether BATCH was refused after `groups`; checks that it is then not there, and that the log goes on."""
    writer = log.open()
    sent = 0
    for group in groups:
        writer.commit(records(range(sent, sent + group)))
        sent += group
    fill(log)
    stored = list(range(sent))
    refusal: Unavailable | None = None
    try:
        writer.commit(BATCH)
        stored += numbers(BATCH)
    except Unavailable as error:
        refusal = error
    assert refusal is None or refusal.written == "no"
    assert writer.poison is None
    assert numbers_read(log) == stored
    log.disk.heal()
    assert writer.commit([record(200)]) == len(stored)
    writer.close()
    log.open().close()
    assert numbers_read(log) == [*stored, 200]
    return refusal is not None


def test_a_short_write_at_every_byte() -> None:
    """Any part of a batch, or of a new segment's header, is written before an error: all is read, in order."""
    in_place, rolls = [record(1)], [record(1, SEGMENT_BYTES)]
    cases = [(in_place, kept) for kept in range(batch_bytes(in_place) + 1)]
    cases += [(rolls, kept) for kept in range(HEADER_BYTES + 1)]
    for group, kept in cases:
        log = OneLog()
        writer = log.open()
        writer.commit([record(0)])
        log.disk.fail("write", errno.EIO, kept_bytes=kept)
        assert writer.commit(group) == 1
        assert writer.commit([record(2)]) == 2
        assert log.disk.failed
        assert numbers_read(log) == [0, 1, 2]
        writer.close()
        log.open().close()
        assert numbers_read(log) == [0, 1, 2]
    record_figure(f"short writes, at every byte of a batch and of a new segment's header: {len(cases)}")
