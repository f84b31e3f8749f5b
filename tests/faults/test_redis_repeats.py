"""The Redis backend over lost answers and records sent twice: neither a gap, nor a second record, nor another order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.values.errors import Unavailable
from tests.support.buffer_records import numbers, read_all, record, records
from tests.support.cut_proxy import CutProxy
from tests.support.redis_buffer import KEYS, ONE, append, made, own_server
from tests.support.redis_server import RedisServer
from writebuffer.redis import RedisBackend, commands, scripts
from writebuffer.redis.link import Refused
from writebuffer.redis.servers import Servers
from writebuffer.redis.url import parse


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with own_server(tmp_path) as server:
        yield server


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
    """Batches after the one in doubt are sent again after it."""
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


def test_sequences_at_the_end_of_their_range_are_distinguished(server: RedisServer) -> None:
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
    small = scripts.Script(scripts.APPEND.names, scripts.APPEND.body.replace("SENT_RUNS = 16384", "SENT_RUNS = 4"))
    monkeypatch.setattr(scripts, "APPEND", small)
    for module in ("appender", "commands", "reconnecting"):
        monkeypatch.setattr(f"writebuffer.redis.{module}.APPEND", small)
    writer = made(f"redis://127.0.0.1:{proxy.port}").open_writer()
    other = RedisBackend.from_url(server.url).open_writer()
    append(writer, [0])
    proxy.swallow_answer_to(record(1).payload)
    proxy.admitting.clear()
    doubtful = writer.append(ONE, record(1))
    assert proxy.cut.wait(10)
    append(other, range(1000, 1040, 2))
    with server.client() as client:
        assert client.zcard(KEYS.sent) + client.zcard(KEYS.sent_before) <= 2 * (4 + 1)
    proxy.admitting.set()
    error = doubtful.exception(20)
    assert isinstance(error, Unavailable)
    assert error.written == "unknown"
    assert "remembers only records from" in str(error)
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


def test_a_batch_never_gets_in_front_of_the_one_sent_before_it(server: RedisServer) -> None:
    """The script refuses it where the one before it is not stored, and changes nothing; after it, it is appended."""
    backend = made(server.url)
    with server.client() as client:
        identity = client.hget(KEYS.state, "identity")
        client.script_load(scripts.APPEND.text)
        link = Servers(parse(server.url)).connect(KEYS.records)

        def send(number: int, previous: bytes) -> list[int]:
            runs = commands.Runs.of([record(number)])
            link.send(commands.append_command(KEYS, identity, 0, None, previous, runs, [record(number)]))
            answer: list[int] = link.receive()
            return answer

        before = commands.Runs.of([record(7)]).last
        with pytest.raises(Refused, match="HELD"):
            send(8, before)
        assert read_all(backend) == []
        assert send(7, b"") == [1, 0, 1]
        assert send(8, before) == [2, 1, 1]
        link.close()
