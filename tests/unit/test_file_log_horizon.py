"""The horizon when it cannot be written: readers get what was acknowledged later, but they get it."""

import errno
from collections.abc import Callable

import pytest

from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_all, record
from tests.support.crash_disk import CrashDisk
from tests.support.file_log import OneLog
from tests.support.wait import wait_until
from writebuffer.contract import Cursor
from writebuffer.file import log as log_module
from writebuffer.file.log import LogWriter

ONE = SequencerId(0)
IN_HORIZON = 2
"""The second write of a commit into an existing segment: after the batch's."""


@pytest.fixture
def log() -> OneLog:
    return OneLog()


@pytest.fixture
def never_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_PUBLISH_FIRST_S", 1000.0)


def cursor_of(log: OneLog) -> Cursor:
    return log.backend.open_reader().cursor(ONE)


def polled_on(cursor: Cursor, found: list[int]) -> list[int]:
    found += numbers(one.record for one in cursor.poll(10, 2**20, 0).records)
    return found


def test_a_horizon_that_was_not_written_is_written_again_soon(log: OneLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing further is appended: the acknowledged record still appears, after any number of tries."""
    monkeypatch.setattr(log_module, "_PUBLISH_FIRST_S", 0.001)
    writer = log.open()
    writer.commit([record(0)])
    log.disk.fail("write", errno.EIO, number=IN_HORIZON, times=4)
    assert writer.commit([record(1)]) == 1
    cursor = cursor_of(log)
    found: list[int] = []
    wait_until(lambda: polled_on(cursor, found), holds=lambda seen: seen == [0, 1], what="the record appears")
    assert len(log.disk.failed) == 4
    assert [call.method_name for call in log.logged.calls] == ["error"]
    writer.close()


@pytest.mark.usefixtures("never_by_itself")
def test_the_next_commit_a_trim_or_the_close_publishes_what_was_left(log: OneLog) -> None:
    """Each writes the whole horizon."""
    acts: list[Callable[[LogWriter], object]] = [
        lambda writer: writer.commit([record(9)]),
        lambda writer: writer.trim(Offset(0)),
        lambda writer: writer.close(),
    ]
    for act in acts:
        writer = log.open()
        before = writer.next_offset
        log.disk.fail("write", errno.EIO, number=IN_HORIZON + 1)  # a new segment's header comes first
        writer.commit([record(before)])
        assert log.offsets() == (0, before)
        act(writer)
        assert log.offsets() == (0, writer.next_offset)
        writer.close()


@pytest.mark.usefixtures("never_by_itself")
def test_a_close_that_cannot_publish_fails_and_the_next_opening_does(log: OneLog) -> None:
    """It says up to where records are acknowledged and not seen; everything is still closed."""
    writer = log.open()
    writer.commit([record(0)])
    log.disk.fail("write", errno.EIO, number=IN_HORIZON, times=3)  # the index at the close, too
    writer.commit([record(1)])
    with pytest.raises(Unavailable, match=r"offsets below 2 are durable, but readers cannot see") as raised:
        writer.close()
    assert raised.value.written == "unknown"
    writer.close()
    assert log.offsets() == (0, 1)
    log.open().close()
    assert numbers(one for _, one in read_all(log.backend)) == [0, 1]


@pytest.mark.usefixtures("never_by_itself")
def test_nothing_is_published_after_a_close(log: OneLog) -> None:
    """A late horizon would be written over the next writer's."""
    writer = log.open()
    writer.commit([record(0)])
    log.disk.fail("write", errno.EIO, number=IN_HORIZON, times=3)  # the index at the close, too
    writer.commit([record(1)])
    timer = writer._timer
    assert timer
    with pytest.raises(Unavailable):
        writer.close()
    timer.join(10)
    assert not timer.is_alive()
    writer._publish_again(1.0)
    assert writer._timer is None
    assert log.offsets() == (0, 1)
    assert [path.rpartition("/")[2] for path in log.disk.failed if not path.endswith(".idx")] == ["horizon"] * 2


@pytest.mark.usefixtures("never_by_itself")
def test_a_writer_that_closes_unpublished_logs_it(log: OneLog) -> None:
    """The whole Writer gives the lock back, and says what happened."""
    writer = log.backend.open_writer()
    writer.append(ONE, record(0)).result(10)
    log.disk.fail("write", errno.EIO, number=IN_HORIZON, times=3)  # the index at the close, too
    writer.append(ONE, record(1)).result(10)
    writer.close()
    assert any("readers cannot see" in str(call.kwargs) for call in log.logged.calls)
    log.backend.open_writer().close()
    assert log.offsets() == (0, 2)


def test_after_a_clean_close_a_power_cut_hides_nothing(log: OneLog) -> None:
    """The horizon is synced then: readers need not wait for a writer that proves the newest batch."""
    writer = log.open()
    writer.commit([record(0)])
    writer.close()
    image = log.disk.image()
    oldest = OneLog(disk=CrashDisk(image.left([0] * len(image.choices))))
    assert oldest.offsets() == (0, 1)
