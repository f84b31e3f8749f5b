"""A file log's cursor while nothing comes: how often it looks, and what it still notices."""

import shutil
import threading
from pathlib import Path

import pytest

from common.store.disk import LocalDisk
from common.values.clock import FakeClock
from common.values.errors import Forked
from common.values.ids import SequencerId
from tests.support.buffer_records import record
from writebuffer.file import FileBackend
from writebuffer.file.cursor import FileCursor
from writebuffer.file.format import Place

ONE = SequencerId(0)


class Waits(threading.Event):
    """In place of a reader that is not closed: waiting only moves the clock, and is written down."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.waited_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited_s.append(timeout)
        self.clock.advance(timeout)
        self.happens(len(self.waited_s))
        return False

    def happens(self, looks: int) -> None:
        """What another process does meanwhile."""


@pytest.fixture
def backend(tmp_path: Path) -> FileBackend:
    backend = FileBackend(str(tmp_path / "log"))
    backend.create(1)
    return backend


@pytest.fixture
def waits() -> Waits:
    return Waits(FakeClock())


@pytest.fixture
def cursor(backend: FileBackend, waits: Waits) -> FileCursor:
    folder = backend.url.removeprefix("file://")
    log_id = bytes.fromhex(backend.open_reader().identity(ONE))
    return FileCursor(Place(LocalDisk(), f"{folder}/000", log_id, ONE), waits.clock, waits)


def test_an_idle_cursor_looks_seven_times_a_second_and_never_less(cursor: FileCursor, waits: Waits) -> None:
    """From 2 ms the pause grows to 250 ms, over polls too: longer would delay a query that waits for a record."""
    for _ in range(4):
        assert not cursor.poll(10, 2**20, 0.5).records
    assert waits.waited_s[0] == 0.002
    waits.waited_s.clear()
    for _ in range(20):
        assert not cursor.poll(10, 2**20, 0.5).records
    assert max(waits.waited_s) == 0.25
    assert len(waits.waited_s) < 10 * 7 + 20


def test_while_records_come_they_are_found_within_five_milliseconds(
    backend: FileBackend, cursor: FileCursor, waits: Waits
) -> None:
    """Ten records a second, or one: the pause never grows beyond 5 ms; it does a second after the last one."""
    writer = backend.open_writer()
    for number in range(12):
        writer.append(ONE, record(number)).result(10)
        assert cursor.poll(10, 2**20, 0).next_offset == number + 1
        waits.waited_s.clear()
        gap_s = 0.1 if number < 10 else 0.99
        assert not cursor.poll(10, 2**20, gap_s).records
        assert max(waits.waited_s) <= 0.005
    assert not cursor.poll(10, 2**20, 1).records
    assert max(waits.waited_s) == 0.25
    writer.close()


def test_after_a_record_the_next_is_looked_for_at_once(backend: FileBackend, cursor: FileCursor, waits: Waits) -> None:
    """What comes rarely comes in bursts."""
    cursor.poll(10, 2**20, 5)
    writer = backend.open_writer()
    writer.append(ONE, record(0)).result(10)
    assert cursor.poll(10, 2**20, 5).next_offset == 1
    before = len(waits.waited_s)
    cursor.poll(10, 2**20, 0.01)
    assert waits.waited_s[before] == 0.002
    writer.close()


def test_a_buffer_made_again_under_a_waiting_poll_is_forked(
    backend: FileBackend, cursor: FileCursor, waits: Waits
) -> None:
    """The old files may exist as long as a process has them open; the folder decides."""
    writer = backend.open_writer()
    writer.append(ONE, record(0)).result(10)
    writer.close()
    assert cursor.poll(10, 2**20, 0).next_offset == 1

    def made_again(looks: int) -> None:
        if looks == 30:
            shutil.rmtree(backend.url.removeprefix("file://"))
            backend.create(1)
            backend.open_writer().close()

    waits.happens = made_again  # type: ignore[method-assign]
    with pytest.raises(Forked):
        cursor.poll(10, 2**20, 600)
    assert len(waits.waited_s) == 30
