"""A file buffer's folders and files that are moved, removed or replaced under its writer: nothing is lost in them."""

import shutil
from pathlib import Path

import pytest

from common.values.errors import Forked, Unavailable
from common.values.ids import SequencerId
from tests.support.buffer_records import read_all, record
from writebuffer.file import FileBackend
from writebuffer.file.writer import FileWriter

ONE = SequencerId(0)


def opened(folder: Path) -> tuple[FileBackend, FileWriter]:
    """A writer that has acknowledged one record."""
    backend = FileBackend(str(folder))
    backend.create(1)
    writer = backend.open_writer()
    append(writer, 0)
    return backend, writer


def append(writer: FileWriter, number: int) -> int:
    return int(writer.append(ONE, record(number)).result(10).offset)


def test_a_log_that_is_moved_away_and_back_goes_on(tmp_path: Path) -> None:
    """While it is away nothing is acknowledged into its open files; then offsets follow on each other."""
    backend, writer = opened(tmp_path / "log")
    (tmp_path / "log" / "000").rename(tmp_path / "away")
    with pytest.raises(Unavailable, match="the log's folder is gone; bring it back") as refused:
        append(writer, 1)
    assert refused.value.written == "no"
    assert not (tmp_path / "log" / "000").exists()
    (tmp_path / "away").rename(tmp_path / "log" / "000")
    assert append(writer, 2) == 1
    writer.close()
    assert len(read_all(backend)) == 2


def test_a_copy_in_its_place_is_not_written_to(tmp_path: Path) -> None:
    """The writer's open files are not in it: what it acknowledged there nobody would read."""
    _, writer = opened(tmp_path / "log")
    (tmp_path / "log" / "000").rename(tmp_path / "away")
    shutil.copytree(tmp_path / "away", tmp_path / "log" / "000")
    with pytest.raises(Forked, match="another folder is in the place of the one"):
        append(writer, 1)
    writer.close()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_segment_that_is_removed_is_not_written_to(tmp_path: Path, is_replaced: bool) -> None:
    """Its bytes are in no folder any more."""
    _, writer = opened(tmp_path / "log")
    [segment] = (tmp_path / "log" / "000").glob("*.log")
    data = segment.read_bytes()
    segment.unlink()
    if is_replaced:
        (tmp_path / "other").write_bytes(data)
        (tmp_path / "other").rename(segment)
    with pytest.raises(Forked, match=f"segment {segment.name} was removed or replaced"):
        append(writer, 1)
    writer.close()
