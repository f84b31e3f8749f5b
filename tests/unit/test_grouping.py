"""Group commit: what shares a commit, which appends an error reaches, and that no future hangs."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import pytest

from common.values.errors import DataCorrupt, Forked, Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, record, records
from writebuffer.errors import Closed, UnknownSequencer, WriterDied
from writebuffer.grouping import GROUP_RECORDS_MAX, GroupCommit, GroupedWriter
from writebuffer.record import Record

ONE, TWO = SequencerId(0), SequencerId(1)


class Log:
    """In place of what a backend commits to: each commit waits until the gate is open, or raises the error set."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.errors: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.ended: list[str] = []

    def commit(self, records: Sequence[Record]) -> Offset:
        self.entered.release()
        assert self.gate.wait(10)
        if self.errors:
            raise self.errors.pop()
        first = sum(map(len, self.groups))
        self.groups.append(numbers(records))
        return Offset(first)

    def finish(self) -> None:
        self.ended.append(f"finished after {len(self.groups)} groups")

    def release(self) -> None:
        self.ended.append("released")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def writer(log: Log) -> Iterator[GroupedWriter]:
    writer = GroupedWriter("test:", [GroupCommit(ONE, log.commit, log.finish)], log.release)
    yield writer
    log.gate.set()
    writer.close()


def in_a_commit(log: Log, writer: GroupedWriter) -> "Future[object]":
    """Append record 0 and shut the gate; returns once its commit waits there."""
    log.gate.clear()
    future: Future[object] = writer.append(ONE, record(0))  # type: ignore[assignment]
    assert log.entered.acquire(timeout=10)
    return future


def test_what_is_appended_during_a_commit_goes_into_the_next(log: Log, writer: GroupedWriter) -> None:
    """One commit for all of it, singles and append_many alike; each call gets its own offsets."""
    in_a_commit(log, writer)
    single = writer.append(ONE, record(1))
    many = writer.append_many(ONE, records([2, 3]))
    log.gate.set()
    assert single.result(10).offset == 1
    assert (many.result(10).first.offset, many.result(10).last.offset) == (2, 3)
    assert log.groups == [[0], [1, 2, 3]]


def test_a_call_larger_than_a_group_takes_several(log: Log, writer: GroupedWriter) -> None:
    """It resolves once, with the first offset of its first group and the last of its last."""
    span = writer.append_many(ONE, records(range(GROUP_RECORDS_MAX + 1))).result(10)
    assert (span.first.offset, span.last.offset) == (0, GROUP_RECORDS_MAX)
    assert list(map(len, log.groups)) == [GROUP_RECORDS_MAX, 1]


def test_an_unavailable_commit_fails_its_group_and_no_other(log: Log, writer: GroupedWriter) -> None:
    """With the very error that the backend raised; the next append is tried."""
    error = Unavailable("full", written="no")
    log.errors = [error]
    assert writer.append(ONE, record(0)).exception(10) is error
    assert writer.append(ONE, record(1)).result(10).offset == 0


@pytest.mark.parametrize("cause", [Forked("another history"), DataCorrupt("bad bytes"), RuntimeError("a defect")])
def test_any_other_error_ends_the_writer(log: Log, writer: GroupedWriter, cause: Exception) -> None:
    """Pending and later appends get Forked and DataCorrupt as they are, of anything else WriterDied with its cause."""
    under_way = in_a_commit(log, writer)
    pending = writer.append(ONE, record(1))
    log.errors = [cause]
    log.gate.set()
    for future in (under_way, pending, writer.append(ONE, record(2))):
        error = future.exception(10)
        if isinstance(cause, RuntimeError):
            assert isinstance(error, WriterDied)
            assert error.__cause__ is cause
        else:
            assert error is cause


def test_closing_commits_what_is_queued_and_then_releases(log: Log, writer: GroupedWriter) -> None:
    """When close returns every future has resolved, and what the thread used is given back; calls raise Closed."""
    in_a_commit(log, writer)
    futures = [writer.append(ONE, one) for one in records(range(1, 10))]
    log.gate.set()
    writer.close()
    writer.close()
    assert [future.result(0).offset for future in futures] == list(range(1, 10))
    assert log.ended == ["finished after 2 groups", "released"]
    for act in (lambda: writer.append(ONE, record(10)), lambda: writer.flush(0), lambda: writer.check(ONE)):
        with pytest.raises(Closed):
            act()


def test_closing_over_a_commit_that_hangs_releases_nothing(log: Log) -> None:
    """Its records may still be stored: the futures say so, and what it uses is kept."""
    writer = GroupedWriter("test:", [GroupCommit(ONE, log.commit, log.finish)], log.release, close_s=0.05)
    future = in_a_commit(log, writer)
    writer.close()
    error = future.exception(0)
    assert isinstance(error, Unavailable)
    assert error.written == "unknown"
    assert log.ended == []
    log.gate.set()


def test_sequencers_that_hang_share_one_deadline() -> None:
    """A backend that hangs holds a stop up once, not once for each sequencer; what can still be committed is."""
    logs = [Log() for _ in range(12)]
    commits = [GroupCommit(SequencerId(at), one.commit) for at, one in enumerate(logs)]
    writer = GroupedWriter("test:", commits, close_s=0.4)
    healthy = logs.pop()
    for log in logs:
        log.gate.clear()
    futures = [writer.append(sequencer, record(0)) for sequencer in writer.sequencers()]
    started_s = time.monotonic()
    writer.close()
    closed_in_s = time.monotonic() - started_s
    for log in logs:
        log.gate.set()
    assert closed_in_s < 3 * 0.4, f"12 sequencers of which 11 hang were closed in {closed_in_s:.1f} s"
    assert futures.pop().result(0).offset == 0
    assert healthy.groups == [[0]]
    assert all(isinstance(future.exception(0), Unavailable) for future in futures)


def test_a_flush_waits_for_what_was_appended_before_it(log: Log, writer: GroupedWriter) -> None:
    """It gives up at its timeout, and needs no commit of its own."""
    in_a_commit(log, writer)
    with pytest.raises(Unavailable, match="1 of 1 appends"):
        writer.flush(0.01)
    log.gate.set()
    writer.flush(10)
    assert log.groups == [[0]]


def test_a_flush_with_nothing_pending_needs_no_time(log: Log, writer: GroupedWriter) -> None:
    """A timeout of 0 will do: before the first append, right after each resolved, and once the thread has died."""
    writer.flush(0)
    for number in range(200):
        writer.append(ONE, record(number)).result(10)
        writer.flush(0)
    log.errors = [RuntimeError("a defect")]
    assert isinstance(writer.append(ONE, record(200)).exception(10), WriterDied)
    writer.flush(0)


def test_a_call_that_a_backend_adds_is_checked_alike(writer: GroupedWriter) -> None:
    """`check` knows the sequencers."""
    writer.check(ONE)
    with pytest.raises(UnknownSequencer):
        writer.check(TWO)
