"""The Redis backend behind sentinels and in clusters: failovers, moving slots, and servers that do not answer."""

import itertools
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from common.values.errors import Forked, Misconfigured, Unavailable
from common.values.ids import SequencerId
from tests.support import redis_server
from tests.support.buffer_records import numbers, read_all, read_from, record
from tests.support.ports import free_ports
from tests.support.redis_buffer import KEYS, ONE, append, made, own_server, polled, until_appended
from tests.support.redis_deployments import (
    SERVICE,
    RedisSentinel,
    SlotMove,
    Watched,
    certificate,
    cluster,
    joined_replica,
    tls_options,
)
from tests.support.wait import wait_until
from writebuffer.redis import RedisBackend
from writebuffer.redis.url import parse

pytestmark = pytest.mark.skipif(redis_server.why_not() is not None, reason=str(redis_server.why_not()))


def test_a_sentinel_leads_to_the_new_master(tmp_path: Path) -> None:
    """After a failover writer and cursor go on by themselves, with every acknowledged record once."""
    watched = Watched(tmp_path)
    watched.start()
    try:
        backend = made(watched.url + "?replicas=1&timeout_s=1", sequencers=1)
        writer, reader = backend.open_writer(), backend.open_reader()
        cursor = reader.cursor(ONE)
        assert append(writer, range(20)) == list(range(20))
        assert polled(cursor, 5) == list(range(20))
        writer.close()
        alone = RedisBackend.from_url(watched.url + "?timeout_s=30").open_writer()
        watched.master.kill()
        assert append(alone, range(20, 40)) == list(range(20, 40))
        alone.close()
        follower = RedisBackend.from_url(watched.url).open_reader()
        assert numbers(one for _, one in read_from(follower.cursor(ONE), 40)) == list(range(40))
        follower.close()
        reader.close()
    finally:
        watched.stop()


def test_a_failover_that_lost_records_is_forked(tmp_path: Path) -> None:
    """The replica was cut off before the newest acknowledged ones; neither writer nor cursor goes on over the loss."""
    watched = Watched(tmp_path)
    watched.start()
    try:
        backend = made(watched.url + "?timeout_s=30")
        writer, reader = backend.open_writer(), backend.open_reader()
        cursor = reader.cursor(ONE)
        append(writer, range(10))
        with watched.replica.client() as client:
            wait_until(lambda: client.hget(KEYS.state, "next") == b"10", what="ten are replicated")
            (nobody,) = free_ports(1)
            client.replicaof("127.0.0.1", nobody)
        append(writer, range(10, 20))
        assert polled(cursor, 5) == list(range(20))
        watched.master.kill()
        assert isinstance(writer.append(ONE, record(20)).exception(40), Forked)
        raised: list[Exception] = []
        for _ in itertools.takewhile(lambda _: not raised, range(100)):
            with suppress(Unavailable):
                try:
                    cursor.poll(10, 2**20, 0.2)
                except Forked as error:
                    raised.append(error)
        assert raised
        writer.close()
        reader.close()
    finally:
        watched.stop()


@pytest.mark.parametrize("secure", [False, True])
def test_a_sentinel_may_ask_for_a_password_and_tls(tmp_path: Path, secure: bool) -> None:
    """Its password is an option of its own, asked for by name; with ssl both it and the master are spoken to by TLS."""
    cert, _ = certificate(tmp_path)
    (tls_port,) = free_ports(1)
    with own_server(tmp_path / "master", "--tls-port", str(tls_port), *tls_options(tmp_path)) as master:
        (tmp_path / "sentinel").mkdir()
        tls = {"master_port": tls_port, "tls": tmp_path} if secure else {"master_port": master.port}
        sentinel = RedisSentinel(tmp_path / "sentinel", password="s3cret", **tls)  # type: ignore[arg-type]
        sentinel.start()
        options = f"ssl=true&ssl_ca_certs={cert}&" if secure else ""
        try:
            for wrong in ("", "sentinel_password=wr0ng"):
                with pytest.raises(Misconfigured, match="asks for sentinel_password") as refused:
                    made(f"{sentinel.url}?{options}{wrong}".rstrip("?&"))
                assert "wr0ng" not in str(refused.value)
            backend = made(f"{sentinel.url}?{options}sentinel_password=s3cret")
            writer = backend.open_writer()
            assert append(writer, range(3)) == [0, 1, 2]
            writer.close()
            assert len(read_all(backend)) == 3
        finally:
            sentinel.kill()


