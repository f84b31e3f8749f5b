"""The Redis backend on servers with all kinds of settings, addresses and company; real ones, started by each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.values.errors import Misconfigured, Unavailable
from tests.support import redis_server
from tests.support.buffer_records import numbers, read_all, read_from, record
from tests.support.ports import free_ports
from tests.support.redis_buffer import ONE, append, made, polled
from tests.support.redis_deployments import certificate, tls_options
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until
from writebuffer.contract import Durable
from writebuffer.redis import RedisBackend

Start = Callable[..., RedisServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start("--option", "value", …) a server; all are stopped at the end."""
    if reason := redis_server.why_not():
        pytest.skip(reason)
    servers: list[RedisServer] = []

    def start_one(*options: str, password: str = "") -> RedisServer:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(RedisServer(folder, *options, password=password))
        servers[-1].start()
        return servers[-1]

    yield start_one
    for server in servers:
        server.kill()


@pytest.mark.parametrize(
    ("options", "setting", "grade"),
    [
        (("--appendfsync", "everysec"), "set appendfsync always", "everysec"),
        (("--appendfsync", "no"), "set appendfsync always", "none"),
        (("--appendonly", "no"), "set appendonly yes", "none"),
        (("--no-appendfsync-on-rewrite", "yes"), "set no-appendfsync-on-rewrite no", "everysec"),
    ],
)
def test_a_server_that_gives_less_than_asked_is_refused(
    start: Start, options: tuple[str, ...], setting: str, grade: str
) -> None:
    """The message names the setting to change and the option that accepts less, which then works and says so."""
    server = start(*options)
    with pytest.raises(Misconfigured, match=setting) as refused:
        made(server.url)
    assert f"durability={grade}" in str(refused.value)
    writer = made(f"{server.url}?durability={grade}").open_writer()
    assert append(writer, [0]) == [0]
    assert isinstance(writer, Durable)
    assert "synced to disk before" not in writer.durability()
    writer.close()


def test_an_evicting_server_is_refused_with_any_durability(start: Start) -> None:
    """It would throw away records that nobody has consumed."""
    server = start("--maxmemory-policy", "allkeys-lru")
    with pytest.raises(Misconfigured, match=r"allkeys-lru.*set maxmemory-policy noeviction"):
        made(server.url + "?durability=none")


def test_settings_are_read_again_at_each_connect(start: Start) -> None:
    """A server whose settings fell below what was asked gets no more records; once they are right it does."""
    server = start()
    writer = made(server.url).open_writer()
    assert "synced to disk before each acknowledgement" in writer.durability()
    append(writer, [0])
    with server.client() as client:
        client.config_set("appendfsync", "no")
        client.client_kill_filter(_type="normal", skipme=True)
        error = writer.append(ONE, record(1)).exception(20)
        assert isinstance(error, Unavailable)
        assert "set appendfsync always" in str(error)
        client.config_set("appendfsync", "always")
    assert append(writer, [2])[0] in (1, 2)
    writer.close()


def test_a_server_that_hides_its_settings_says_how_to_go_on(start: Start) -> None:
    """Without the right to call CONFIG nothing is known, so nothing is claimed."""
    server = start()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "shy", "on", ">pw", "~*", "+@all", "-config")
        client.execute_command("ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@read", "+info", "+config|get")
    place = f"127.0.0.1:{server.port}"
    with pytest.raises(Misconfigured, match=r"\+config\|get.*durability=none"):
        made(f"redis://shy:pw@{place}")
    writer = made(f"redis://shy:pw@{place}?durability=none").open_writer()
    assert "CONFIG is forbidden" in writer.durability()
    writer.close()
    with pytest.raises(Misconfigured, match="does not let this user"):
        made(f"redis://weak:pw@{place}")


