"""An ingester that is to stop while its store cannot take what it holds: it ends, and says what stays in the log."""

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog

from common.catalog import paths
from common.catalog.cluster import Cluster
from common.catalog.joined_store import JoinedStore
from common.catalog.manifest.change import Instance
from common.store.local import LocalStore
from common.values.clock import SystemClock
from common.values.config import IngesterConfig
from common.values.errors import Unavailable
from common.values.ids import SequencerId
from ingester import stop_point
from ingester.core.core import IngesterCore
from ingester.core.lifecycle import Rules
from ingester.following.claim import claim
from ingester.service import IngesterService
from ingester.serving.published import Published
from tests.support.records import DAY0_NS, record, row
from tests.support.wait import wait_until
from tests.support.watched_disk import WatchedDisk
from writebuffer.contract import Batch, Cursor, Offsets, Reader
from writebuffer.memory import MemoryBackend

ONE = SequencerId(0)
ROWS = 3


class HeldReader:
    """A reader of which the polls can be held, as if they had begun just before what is appended next."""

    def __init__(self, reader: Reader) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.waiting = threading.Event()
        self.is_away = False
        self._reader = reader

    def offsets(self, sequencer: SequencerId) -> Offsets:
        if self.is_away:
            raise Unavailable("the write buffer does not answer")
        return self._reader.offsets(sequencer)

    def cursor(self, sequencer: SequencerId) -> Cursor:
        return HeldCursor(self._reader.cursor(sequencer), self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class HeldCursor:
    def __init__(self, cursor: Cursor, reader: HeldReader) -> None:
        self._cursor = cursor
        self._reader = reader

    def poll(self, records_max: int, bytes_max: int, timeout_s: float) -> Batch:
        if not self._reader.go_on.is_set():
            self._reader.waiting.set()
            self._reader.go_on.wait()
        return self._cursor.poll(records_max, bytes_max, timeout_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class Stopping:
    """An ingester with ROWS rows in memory, over a disk that can be made to fail."""

    def __init__(self, folder: Path, config: IngesterConfig, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self.disk = WatchedDisk()
        self.folder = folder
        raw, cluster = LocalStore(self.disk, str(folder)), Cluster("id", 1)
        raw.put(paths.CLUSTER, cluster.to_json())
        self.store = JoinedStore(raw, cluster, structlog.get_logger())
        backend = MemoryBackend()
        backend.create(1)
        self.writer = backend.open_writer()
        self.append(ROWS)
        self.reader = HeldReader(backend.open_reader())
        state = claim(self.reader, self.store, ONE, Instance("one"), accept_loss=False).state
        self.core = IngesterCore(state, Rules.of(config), 1 << 28, 4, random.Random(0))
        self.service = IngesterService(
            self.core, self.reader, self.store, Published(ONE), config, SystemClock(), structlog.get_logger()
        )

    def append(self, rows: int) -> None:
        """Acknowledged when it returns."""
        self.writer.append(ONE, record({"m": [row(DAY0_NS + n, f=1.0) for n in range(rows)]})).result(10)

    def append_unseen(self) -> None:
        """ROWS rows more, acknowledged, and not polled before `reader.go_on` is set."""
        self.reader.go_on.clear()
        assert self.reader.waiting.wait(10)
        self.append(ROWS)

    def run(self, before_stop: Callable[[], object] = lambda: None) -> "Future[None]":
        """A future of its end. before_stop: once the rows are in memory, and before the stop is asked for."""
        ended = self._thread.submit(self.service.run)
        wait_until(lambda: self.core.rows_buffered == ROWS)
        before_stop()
        self.service.stop()
        return ended

    def end_unread(self, ended: "Future[None]") -> None:
        """Its end while a poll is held."""
        try:
            wait_until(lambda: self.core.ending)
        finally:
            self.reader.go_on.set()
        ended.result(20)

    def fill_disk(self) -> None:
        self.disk.failing["create"] = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def move_away(self) -> None:
        self.folder.rename(self.folder.with_name("away"))


@pytest.fixture
def stopping(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stopping]:
    """Parametrised by stop_timeout_s."""
    config = IngesterConfig(tick_s=0.05, stop_timeout_s=getattr(request, "param", 30.0))
    with ThreadPoolExecutor(1) as thread:
        made = Stopping(tmp_path / "store", config, thread)
        yield made
        made.reader.close()


def test_what_was_acknowledged_before_a_stop_is_in_the_files(stopping: Stopping) -> None:
    """Also what was not polled yet: the stop reads on to where the stream ended when it was asked for."""
    ended = stopping.run(stopping.append_unseen)
    stopping.reader.go_on.set()
    ended.result(20)
    assert stopping.core.rows_buffered == 0
    assert stopping.core.state.replay_offset == 2


def test_a_stop_does_not_wait_for_a_buffer_that_is_away(stopping: Stopping) -> None:
    """What is in memory is persisted; where the stream ends cannot be known."""

    def move_away() -> None:
        stopping.append_unseen()
        stopping.reader.is_away = True

    stopping.end_unread(stopping.run(move_away))
    assert (stopping.core.rows_buffered, stopping.core.state.replay_offset) == (0, 1)


def test_a_stop_waits_only_so_long_for_what_it_cannot_read(stopping: Stopping, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest stays in the log."""
    monkeypatch.setattr(stop_point, "READ_ON_S", 0.2)
    stopping.end_unread(stopping.run(stopping.append_unseen))
    assert (stopping.core.rows_buffered, stopping.core.state.replay_offset) == (0, 1)


def test_a_store_that_takes_them_has_them_at_the_end(stopping: Stopping) -> None:
    """The ordered end, for comparison."""
    stopping.run().result(20)
    assert (stopping.core.rows_buffered, stopping.core.state.accounts.stored) == (0, ROWS)


@pytest.mark.parametrize("stopping", [1.0], indirect=True)
def test_a_store_that_fails_is_tried_for_a_while(stopping: Stopping) -> None:
    """A full disk may get room; after that the message has its reason, and how many rows are read again."""
    with pytest.raises(Unavailable, match=f"{ROWS} rows left in the log, to be read again .*no space left on device"):
        stopping.run(stopping.fill_disk).result(20)


def test_a_store_that_is_gone_is_not_waited_for(stopping: Stopping) -> None:
    """It says at once what is seen."""
    with pytest.raises(Unavailable, match=f"{ROWS} rows left in the log.*the folder is gone"):
        stopping.run(stopping.move_away).result(20)


def test_a_store_that_recovers_in_time_has_them(stopping: Stopping) -> None:
    """Within the patience nothing is given up."""
    ended = stopping.run(stopping.fill_disk)
    wait_until(lambda: stopping.core.counters.persist_failures)
    stopping.disk.failing.clear()
    ended.result(20)
    assert (stopping.core.rows_buffered, stopping.core.state.accounts.stored) == (0, ROWS)
