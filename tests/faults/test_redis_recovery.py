"""The Redis backend over lost answers, killed and full servers, and servers that came back as something else."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import DataCorrupt, Forked, PenstockError, Unavailable
from common.ids import Offset, SequencerId
from tests.support import redis_server
from tests.support.buffer_records import numbers, read_all, read_from, record, records
from tests.support.cut_proxy import CutProxy
from tests.support.redis_buffer import ONE, append, made, polled
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until
from writebuffer.contract import Cursor
from writebuffer.errors import OffsetTrimmed
from writebuffer.record import Record
from writebuffer.redis import RedisBackend, scripts
from writebuffer.redis.keys import Keys, entry_id
from writebuffer.redis.link import Refused
from writebuffer.redis.servers import Servers
from writebuffer.redis.url import parse

KEYS = Keys.of("penstock", ONE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    if reason := redis_server.why_not():
        pytest.skip(reason)
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[CutProxy]:
    proxy = CutProxy(server.port)
    yield proxy
    proxy.close()


def test_a_lost_acknowledgement_makes_neither_a_gap_nor_a_second_record(proxy: CutProxy, server: RedisServer) -> None:
    """The batch is sent again over a new connection, and its future resolves to where the first one put it."""
    writer = made(f"redis://127.0.0.1:{proxy.port}").open_writer()
    assert append(writer, [0]) == [0]
    for number in range(1, 6):
        proxy.swallow_answer_to(record(number).payload)
        assert append(writer, [number]) == [number]
        assert proxy.cut.is_set()
    writer.close()
    assert numbers(one for _, one in read_all(RedisBackend.from_url(server.url))) == list(range(6))


def test_many_in_flight_keep_their_order_over_a_lost_answer(proxy: CutProxy, server: RedisServer) -> None:
    """Batches behind the one in doubt are sent again behind it."""
    writer = made(f"redis://127.0.0.1:{proxy.port}").open_writer()
    proxy.swallow_answer_to(record(4000).payload)
    futures = [writer.append(ONE, record(number)) for number in range(10_000)]
    assert [future.result(30).offset for future in futures] == list(range(10_000))
    writer.close()
    assert proxy.cut.is_set()
    assert numbers(one for _, one in read_all(RedisBackend.from_url(server.url))) == list(range(10_000))


def test_a_repeat_is_found_after_later_ones_and_a_late_one_is_appended(server: RedisServer) -> None:
    """k sent again after k + 1 is answered with its offset; k that comes first after k + 1 is never lost."""
    writer = made(server.url).open_writer()
    assert append(writer, [0, 1, 2, 1, 0]) == [0, 1, 2, 1, 0]
    assert append(writer, [9, 8, 7, 8, 9, 7]) == [3, 4, 5, 4, 3, 5]
    span = writer.append_many(ONE, records([2, 3, 4, 7, 8, 5])).result(10)
    assert (span.first.offset, span.last.offset) == (2, 8)
    writer.close()
    found = numbers(one for _, one in read_all(RedisBackend.from_url(server.url)))
    assert found == [0, 1, 2, 9, 8, 7, 3, 4, 5]


def test_sequences_at_the_end_of_their_range_are_told_apart(server: RedisServer) -> None:
    """64 bits are compared exactly, also over the edges of 32 and 53."""
    edges = [2**32 - 1, 2**32, 2**53, 2**53 + 1, 2**64 - 2, 2**64 - 1]
    writer = made(server.url).open_writer()

    def offsets(sequences: list[int]) -> list[int]:
        return [writer.append(ONE, record(number, time_ns=0)).result(10).offset for number in sequences]

    assert offsets(edges) == list(range(6))
    span = writer.append_many(ONE, [record(number, time_ns=0) for number in edges]).result(10)
    assert (span.first.offset, span.last.offset) == (0, 5)
    assert offsets([2**53 + 2, 2**64 - 3, *edges]) == [6, 7, *range(6)]
    writer.close()


def test_the_memory_of_sequences_is_bounded_and_says_when_it_ends(
    proxy: CutProxy, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps at most twice SENT_RUNS runs; a batch in doubt from before them is unknown, not appended twice."""
    small = scripts.Script(scripts.APPEND.text.replace(b"SENT_RUNS = 16384", b"SENT_RUNS = 4"))
    monkeypatch.setattr(scripts, "APPEND", small)
    monkeypatch.setattr("writebuffer.redis.appender.APPEND", small)
    writer = made(f"redis://127.0.0.1:{proxy.port}").open_writer()
    other = RedisBackend.from_url(server.url).open_writer()
    append(writer, [0])
    proxy.swallow_answer_to(record(1).payload)
    proxy.admitting.clear()
    doubtful = writer.append(ONE, record(1))
    assert proxy.cut.wait(10)
    append(other, range(1000, 1040, 2))
    with server.client() as client:
        assert client.zcard(KEYS.sent) + client.zcard(KEYS.sent_before) <= 8
    proxy.admitting.set()
    error = doubtful.exception(20)
    assert isinstance(error, Unavailable)
    assert error.written == "unknown"
    assert "remembers only what stands from" in str(error)
    assert append(writer, [2]) == [22]
    writer.close()
    other.close()
    assert len(read_all(RedisBackend.from_url(server.url))) == 23