def test_a_password_is_needed_and_never_shown(start: Start) -> None:
    """None, a wrong and the right one; the messages show neither."""
    server = start(password="s3cr@t")
    place = f"127.0.0.1:{server.port}"
    for user in ("", ":wr0ng@"):
        with pytest.raises(Misconfigured, match="user or password") as refused:
            made(f"redis://{user}{place}")
        assert "wr0ng" not in str(refused.value)
    backend = made(f"redis://:s3cr%40t@{place}")
    writer = backend.open_writer()
    assert append(writer, [0]) == [0]
    writer.close()
    assert len(read_all(backend)) == 1


def test_a_unix_socket_is_another_way_to_the_same_server(start: Start) -> None:
    """With the database as an option."""
    server = start()
    writer = made(f"redis://127.0.0.1:{server.port}/2").open_writer()
    append(writer, [0])
    writer.close()
    assert len(read_all(RedisBackend.from_url(f"redis+unix://{server.socket}?db=2"))) == 1


def test_tls_is_checked(start: Start, tmp_path: Path) -> None:
    """The right certificate authority, none (refused), a missing file (refused), and none asked for."""
    cert, _ = certificate(tmp_path)
    (port,) = free_ports(1)
    start("--tls-port", str(port), *tls_options(tmp_path))
    url = f"rediss://127.0.0.1:{port}"
    backend = made(f"{url}?ssl_ca_certs={cert}")
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.cursor(ONE)
    append(writer, range(3))
    assert polled(cursor, 5) == [0, 1, 2]
    writer.close()
    reader.close()
    with pytest.raises(Misconfigured, match="not trusted"):
        made(url)
    with pytest.raises(Misconfigured, match=r"missing.pem.*does not exist"):
        made(f"{url}?ssl_ca_certs=/missing.pem")
    assert len(read_all(RedisBackend.from_url(f"{url}?ssl_cert_reqs=none"))) == 3


def test_an_absent_server_is_unavailable_and_a_wrong_one_misconfigured(start: Start) -> None:
    """Nobody there may come back; a node of a cluster, and a server that is none, never get right."""
    (port,) = free_ports(1)
    with pytest.raises(Unavailable, match=str(port)) as refused:
        made(f"redis://127.0.0.1:{port}")
    assert refused.value.written == "no"
    (bus_port,) = free_ports(1)
    node = start("--cluster-enabled", "yes", "--cluster-port", str(bus_port))
    with pytest.raises(Misconfigured, match=r"redis\+cluster://"):
        made(node.url)
    with pytest.raises(Misconfigured, match="is no cluster"):
        made(f"redis+cluster://127.0.0.1:{start().port}")


def test_replicas_must_have_a_record_before_it_counts(start: Start) -> None:
    """Too few at connect and later are Unavailable, `unknown` for what is on fewer; a replica itself is refused."""
    server = start()
    url = f"{server.url}?replicas=1&timeout_s=2"
    with pytest.raises(Unavailable, match="0 of the 1 replicas"):
        made(url)
    replica = start("--replicaof", f"127.0.0.1 {server.port}")
    with server.client() as client:
        wait_until(lambda: client.info("replication")["connected_slaves"] == 1, what="the replica is connected")
        wait_until(lambda: client.info("replication")["slave0"]["state"] == "online", what="the replica is online")
    backend = made(url)
    writer, reader = backend.open_writer(), backend.open_reader()
    assert "1 replicas have it" in writer.durability()
    assert append(writer, range(5)) == list(range(5))
    cursor = reader.cursor(ONE)
    assert polled(cursor, 5) == list(range(5))
    with pytest.raises(Unavailable, match=f"replica of 127.0.0.1:{server.port}"):
        RedisBackend.from_url(replica.url).open_reader()
    replica.pause()
    error = writer.append(ONE, record(5)).exception(10)
    assert isinstance(error, Unavailable)
    assert error.written == "unknown"
    with pytest.raises(Unavailable, match="0 of 1 replicas"):
        cursor.poll(10, 2**20, 5)
    replica.resume()
    assert append(writer, [5, 6]) == [5, 6]
    assert numbers(one for _, one in read_from(cursor, 2)) == [5, 6]
    writer.close()
    reader.close()
