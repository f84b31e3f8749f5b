"""The Redis backend where the server came back as something else, or somebody had his hands in it."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.values.errors import DataCorrupt, Forked, PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import read_all, record, records
from tests.support.redis_buffer import KEYS, ONE, append, made, own_server, polled, sized
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until
from writebuffer.contract import Cursor
from writebuffer.errors import Closed, OffsetTrimmed
from writebuffer.redis import reader as reader_module
from writebuffer.redis.keys import entry_id


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with own_server(tmp_path) as server:
        yield server


def test_a_restored_older_server_is_forked_to_writer_and_cursor(server: RedisServer, tmp_path: Path) -> None:
    """Acknowledged records are gone: neither may go on as if they had never been."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.cursor(ONE)
    append(writer, range(5))
    shutil.copytree(tmp_path / "appendonlydir", tmp_path / "copy")
    append(writer, range(5, 10))
    assert polled(cursor) == list(range(10))
    server.kill()
    shutil.rmtree(tmp_path / "appendonlydir")
    (tmp_path / "copy").rename(tmp_path / "appendonlydir")
    server.start()
    for _ in range(2):
        assert isinstance(writer.append(ONE, record(10)).exception(20), Forked)
    assert isinstance(raised_by_polls(cursor), Forked)
    writer.close()
    reader.close()


def test_other_records_at_the_same_offsets_are_forked_too(server: RedisServer, tmp_path: Path) -> None:
    """A failover that lost records may have gone as far again with others."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.cursor(ONE)
    shutil.copytree(tmp_path / "appendonlydir", tmp_path / "copy")
    append(writer, range(3))
    assert polled(cursor) == [0, 1, 2]
    server.kill()
    shutil.rmtree(tmp_path / "appendonlydir")
    (tmp_path / "copy").rename(tmp_path / "appendonlydir")
    server.start()
    other = backend.open_writer()
    append(other, range(100, 110))
    assert isinstance(writer.append(ONE, record(3)).exception(20), Forked)
    assert isinstance(raised_by_polls(cursor), Forked)
    for one in (writer, other, reader):
        one.close()


def test_a_repeat_does_not_make_a_writer_forget_its_newest_record(server: RedisServer, tmp_path: Path) -> None:
    """The last answer named an old offset; the newest acknowledged record is still compared."""
    backend = made(server.url)
    writer = backend.open_writer()
    append(writer, range(3))
    shutil.copytree(tmp_path / "appendonlydir", tmp_path / "copy")
    append(writer, range(3, 6))
    assert append(writer, [1]) == [1]
    server.kill()
    shutil.rmtree(tmp_path / "appendonlydir")
    (tmp_path / "copy").rename(tmp_path / "appendonlydir")
    server.start()
    other = backend.open_writer()
    append(other, range(100, 110))
    assert isinstance(writer.append(ONE, record(6)).exception(20), Forked)
    for one in (writer, other):
        one.close()


def raised_by_polls(cursor: Cursor) -> BaseException:
    """The first error but Unavailable."""

    def poll() -> BaseException | None:
        try:
            cursor.poll(10, 2**20, 0.1)
        except Unavailable:
            return None
        except PenstockError as error:
            return error
        return None

    error = wait_until(poll, what="a poll raises")
    assert error is not None
    return error


def test_a_deleted_and_remade_buffer_is_forked(server: RedisServer) -> None:
    """Also to a poll that waits, and to a writer that was idle."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.cursor(ONE)
    append(writer, [0])
    polled(cursor)
    backend.delete()
    backend.create(1)
    with pytest.raises(Forked):
        cursor.poll(10, 2**20, 20)
    with pytest.raises(Forked):
        reader.trim(ONE, Offset(1))
    assert isinstance(writer.append(ONE, record(1)).exception(10), Forked)
    writer.close()
    reader.close()


