"""A lost or damaged log begun again: above every offset it gave, under its identity, with the old files kept."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from common.store.disk import LocalDisk
from common.values.errors import DataCorrupt, Forked, Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import read_all, record, records
from writebuffer.contract import Offsets
from writebuffer.errors import HeldByAnother, OffsetTrimmed
from writebuffer.file import FileBackend
from writebuffer.file.buffer_json import BufferJson

ONE = SequencerId(1)


def written(folder: Path) -> tuple[FileBackend, list[str]]:
    """Two sequencers with five records each, and their identities."""
    backend = FileBackend(str(folder), segment_bytes=4096)
    backend.create(2)
    writer = backend.open_writer()
    for sequencer in writer.sequencers():
        writer.append_many(sequencer, records(range(5))).result(10)
    writer.close()
    reader = backend.open_reader()
    return backend, [reader.identity(sequencer) for sequencer in reader.sequencers()]


def damage(folder: Path) -> None:
    [segment] = (folder / "001").glob("*.log")
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(bytes(data))


def empty(folder: Path) -> None:
    shutil.rmtree(folder / "001")


def lose_all(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("lose", "at_least", "begins"),
    [(damage, 3, 5), (damage, 9, 9), (empty, 7, 8), (lose_all, 7, 8)],
    ids=["damaged", "damaged, the store knows more", "folder gone", "buffer gone"],
)
def test_it_begins_above_every_offset_that_was_given(
    tmp_path: Path, lose: Callable[[Path], None], at_least: int, begins: int
) -> None:
    """Its identity stays, its first record follows there, and what is below is trimmed for every reader."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    lose(folder)
    done = backend.restart(ONE, identities, Offset(at_least))
    assert done.first_offset == begins
    reader = backend.open_reader()
    assert [reader.identity(sequencer) for sequencer in reader.sequencers()] == identities
    assert reader.offsets(ONE) == Offsets(Offset(begins), Offset(begins))
    with pytest.raises(OffsetTrimmed, match=f"oldest still readable is {begins}"):
        reader.cursor(ONE).seek(Offset(begins - 1))
    for expected in (begins, begins + 1):
        writer = backend.open_writer()
        assert writer.append(ONE, record(expected)).result(10).offset == expected
        writer.close()
    assert [offset for offset, _ in read_all(backend, 1)] == [begins, begins + 1]


def test_the_old_files_are_kept_and_the_other_sequencers_left_alone(tmp_path: Path) -> None:
    """Somebody may read them yet; a second loss keeps both, and begins higher again."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    damage(folder)
    before = {path.name: path.read_bytes() for path in (folder / "001").iterdir() if path.name != "lock"}
    kept = Path(backend.restart(ONE, identities, Offset(0)).kept_in)
    assert kept.parent == folder
    assert before.items() <= {path.name: path.read_bytes() for path in kept.iterdir()}.items()
    assert len(read_all(backend, 0)) == 5
    empty(folder)
    assert backend.restart(ONE, identities, Offset(0)).first_offset == 5
    assert len(read_all(backend, 0)) == 5


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_an_interrupted_restart_is_done_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """Killed at any step: no offset is given twice, and no segment is lost."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    damage(folder)
    original, done = LocalDisk.rename, [0]

    def rename(self: LocalDisk, source: str, target: str) -> None:
        if done[0] == renames:
            raise OSError(5, "the machine stopped")
        done[0] += 1
        original(self, source, target)

    monkeypatch.setattr(LocalDisk, "rename", rename)
    with pytest.raises(Unavailable):
        backend.restart(ONE, identities, Offset(3))
    monkeypatch.undo()
    assert backend.restart(ONE, identities, Offset(3)).first_offset == 5
    assert len(list(folder.glob("001.lost-*/*.log"))) >= 1
    assert not (folder / "001.new").exists()
    backend.open_writer().close()


def test_a_log_that_is_written_to_is_not_restarted(tmp_path: Path) -> None:
    """Its router has to be stopped first."""
    backend, identities = written(tmp_path / "log")
    writer = backend.open_writer()
    with pytest.raises(HeldByAnother, match="stop that process"):
        backend.restart(ONE, identities, Offset(0))
    writer.close()


def test_another_buffer_in_its_place_is_not_restarted(tmp_path: Path) -> None:
    """It may be whose it is; the message says to move it away."""
    backend, identities = written(tmp_path / "log")
    lose_all(tmp_path / "log")
    backend.create(2)
    with pytest.raises(Forked, match=r"buffer\.json is of another buffer.*Move it away first"):
        backend.restart(ONE, identities, Offset(0))


def test_the_bytes_of_a_buffer_json_with_named_logs(tmp_path: Path) -> None:
    """Format 2; the first one is written as before."""
    _, identities = written(tmp_path / "log")
    lose_all(tmp_path / "log")
    backend = FileBackend(str(tmp_path / "log"))
    backend.restart(ONE, identities, Offset(0))
    text = (tmp_path / "log" / "buffer.json").read_text()
    assert text.startswith('{\n  "format": 2,\n  "sequencers": 2,\n  "buffer_id": "')
    assert text.endswith(f'",\n  "logs": [\n    "{identities[0]}",\n    "{identities[1]}"\n  ]\n}}\n')
    (tmp_path / "log" / "buffer.json").write_text(text.replace(identities[0], identities[0][:-2]))
    with pytest.raises(DataCorrupt, match=r"not a buffer\.json"):
        backend.open_reader()


def test_format_1_stays_what_it_is() -> None:
    """Buffers that are made have it still."""
    made = BufferJson(1, uuid.UUID(int=1))
    assert made.encode() == (
        b'{\n  "format": 1,\n  "sequencers": 1,\n  "buffer_id": "00000000-0000-0000-0000-000000000001"\n}\n'
    )
