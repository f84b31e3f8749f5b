"""A lost or damaged log made whole again: what can be read keeps its offsets, none is given twice."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from common.catalog.manifest.change import StreamMark
from common.store.disk import LocalDisk
from common.values.errors import DataCorrupt, Forked, Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_all, record
from writebuffer.contract import Offsets, Stretch
from writebuffer.errors import HeldByAnother, OffsetTrimmed
from writebuffer.file import FileBackend
from writebuffer.file.buffer_json import BufferJson
from writebuffer.file.salvage import MARGIN, Known
from writebuffer.record import Record

ONE = SequencerId(1)
COUNT = 12
NOTHING: list[int] = []


def known(replay_offset: int, above_all: int | None = None, mark: StreamMark | None = None) -> Known:
    replay = Offset(replay_offset)
    return Known(mark or StreamMark(), replay, replay, Offset(replay_offset if above_all is None else above_all))


def written(folder: Path) -> tuple[FileBackend, list[str]]:
    """Two sequencers with twelve records each, one in a batch and three in a segment, and their identities."""
    backend = FileBackend(str(folder), segment_bytes=64 + 3 * (64 + 4 + 1000))
    backend.create(2)
    writer = backend.open_writer()
    for sequencer in writer.sequencers():
        for number in range(COUNT):
            writer.append(sequencer, one(number)).result(10)
    writer.close()
    reader = backend.open_reader()
    return backend, [reader.identity(sequencer) for sequencer in reader.sequencers()]


def one(number: int) -> Record:
    return record(number, 1000 - len(record(number).header_block))


def segments(folder: Path) -> list[Path]:
    """Those with records."""
    return [path for path in sorted((folder / "001").glob("*.log")) if path.stat().st_size > 64]


def flip(path: Path, at_byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[at_byte] ^= 1
    path.write_bytes(bytes(data))


def a_body(folder: Path) -> None:
    """Of offset 4: the second batch of the second segment."""
    flip(segments(folder)[1], 64 + 1068 + 200)


def a_batch_header(folder: Path) -> None:
    flip(segments(folder)[1], 64 + 1068 + 20)


def a_segment(folder: Path) -> None:
    segments(folder)[1].unlink()


def a_segment_header(folder: Path) -> None:
    flip(segments(folder)[1], 20)


def the_tail(folder: Path) -> None:
    """The newest segment is cut in its second batch."""
    newest = segments(folder)[-1]
    newest.write_bytes(newest.read_bytes()[: 64 + 1068 + 100])


def the_last_segment_and_the_horizon(folder: Path) -> None:
    segments(folder)[-1].unlink()
    (folder / "001" / "horizon").unlink()


def two_places(folder: Path) -> None:
    a_body(folder)
    flip(segments(folder)[2], 64 + 200)


def all_files(folder: Path) -> None:
    for path in (folder / "001").iterdir():
        path.unlink()


def the_folder(folder: Path) -> None:
    shutil.rmtree(folder / "001")


def the_buffer(folder: Path) -> None:
    shutil.rmtree(folder)


def buffer_json(folder: Path) -> None:
    (folder / "buffer.json").unlink()
    a_body(folder)


@pytest.mark.parametrize(
    ("lose", "needed_from", "kept", "goes_on_at"),
    [
        (a_body, 2, [2, 3, *range(5, 12)], COUNT),
        (a_body, 4, range(5, 12), COUNT),
        (a_body, 5, range(5, 12), COUNT),
        (a_body, 12, NOTHING, COUNT),
        (a_batch_header, 0, [*range(4), *range(5, 12)], COUNT),
        (a_segment, 1, [1, 2, *range(6, 12)], COUNT),
        (a_segment_header, 3, range(6, 12), COUNT),
        (two_places, 3, [3, 5, *range(7, 12)], COUNT),
        (the_tail, 8, [8, 9], COUNT),
        (the_tail, 10, NOTHING, COUNT),
        (the_last_segment_and_the_horizon, 8, [8], 10 + MARGIN),
        (all_files, 7, NOTHING, 10 + MARGIN),
        (the_folder, 7, NOTHING, 10 + MARGIN),
        (the_buffer, 7, NOTHING, 10 + MARGIN),
        (buffer_json, 3, [3, *range(5, 12)], COUNT),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_what_can_be_read_keeps_its_offset_and_no_offset_is_given_twice(
    tmp_path: Path, lose: Callable[[Path], None], needed_from: int, kept: list[int], goes_on_at: int
) -> None:
    """Records at their offsets, then new ones above all that were given; by a second writer and reader, too."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    lose(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    wanted = known(needed_from, 10)
    remains = backend.examine(ONE, identities, wanted)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before, "it only looks"
    done = backend.salvage(ONE, identities, wanted)
    assert done.remains == remains
    assert not remains.is_whole
    assert remains.next_offset == goes_on_at
    assert [offset for first, end in done.kept for offset in range(first, end)] == list(kept)
    assert backend.examine(ONE, identities, wanted).is_whole
    found = list(kept)
    for expected in (goes_on_at, goes_on_at + 1):
        assert [(offset, numbers([each])) for offset, each in read_all(backend, 1)] == [(at, [at]) for at in found]
        writer = backend.open_writer()
        assert writer.append(ONE, one(expected)).result(10).offset == expected
        writer.close()
        found.append(expected)
    reader = backend.open_reader()
    assert [reader.identity(sequencer) for sequencer in reader.sequencers()] == identities
    first = min(found[0], goes_on_at)
    assert reader.offsets(ONE) == Offsets(Offset(first), Offset(goes_on_at + 2))
    holes = [offset for first, end in reader.lost(ONE) for offset in (first, end - 1)]
    assert not set(holes) & set(found)
    assert sum(end - first for first, end in reader.lost(ONE)) == goes_on_at + 2 - first - len(found)
    with pytest.raises(OffsetTrimmed, match=f"oldest still readable is {first}"):
        reader.cursor(ONE).seek(Offset(first - 1))