def test_several_writers_share_a_stream(server: RedisServer) -> None:
    """Offsets are dense over all of them, and each one's order is kept."""
    backend = made(server.url)
    writers = [backend.open_writer() for _ in range(3)]
    futures = [writers[i % 3].append(ONE, record(100_000 * (i % 3) + i)) for i in range(900)]
    offsets = [future.result(20).offset for future in futures]
    assert sorted(offsets) == list(range(900))
    assert all(offsets[w::3] == sorted(offsets[w::3]) for w in range(3))
    for writer in writers:
        writer.close()


def test_a_server_killed_under_load_loses_nothing_acknowledged(server: RedisServer) -> None:
    """Appends wait for its return; all are read once, in order, and a cursor goes on by itself."""
    writer, cursor = made(server.url + "?timeout_s=30").open_writer(), RedisBackend.from_url(server.url).open_reader()
    follower = cursor.reader(ONE)
    futures = []
    for round_ in range(5):
        futures += [writer.append(ONE, record(number)) for number in range(1000 * round_, 1000 * round_ + 1000)]
        futures[-900].result(30)
        server.kill()
        server.start()
    assert [future.result(30).offset for future in futures] == list(range(5000))
    with pytest.raises(Unavailable):
        follower.poll(10, 2**20, 5)
    assert numbers(one for _, one in read_from(follower, 5000)) == list(range(5000))
    writer.close()
    cursor.close()


def test_a_dead_server_is_said_in_time(server: RedisServer) -> None:
    """A paused server's appends fail at their timeout with `unknown`, polls before ten seconds; both go on later."""
    backend = made(server.url + "?timeout_s=1")
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.reader(ONE)
    append(writer, [0])
    server.pause()
    error = writer.append(ONE, record(1)).exception(15)
    assert isinstance(error, Unavailable)
    assert error.written == "unknown"
    assert "within 1 s" in str(error)
    server.resume()
    assert append(writer, [1, 2])[0] >= 1
    assert numbers(one for _, one in read_from(cursor, 3)) == [0, 1, 2]
    server.kill()
    with pytest.raises(Unavailable):
        cursor.poll(10, 2**20, 30)
    error = writer.append(ONE, record(3)).exception(15)
    assert isinstance(error, Unavailable)
    server.start()
    assert append(writer, [4]) == [3] or error.written == "unknown"
    writer.close()
    reader.close()