def test_silent_sentinels_are_asked_one_after_the_other_and_named(tmp_path: Path) -> None:
    """A second each; the message has the service and the addresses and nothing else. One that answers is enough."""
    with ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        silent = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
        started_s = time.monotonic()
        with pytest.raises(Unavailable) as refused:
            made(f"redis+sentinel://{','.join(silent)}/{SERVICE}")
        assert time.monotonic() - started_s < 2 * 1 + 4
        assert refused.value.message == f"sentinels of service '{SERVICE}': nobody answers at {', '.join(silent)}"
        master = held.enter_context(own_server(tmp_path / "master"))
        (tmp_path / "sentinel").mkdir()
        sentinel = RedisSentinel(tmp_path / "sentinel", master.port)
        sentinel.start()
        held.callback(sentinel.kill)
        writer = made(f"redis+sentinel://{silent[0]},127.0.0.1:{sentinel.port}/{SERVICE}").open_writer()
        assert append(writer, [0]) == [0]
        writer.close()
        with pytest.raises(Unavailable, match="knows no master of service 'other'"):
            made(f"redis+sentinel://127.0.0.1:{sentinel.port}/other")
        with pytest.raises(Misconfigured, match="is no sentinel"):
            made(f"redis+sentinel://127.0.0.1:{master.port}/{SERVICE}")


def test_a_cluster_keeps_each_sequencer_on_one_node(tmp_path: Path) -> None:
    """Sequencers spread over the nodes, with any of them in the URL; nothing is left after a deletion."""
    with cluster(tmp_path) as servers:
        backend = made(f"redis+cluster://127.0.0.1:{servers[1].port}", sequencers=8)
        writer, reader = backend.open_writer(), backend.open_reader()
        for sequencer in range(8):
            assert append(writer, range(5), sequencer) == list(range(5))
            assert polled(reader.cursor(SequencerId(sequencer)), 5) == list(range(5))
        streams = []
        for server in servers:
            with server.client() as client:
                streams.append(len(client.keys("*:records")))
        assert sum(streams) == 8
        assert sum(count > 0 for count in streams) > 1
        writer.close()
        reader.close()
        backend.delete()
        for server in servers:
            with server.client() as client:
                assert client.dbsize() == 0


def test_appends_go_on_while_a_slot_moves_and_after(tmp_path: Path) -> None:
    """Up to the first key that is moved everything works; then appends fail in time, with two lines of log in all."""
    with cluster(tmp_path) as servers:
        url = f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in servers)}"
        made(url)
        logged = CapturingLogger()
        backend = RedisBackend(parse(url + "?timeout_s=1"), logger=logged)
        writer, reader = backend.open_writer(), backend.open_reader()
        cursor = reader.cursor(ONE)
        moving = SlotMove(servers, KEYS.records)
        moving.begin()
        assert append(writer, range(5)) == list(range(5))
        assert polled(cursor, 5) == list(range(5))
        assert reader.offsets(ONE).next_offset == 5
        cursor.seek_to_time(3)
        assert polled(cursor, 5) == [3, 4]
        assert len(read_all(RedisBackend.from_url(url))) == 5
        moving.move(KEYS.records)
        started_s = time.monotonic()
        for future in [writer.append(ONE, record(number)) for number in range(5, 8)]:
            error = future.exception(5)
            assert isinstance(error, Unavailable)
            assert error.written == "no"
        assert time.monotonic() - started_s < 1 + 4
        moving.move(*(key for key in KEYS.all() if key != KEYS.records))
        moving.end()
        assert until_appended(writer, 5) == 5
        assert append(writer, [6]) == [6]
        assert numbers(one for _, one in read_from(RedisBackend.from_url(url).open_reader().cursor(ONE), 7)) == [
            *range(7)
        ]
        assert [call.args[0] for call in logged.calls] == ["connection lost", "connected again"]
        writer.close()
        reader.close()


def test_a_cluster_goes_on_at_the_replica_of_a_killed_node(tmp_path: Path) -> None:
    """Writer and cursor find the new master of their slot by themselves; every acknowledged record is there once."""
    with cluster(tmp_path) as servers, ExitStack() as joined:
        url = f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in servers)}?timeout_s=30"
        backend = made(url)
        master = servers[SlotMove(servers, KEYS.records).owner]
        replica = joined.enter_context(joined_replica(servers, master, tmp_path / "replica"))
        writer, reader = backend.open_writer(), backend.open_reader()
        cursor = reader.cursor(ONE)
        assert append(writer, range(5)) == list(range(5))
        assert polled(cursor, 5) == list(range(5))
        with master.client() as client:
            client.hset(KEYS.state, "bytes", client.hget(KEYS.state, "bytes") or 0)  # a write to wait for
            assert client.wait(1, 10_000) == 1
        with replica.client() as client:
            master.kill()
            client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
        assert append(writer, range(5, 10)) == list(range(5, 10))
        with suppress(Unavailable):
            cursor.poll(1, 1, 0)
        assert numbers(one for _, one in read_all(backend)) == list(range(10))
        writer.close()
        reader.close()
