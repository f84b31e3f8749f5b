"""The Redis backend over killed, paused, full and demoted servers: what is said, how soon, and how it goes on."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_from, record
from tests.support.ports import free_ports
from tests.support.redis_buffer import (
    ONE,
    append,
    following,
    made,
    own_server,
    polled,
    sized,
    until_appended,
    wait_for_replica,
)
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until
from writebuffer.errors import WriterDied
from writebuffer.redis import RedisBackend
from writebuffer.redis.appender import Appender
from writebuffer.redis.url import parse

SLACK_S = 3.0
"""What a busy machine may add to a time that is promised."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with own_server(tmp_path) as server:
        yield server


def test_a_server_killed_under_load_loses_nothing_acknowledged(server: RedisServer) -> None:
    """Appends wait for its return; all are read once, in order, and a cursor goes on by itself."""
    writer, cursor = made(server.url + "?timeout_s=30").open_writer(), RedisBackend.from_url(server.url).open_reader()
    follower = cursor.cursor(ONE)
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
    """A paused or killed server's appends fail at their timeout, polls before ten seconds; both go on later."""
    backend = made(server.url + "?timeout_s=1")
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.cursor(ONE)
    append(writer, [0])
    server.pause()
    for number in (1, 2):  # the first one's question is under way, the second one's may be a connect
        started_s = time.monotonic()
        error = writer.append(ONE, record(number)).exception(15)
        assert 0.9 < time.monotonic() - started_s < 1 + SLACK_S
        assert isinstance(error, Unavailable)
        assert error.written == "unknown" or number > 1
        assert "within 1 s" in str(error)
    server.resume()
    assert append(writer, [1, 2])[0] >= 1
    assert numbers(one for _, one in read_from(cursor, 3)) == [0, 1, 2]
    server.kill()
    with pytest.raises(Unavailable):
        cursor.poll(10, 2**20, 30)
    error = writer.append(ONE, record(3)).exception(1 + SLACK_S)
    assert isinstance(error, Unavailable)
    server.start()
    assert append(writer, [4]) == [3] or error.written == "unknown"
    writer.close()
    reader.close()


def test_a_hanging_connect_delays_neither_failures_nor_closing(server: RedisServer) -> None:
    """A server accepts connections and never answers: appends fail, and close still returns by timeout_s."""
    backend = made(server.url + "?timeout_s=1", sequencers=2)
    writer = backend.open_writer()
    server.kill()
    server.start()
    server.pause()
    try:
        doomed = [writer.append(SequencerId(one % 2), record(one)) for one in range(6)]
        started_s = time.monotonic()
        for future in doomed:
            assert isinstance(future.exception(1 + SLACK_S), Unavailable)
        last = writer.append(ONE, record(7))
        writer.close()
        assert time.monotonic() - started_s < 1 + 1 + 1 + SLACK_S
        assert isinstance(last.exception(0), Unavailable)
    finally:
        server.resume()


