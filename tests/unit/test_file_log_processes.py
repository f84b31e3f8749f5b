"""The file log between real processes: one writer, tailers, SIGKILL."""

import os
from pathlib import Path

import pytest

from common.values.ids import SequencerId
from tests.support import log_process
from tests.support.buffer_records import numbers, read_all, record
from writebuffer.errors import HeldByAnother
from writebuffer.file import FileBackend


@pytest.fixture
def backend(tmp_path: Path) -> FileBackend:
    backend = FileBackend(str(tmp_path / "log"), segment_bytes=100_000)
    backend.create(1)
    return backend


def test_a_second_writer_is_refused_with_the_holders_pid(backend: FileBackend) -> None:
    """Only one process writes; the other's error says who does; it may once that one is gone."""
    process = log_process.start("write", backend.url, "0")
    with pytest.raises(HeldByAnother, match=rf"held by pid {process.pid} on host \S+ since 20") as refused:
        backend.open_writer()
    process.kill()
    process.wait()
    assert refused.value.pid == process.pid
    backend.open_writer().close()


def test_a_second_writer_in_the_same_process_is_refused(backend: FileBackend) -> None:
    """The lock belongs to the open writer, not to the process."""
    writer = backend.open_writer()
    with pytest.raises(HeldByAnother, match=f"pid {os.getpid()}"):
        backend.open_writer()
    writer.close()
    backend.open_writer().close()


def test_another_process_tails_a_live_log_over_its_segments(backend: FileBackend) -> None:
    """What is acknowledged here is read there, in order, across rolls."""
    tailer = log_process.start("tail", backend.url)
    writer = backend.open_writer()
    sent = []
    for start in range(0, 300, 10):
        futures = [(number, writer.append(SequencerId(0), record(number, 2000))) for number in range(start, start + 10)]
        sent += [(future.result(20).offset, number) for number, future in futures]
    read = log_process.lines(tailer, 300)
    tailer.kill()
    tailer.wait()
    writer.close()
    assert read == sent
    assert len(list((Path(backend.url.removeprefix("file://")) / "000").glob("*.log"))) > 3


def test_nothing_acknowledged_is_lost_to_sigkill_under_load(backend: FileBackend) -> None:
    """Five times killed in the middle of appends: every acknowledged record is at its offset, without a hole."""
    acknowledged: dict[int, int] = {}
    for life in range(5):
        process = log_process.start("write", backend.url, str(life * 1_000_000))
        acknowledged |= dict(log_process.lines(process, 40 + 35 * life))
        process.kill()
        acknowledged |= dict(log_process.lines(process, 200))
        process.wait()
    backend.open_writer().close()
    read = read_all(backend)
    found = dict(zip((offset for offset, _ in read), numbers(one for _, one in read), strict=True))
    assert list(found) == list(range(len(found)))
    assert {offset: found.get(offset) for offset in acknowledged} == acknowledged
    assert len(set(found.values())) == len(found)