def test_a_cursor_passes_what_is_lost_and_says_so_by_its_position(tmp_path: Path) -> None:
    """From every offset on the same records come; at a lost tail the position moves on without any."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    a_body(folder)
    the_tail(folder)
    backend.salvage(ONE, identities, known(0))
    reader = backend.open_reader()
    assert reader.lost(ONE) == [Stretch(Offset(4), Offset(5)), Stretch(Offset(10), Offset(12))]
    whole = [offset for offset in range(COUNT) if offset not in (4, 10, 11)]
    for start in range(COUNT + 1):
        cursor = reader.cursor(ONE)
        cursor.seek(Offset(start))
        found: list[int] = []
        position = start
        for _ in range(COUNT):
            batch = cursor.poll(2, 2**20, 0)
            found += [each.offset for each in batch.records]
            assert batch.next_offset >= position
            position = batch.next_offset
        assert (found, position) == ([offset for offset in whole if offset >= start], COUNT)
    cursor = reader.cursor(ONE)
    cursor.seek_to_time(4)
    assert cursor.poll(1, 2**20, 0).records[0].offset == 5
    cursor.seek_to_time(10)
    assert not cursor.poll(1, 2**20, 0).records


def test_lost_offsets_are_trimmed_with_the_records_before_them(tmp_path: Path) -> None:
    """The log's first offset goes beyond them, and nothing is lost any more in what is left."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    a_body(folder)
    backend.salvage(ONE, identities, known(0))
    writer = backend.open_writer()
    assert writer.trim(ONE, Offset(5)) == 5
    writer.close()
    reader = backend.open_reader()
    assert reader.lost(ONE) == []
    assert [offset for offset, _ in read_all(backend, 1)] == list(range(5, 12))