def test_a_remade_buffer_that_got_as_far_again_is_forked_by_its_identity(server: RedisServer) -> None:
    """Offsets alone would not show it: the new stream is longer than the old one was."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.cursor(ONE)
    append(writer, [0])
    polled(cursor)
    backend.delete()
    backend.create(1)
    other = backend.open_writer()
    append(other, range(100, 110))
    with pytest.raises(Forked):
        cursor.poll(10, 2**20, 0)
    assert isinstance(writer.append(ONE, record(1)).exception(10), Forked)
    for one in (writer, other, reader):
        one.close()
    assert len(read_all(backend)) == 10


def test_a_lost_state_is_not_made_again_over_its_records(server: RedisServer) -> None:
    """Offsets would be given again, and repeats answered with the old ones; the message says what to do."""
    backend = made(server.url)
    writer = backend.open_writer()
    append(writer, range(5))
    writer.close()
    with server.client() as client:
        client.delete(KEYS.state)
        for ask in (lambda: backend.create(1), backend.open_writer, backend.open_reader):
            with pytest.raises(DataCorrupt, match=r"lost its state.*UNLINK") as refused:
                ask()
        advice = refused.value.message.partition("UNLINK ")[2].partition(",")[0].split()
        client.unlink(*advice)
    writer = made(server.url).open_writer()
    assert append(writer, [3]) == [0]
    writer.close()
    assert len(read_all(backend)) == 1


def test_creating_again_gives_a_sequencer_the_keys_it_lacks(server: RedisServer) -> None:
    """Those that an earlier build made only when it needed them; existing ones are left as they are."""
    backend = made(server.url)
    writer = backend.open_writer()
    append(writer, range(3))
    with server.client() as client:
        client.delete(KEYS.sent_before)
        backend.create(1)
        assert client.exists(*KEYS.all()) == 5
    assert append(writer, [1, 3]) == [1, 3]
    writer.close()


def test_what_others_did_by_hand_is_seen(server: RedisServer) -> None:
    """Trimmed by hand is OffsetTrimmed; one removed in between, or written by somebody else, is DataCorrupt."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    append(writer, range(10))
    cursor = reader.cursor(ONE)
    with server.client() as client:
        client.xtrim(KEYS.records, minid=entry_id(2).decode(), approximate=False)
        with pytest.raises(OffsetTrimmed) as trimmed:
            cursor.poll(10, 2**20, 0)
        assert trimmed.value.first_offset == 2
        cursor.seek(Offset(2))
        client.xdel(KEYS.records, entry_id(5).decode())
        assert polled(cursor) == [2, 3, 4]
        with pytest.raises(DataCorrupt, match="offset 5"):
            cursor.poll(10, 2**20, 0)
        cursor.seek(Offset(6))
        assert polled(cursor) == [6, 7, 8, 9]
        client.xdel(KEYS.records, entry_id(9).decode())
        cursor.seek(Offset(8))
        assert polled(cursor) == [8]
        with pytest.raises(DataCorrupt, match=r"offset 9.*comes nothing"):
            cursor.poll(10, 2**20, 5)
        client.xadd(KEYS.records, {"x": "y"})
    assert isinstance(writer.append(ONE, record(10)).exception(10), DataCorrupt)
    writer.close()
    reader.close()


def test_large_records_are_read_in_small_answers(server: RedisServer) -> None:
    """However many records and bytes a poll asks for, it goes on where it stopped, with nothing skipped."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    writer.append_many(ONE, records(range(200))).result(10)
    futures = [writer.append(ONE, sized(number, 300_000)) for number in range(200, 240)]
    assert [future.result(20).offset for future in futures] == list(range(200, 240))
    cursor = reader.cursor(ONE)
    sizes = []
    while batch := cursor.poll(10_000, 1_000_000, 0).records:
        sizes.append(sum(len(one.record) for one in batch))
    assert max(sizes) <= 1_000_000
    assert cursor.poll(1, 1, 0).next_offset == 240
    assert reader.size(SequencerId(0)).data_bytes >= 40 * 300_000
    writer.close()
    reader.close()


def test_closing_ends_a_trim_that_is_under_way(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of its steps, however large the backlog, or at once where the server does not answer."""
    monkeypatch.setattr(reader_module, "_TRIM_RECORDS", 1)
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    writer.append_many(ONE, records(range(20_000))).result(30)
    met: list[BaseException] = []

    def trim() -> None:
        try:
            reader.trim(ONE, Offset(20_000))
        except PenstockError as error:
            met.append(error)

    trimming = threading.Thread(target=trim)
    trimming.start()
    wait_until(lambda: backend_first(server) > 0, what="the trim has begun")
    server.pause()
    reader.close()
    trimming.join(3)
    server.resume()
    assert isinstance(met[0], Closed)
    writer.close()


def backend_first(server: RedisServer) -> int:
    with server.client() as client:
        oldest = client.xrange(KEYS.records, count=1)
        return int(oldest[0][0].partition(b"-")[2]) - 1