def test_a_full_memory_refuses_and_goes_on_once_there_is_room(server: RedisServer) -> None:
    """`written: no`, since the script is refused as a whole; trimming makes room."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    with server.client() as client:
        client.config_set("maxmemory", "20mb")
    stored = 0
    error: BaseException | None = None
    while error is None and stored < 100:
        error = writer.append(ONE, sized(stored, 900_000)).exception(10)
        stored += error is None
    assert isinstance(error, Unavailable)
    assert error.written == "no"
    assert "maxmemory" in str(error)
    assert reader.offsets(ONE).next_offset == stored
    assert reader.trim(ONE, Offset(stored)) == stored
    assert append(writer, [1000]) == [stored]
    writer.close()
    reader.close()


def test_a_full_server_with_replicas_is_read_and_trimmed(server: RedisServer, tmp_path: Path) -> None:
    """Confirming what is read needs no memory: a reader takes all of it, and trims, and appends go on."""
    with own_server(tmp_path / "replica", *following(server)) as replica:
        wait_for_replica(server)
        backend = made(server.url + "?replicas=1&timeout_s=5")
        writer, reader = backend.open_writer(), backend.open_reader()
        assert append(writer, range(20)) == list(range(20))
        cursor = reader.cursor(ONE)
        with server.client() as client:
            client.config_set("maxmemory", 1)
            error = writer.append(ONE, record(20)).exception(10)
            assert isinstance(error, Unavailable)
            assert "maxmemory" in str(error)
            assert numbers(one for _, one in read_from(cursor, 20)) == list(range(20))
            assert reader.trim(ONE, Offset(20)) == 20
            client.config_set("maxmemory", 0)
        assert append(writer, [20]) == [20]
        writer.close()
        reader.close()
        replica.kill()


def test_a_reader_leaves_a_master_that_was_demoted_by_hand(server: RedisServer) -> None:
    """It goes on answering reads with what may be old: cursors and questions say so within seconds."""
    backend = made(server.url)
    writer, reader = backend.open_writer(), backend.open_reader()
    append(writer, range(5))
    cursor = reader.cursor(ONE)
    assert polled(cursor) == list(range(5))
    with server.client() as client:
        client.replicaof("127.0.0.1", free_ports(1)[0])

        def said(ask: Callable[[], object]) -> str:
            try:
                ask()
            except Unavailable as error:
                return error.message
            return ""

        for ask in (lambda: reader.offsets(ONE), lambda: cursor.poll(10, 2**20, 0)):
            wait_until(lambda ask=ask: "is a replica of" in said(ask), what="the reader says so")  # type: ignore[misc]
        client.replicaof("NO", "ONE")
    assert reader.offsets(ONE).next_offset == 5
    assert append(writer, [5]) == [5]
    assert polled(cursor, 5) == [5]
    writer.close()
    reader.close()


def test_a_writer_outlives_the_demotion_of_its_master(server: RedisServer, tmp_path: Path) -> None:
    """Also one that waits for replicas: what a replica answers to WAIT is no corruption, and it goes on afterwards."""
    with own_server(tmp_path / "replica", *following(server)):
        wait_for_replica(server)
        writer = made(server.url + "?replicas=1&timeout_s=2").open_writer()
        append(writer, range(3))
        with server.client() as client:
            client.replicaof("127.0.0.1", free_ports(1)[0])
            error = writer.append(ONE, record(3)).exception(10)
            assert isinstance(error, Unavailable)
            assert error.written == "no"
            client.replicaof("NO", "ONE")
        wait_for_replica(server)
        assert until_appended(writer, 3) == 3
        writer.close()


def test_the_death_of_a_writers_thread_is_logged(server: RedisServer) -> None:
    """Once, with its cause, and not the end of one that was closed."""
    made(server.url)
    logged = CapturingLogger()
    backend = RedisBackend(parse(server.url), logger=logged)
    writer, other = backend.open_writer(), backend.open_writer()
    cause = RuntimeError("broken on purpose")
    backend.break_writer(writer, cause)
    assert isinstance(writer.append(ONE, record(0)).exception(10), WriterDied)
    writer.close()
    other.close()
    (line,) = [call for call in logged.calls if call.method_name == "error"]
    assert line.kwargs["exc_info"] is cause


def test_a_writer_without_its_deadlines_is_dead(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the thread that times appends out dies, every call raises that, and none hangs."""

    def broken(_: Appender) -> float:
        raise RuntimeError("broken on purpose")

    writer = made(server.url + "?timeout_s=0.1").open_writer()
    monkeypatch.setattr(Appender, "expire", broken)
    wait_until(lambda: isinstance(writer.append(ONE, record(0)).exception(5), WriterDied), what="it is dead")
    writer.close()


def test_an_outage_is_logged_once(server: RedisServer) -> None:
    """A line when it begins and one when a batch gets through again, however often it was tried in between."""
    made(server.url)
    logged = CapturingLogger()
    writer = RedisBackend(parse(server.url + "?timeout_s=20"), logger=logged).open_writer()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-xadd")
        refused = writer.append(ONE, record(0)).exception(10)
        assert isinstance(refused, Unavailable)
        assert "does not let this user" in refused.message
        client.execute_command("ACL", "SETUSER", "default", "+xadd")
    append(writer, [1])
    server.kill()
    waits = writer.append(ONE, record(2))
    wait_until(lambda: len(logged.calls) == 1, what="the outage is logged")
    time.sleep(0.5)
    server.start()
    assert waits.result(20).offset == 1
    writer.close()
    assert [call.args[0] for call in logged.calls] == ["connection lost", "connected again"]