def test_a_salvaged_log_that_is_damaged_again_is_salvaged_again(tmp_path: Path) -> None:
    """What was given up stays so, and what is left is kept; the files of both are set aside."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    a_body(folder)
    backend.salvage(ONE, identities, known(1))
    backend.open_writer().close()
    flip(segments(folder)[-1], 64 + 200)
    remains = backend.salvage(ONE, identities, known(1)).remains
    assert remains.given_up == [Stretch(Offset(4), Offset(5))]
    found = [offset for offset, _ in read_all(backend, 1)]
    assert found[:3] == [1, 2, 3]
    assert set(found) < set(range(COUNT)) - {4}
    assert backend.open_reader().offsets(ONE).next_offset == COUNT
    assert len(list(folder.glob("001.lost-*"))) == 2


def test_a_log_that_was_filled_again_is_not_what_was_followed(tmp_path: Path) -> None:
    """The record below the persisted offset is another one: none of its records is kept, and no offset given again."""
    backend, identities = written(tmp_path / "log")
    same = known(6, mark=StreamMark(identities[1], Offset(5), one(5).checksum()))
    assert backend.examine(ONE, identities, same).is_whole
    other = known(6, mark=StreamMark(identities[1], Offset(5), one(6).checksum()))
    done = backend.salvage(ONE, identities, other)
    assert done.remains.another == "the record at 5 is another one than was read there"
    assert done.kept == []
    assert backend.open_reader().offsets(ONE) == Offsets(Offset(COUNT), Offset(COUNT))


def test_a_log_that_ends_below_what_was_read_leaves_a_margin(tmp_path: Path) -> None:
    """It is an older copy, and nobody knows how far the log went: its records are kept, as they were followed."""
    backend, identities = written(tmp_path / "log")
    done = backend.salvage(ONE, identities, known(8, 20))
    assert done.kept == [Stretch(Offset(8), Offset(COUNT))]
    assert done.remains.next_offset == 20 + MARGIN
    assert backend.open_reader().lost(ONE) == [Stretch(Offset(COUNT), Offset(20 + MARGIN))]


def test_the_old_files_are_kept_and_the_other_sequencers_left_alone(tmp_path: Path) -> None:
    """Somebody may read them yet; a second loss keeps both, and goes on higher again, whatever they say."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    a_body(folder)
    before = {path.name: path.read_bytes() for path in (folder / "001").iterdir() if path.name != "lock"}
    kept = Path(backend.salvage(ONE, identities, known(0)).kept_in)
    assert kept.parent == folder
    assert before.items() <= {path.name: path.read_bytes() for path in kept.iterdir()}.items()
    assert len(read_all(backend, 0)) == COUNT
    the_folder(folder)
    assert backend.salvage(ONE, identities, known(0)).remains.next_offset == COUNT + MARGIN
    assert len(read_all(backend, 0)) == COUNT


def test_a_whole_log_stays_as_it_is(tmp_path: Path) -> None:
    """Also where the horizon is gone, which the next start writes again, and where everything was trimmed."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    before = [path.name for path in (folder / "001").iterdir()]
    assert backend.salvage(ONE, identities, known(5)).kept_in == ""
    assert [path.name for path in (folder / "001").iterdir()] == before
    (folder / "001" / "horizon").unlink()
    assert backend.salvage(ONE, identities, known(5)).kept_in == ""


@pytest.mark.parametrize("renames", range(9))
def test_an_interrupted_salvage_is_done_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """Killed at any step: no offset is given twice, and no record that can be read is lost."""
    folder = tmp_path / "log"
    backend, identities = written(folder)
    two_places(folder)
    original, done = LocalDisk.rename, [0]

    def rename(self: LocalDisk, source: str, target: str) -> None:
        if done[0] == renames:
            raise OSError(5, "the machine stopped")
        done[0] += 1
        original(self, source, target)

    monkeypatch.setattr(LocalDisk, "rename", rename)
    with pytest.raises(Unavailable):
        backend.salvage(ONE, identities, known(3))
    monkeypatch.undo()
    assert not backend.examine(ONE, identities, known(3)).is_whole
    backend.salvage(ONE, identities, known(3))
    assert [offset for offset, _ in read_all(backend, 1)] == [3, 5, *range(7, 12)]
    assert backend.open_reader().offsets(ONE).next_offset == COUNT
    assert len(list(folder.glob("001.lost-*"))) == 1
    assert not (folder / "001.new").exists()
    backend.open_writer().close()


def test_a_log_that_is_written_to_is_not_salvaged(tmp_path: Path) -> None:
    """Its router has to be stopped first."""
    backend, identities = written(tmp_path / "log")
    writer = backend.open_writer()
    with pytest.raises(HeldByAnother, match="stop that process"):
        backend.salvage(ONE, identities, known(0))
    writer.close()


def test_another_buffer_in_its_place_is_not_salvaged(tmp_path: Path) -> None:
    """It may be whose it is; the message says to move it away."""
    backend, identities = written(tmp_path / "log")
    the_buffer(tmp_path / "log")
    backend.create(2)
    for call in (backend.examine, backend.salvage):
        with pytest.raises(Forked, match=r"buffer\.json is of another buffer.*Move it away first"):
            call(ONE, identities, known(0))


def test_the_bytes_of_a_buffer_json_with_named_logs(tmp_path: Path) -> None:
    """Format 2; the first one is written as before."""
    _, identities = written(tmp_path / "log")
    the_buffer(tmp_path / "log")
    backend = FileBackend(str(tmp_path / "log"))
    backend.salvage(ONE, identities, known(0))
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
