"""A file buffer that was deleted under its readers, and not made again; and one that cannot be made."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.values.errors import Forked, Misconfigured
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, record, records
from tests.support.file_log import FOLDER, ROOT, OneLog
from writebuffer.contract import Cursor, Offsets, Reader
from writebuffer.file import FileBackend

ONE = SequencerId(0)


def written(folder: Path) -> FileBackend:
    backend = FileBackend(str(folder), segment_bytes=4096)
    backend.create(1)
    writer = backend.open_writer()
    writer.append_many(ONE, records(range(3))).result(10)
    writer.close()
    return backend


@pytest.mark.parametrize("read", [0, 1, 3])
@pytest.mark.parametrize("by_hand", [True, False])
def test_every_reader_of_a_deleted_buffer_gets_forked(tmp_path: Path, by_hand: bool, read: int) -> None:
    """Its cursor at any offset, its offsets, identity and size: silence would look like an idle stream."""
    backend = written(tmp_path / "log")
    reader = backend.open_reader()
    cursor = reader.cursor(ONE)
    if read:
        assert len(cursor.poll(read, 2**20, 0).records) == read
    if by_hand:
        shutil.rmtree(tmp_path / "log")
    else:
        backend.delete()
    asked: list[Callable[[], object]] = [
        lambda: cursor.poll(10, 2**20, 0),
        lambda: cursor.seek(Offset(0)),
        cursor.seek_to_first,
        cursor.seek_to_next,
        lambda: cursor.seek_to_time(0),
        lambda: reader.cursor(ONE),
        lambda: reader.offsets(ONE),
        lambda: reader.identity(ONE),
        lambda: reader.size(ONE),
    ]
    for one in [*asked, *asked]:
        with pytest.raises(Forked, match="deleted"):
            one()


def test_a_buffer_made_again_that_nobody_has_written_to_is_another_one(tmp_path: Path) -> None:
    """It has no horizon yet that would name it, but its buffer.json does."""
    backend = written(tmp_path / "log")
    reader = backend.open_reader()
    cursor = reader.cursor(ONE)
    backend.delete()
    backend.create(1)
    for one in (lambda: cursor.poll(1, 2**20, 0), lambda: reader.offsets(ONE), lambda: reader.identity(ONE)):
        with pytest.raises(Forked, match="deleted"):
            one()


def reading(reader: Reader) -> Cursor:
    cursor = reader.cursor(ONE)
    assert numbers(one.record for one in cursor.poll(10, 2**20, 0).records) == [0, 1, 2]
    return cursor


def read_on(cursor: Cursor, found: list[int]) -> None:
    while batch := cursor.poll(10, 2**20, 0).records:
        found += numbers(one.record for one in batch)


def test_a_deletion_is_never_mistaken_for_a_trim() -> None:
    """Any file is deleted next after buffer.json, a poll returns what is still true, or says Forked."""
    for left in range(5):
        log = OneLog(segment_bytes=300)
        writer = log.open()
        for number in range(3):
            writer.commit([record(number)])
        writer.close()
        assert len(log.segments()) == 3
        cursors = [log.backend.open_reader().cursor(ONE), reading(log.backend.open_reader())]
        log.disk.remove(f"{ROOT}/buffer.json")
        for name in log.disk.names(FOLDER)[: len(log.disk.names(FOLDER)) - left]:
            log.disk.remove(f"{FOLDER}/{name}")
        found: list[int] = []
        with pytest.raises(Forked, match="deleted"):
            read_on(cursors[0], found)
        assert found == [0, 1, 2][: len(found)]
        if not log.disk.stat(f"{FOLDER}/horizon"):
            with pytest.raises(Forked, match="deleted"):
                cursors[1].poll(10, 2**20, 0)


def test_a_log_emptied_under_its_reader_is_another_history() -> None:
    """buffer.json exists, the sequencer's files are gone: below the cursor nothing is left that it could follow on."""
    log = OneLog()
    writer = log.open()
    writer.commit(records(range(3)))
    writer.close()
    cursor, fresh = reading(log.backend.open_reader()), log.backend.open_reader().cursor(ONE)
    for name in log.disk.names(FOLDER):
        log.disk.remove(f"{FOLDER}/{name}")
    with pytest.raises(Forked, match="its next offset is 0, but this reader was given what is below 3"):
        cursor.poll(10, 2**20, 0)
    assert fresh.poll(10, 2**20, 0).next_offset == 0


def test_a_buffer_whose_maker_has_not_made_its_folders_yet_is_empty() -> None:
    """buffer.json comes first: who opens it then waits for what comes."""
    log = OneLog()
    log.disk._folder(ROOT).now.pop("000")
    reader = log.backend.open_reader()
    assert reader.offsets(ONE) == Offsets(Offset(0), Offset(0))
    assert reader.cursor(ONE).poll(1, 2**20, 0).next_offset == 0


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    """No retry makes a folder in /proc, below a file, or in the place of one."""
    (tmp_path / "file").write_bytes(b"")
    for folder in ("/proc/x/log", f"{tmp_path}/file/log", f"{tmp_path}/file"):
        with pytest.raises(Misconfigured, match=rf"^write buffer file://{folder}: its folder cannot be made"):
            FileBackend(folder).create(1)