def test_a_full_memory_refuses_and_goes_on_once_there_is_room(server: RedisServer) -> None:
    """`written: no`, since the script is refused as a whole; trimming makes room."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    with server.client() as client:
        client.config_set("maxmemory", "20mb")
    stands = 0
    error: BaseException | None = None
    while error is None and stands < 100:
        error = writer.append(ONE, record_of_bytes_numbered(stands, 900_000)).exception(10)
        stands += error is None
    assert isinstance(error, Unavailable)
    assert error.written == "no"
    assert "maxmemory" in str(error)
    assert reader.offsets(ONE).next_offset == stands
    assert reader.trim(ONE, Offset(stands)) == stands
    assert append(writer, [1000]) == [stands]
    writer.close()
    reader.close()


def record_of_bytes_numbered(number: int, total_bytes: int) -> Record:
    block = record(number).header_block
    return Record(block, bytes(total_bytes - len(block)))


def test_flushed_scripts_are_loaded_again(server: RedisServer) -> None:
    """SCRIPT FLUSH between and under appends goes unnoticed, order included."""
    backend = made(server.url)
    writer = backend.open_writer()
    futures = []
    with server.client() as client:
        for first in range(0, 5000, 500):
            futures += [writer.append(ONE, record(number)) for number in range(first, first + 500)]
            client.script_flush()
    assert [future.result(20).offset for future in futures] == list(range(5000))
    writer.close()
    assert numbers(one for _, one in read_all(backend)) == list(range(5000))


def test_a_restored_older_server_is_forked_to_writer_and_cursor(server: RedisServer, tmp_path: Path) -> None:
    """Acknowledged records are gone: neither may go on as if they had never been."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.reader(ONE)
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
    cursor = reader.reader(ONE)
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
    cursor = reader.reader(ONE)
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
    """Offsets alone would not tell: it goes further than the old one did."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.reader(ONE)
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


def test_a_batch_never_gets_in_front_of_the_one_sent_before_it(server: RedisServer) -> None:
    """The script refuses it where the one ahead does not stand, and changes nothing; behind it, it is appended."""
    backend = made(server.url)
    with server.client() as client:
        identity = client.hget(KEYS.state, "identity")
        client.script_load(scripts.APPEND.text)
        link = Servers(parse(server.url)).connect(KEYS.records)

        def send(number: int, behind: bytes) -> list[int]:
            runs = scripts.Runs.of([record(number)])
            link.send(scripts.append_command(KEYS, identity, 0, None, behind, runs, [record(number)]))
            answer: list[int] = link.receive()
            return answer

        ahead = scripts.Runs.of([record(7)]).last
        with pytest.raises(Refused, match="HELD"):
            send(8, ahead)
        assert read_all(backend) == []
        assert send(7, b"") == [1, 0, 1]
        assert send(8, ahead) == [2, 1, 1]
        link.close()


def test_what_others_did_by_hand_is_seen(server: RedisServer) -> None:
    """Trimmed by hand is OffsetTrimmed; one removed in between, or written by somebody else, is DataCorrupt."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    append(writer, range(10))
    cursor = reader.reader(ONE)
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
        client.xadd(KEYS.records, {"x": "y"})
    assert isinstance(writer.append(ONE, record(10)).exception(10), DataCorrupt)
    writer.close()
    reader.close()


def test_large_records_are_read_in_small_answers(server: RedisServer) -> None:
    """However many records and bytes a poll asks for, it goes on where it stopped, with nothing skipped."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    writer.append_many(ONE, records(range(200))).result(10)
    futures = [writer.append(ONE, record_of_bytes_numbered(number, 300_000)) for number in range(200, 240)]
    assert [future.result(20).offset for future in futures] == list(range(200, 240))
    cursor = reader.reader(ONE)
    sizes = []
    while batch := cursor.poll(10_000, 1_000_000, 0).records:
        sizes.append(sum(len(one.record) for one in batch))
    assert max(sizes) <= 1_000_000
    assert cursor.poll(1, 1, 0).next_offset == 240
    assert reader.size(SequencerId(0)).data_bytes >= 40 * 300_000
    writer.close()
    reader.close()
