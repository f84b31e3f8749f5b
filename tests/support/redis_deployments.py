"""Redis as it is deployed: a master with its replica under a sentinel, a cluster of three, and TLS."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from redis.crc import key_slot

from tests.support.ports import free_ports
from tests.support.redis_buffer import following
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.wait import wait_until

SERVICE = "main"


class Watched:
    """A master and a replica that one sentinel watches. `url` names the sentinel."""

    def __init__(self, folder: Path) -> None:
        for name in ("one", "two", "sentinel"):
            (folder / name).mkdir()
        self.master = RedisServer(folder / "one")
        self.replica = RedisServer(folder / "two", *following(self.master))
        self._sentinel = RedisSentinel(folder / "sentinel", self.master.port)
        self.url = self._sentinel.url

    def start(self) -> None:
        """Returns once the sentinel knows a replica that follows."""
        self.master.start()
        self.replica.start()
        with self.replica.client() as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", what="the replica follows")
        self._sentinel.start()
        wait_until(self._sentinel.replicas, holds=lambda count: count == 1, what="the sentinel knows the replica")

    def stop(self) -> None:
        self._sentinel.kill()
        self.replica.kill()
        self.master.kill()


class RedisSentinel:
    """A sentinel on a free port of loopback that watches a master as SERVICE."""

    def __init__(
        self, folder: Path, master_port: int, *settings: str, password: str = "", tls: Path | None = None
    ) -> None:
        """settings: more lines for its file. tls: its certificate's folder; then it, and the master, speak only TLS."""
        (self.port,) = free_ports(1)
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/{SERVICE}"
        self._password = password
        self._ca = str(tls / "cert.pem") if tls else None
        lines = [
            f"{'tls-port' if tls else 'port'} {self.port}",
            "bind 127.0.0.1",
            f"sentinel monitor {SERVICE} 127.0.0.1 {master_port} 1",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        if password:
            lines.append(f"requirepass {password}")
        if tls:
            lines += ["port 0", "tls-replication yes", *(" ".join(pair) for pair in tls_settings(tls))]
        (folder / "sentinel.conf").write_text("\n".join([*lines, *settings]) + "\n")
        self._process = ServerProcess("sentinel", ["redis-server", "sentinel.conf", "--sentinel"], folder)

    def start(self) -> None:
        """Returns once it answers."""
        self._process.start()
        wait_until(self.replicas, holds=lambda count: count >= 0, what="the sentinel answers")

    def kill(self) -> None:
        self._process.kill()

    def replicas(self) -> int:
        """How many it knows; -1 while it does not answer."""
        self._process.check_alive()
        secure = {"ssl": True, "ssl_ca_certs": self._ca} if self._ca else {}
        try:
            with redis.Redis(port=self.port, password=self._password or None, host="127.0.0.1", **secure) as client:
                return len(client.execute_command("SENTINEL", "REPLICAS", SERVICE))
        except redis.RedisError:
            return -1


@contextmanager
def cluster(folder: Path, nodes: int = 3) -> Iterator[list[RedisServer]]:
    """Masters that share the slots evenly; ready for writes."""
    with ExitStack() as running:
        servers: list[RedisServer] = []
        for number in range(nodes):
            (folder / str(number)).mkdir()
            server = RedisServer(folder / str(number), *_cluster_options())
            running.callback(server.kill)
            server.start()
            servers.append(server)
            with server.client() as client:
                first, last = 16384 * number // nodes, 16384 * (number + 1) // nodes - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if number:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, _bus(servers[0]))
        for server in servers:
            wait_until(lambda server=server: _is_whole(server, nodes), what="the cluster is whole")  # type: ignore[misc]
        yield servers


@contextmanager
def joined_replica(servers: list[RedisServer], master: RedisServer, folder: Path) -> Iterator[RedisServer]:
    """One more node of the cluster, which follows `master`."""
    folder.mkdir()
    replica = RedisServer(folder, *_cluster_options())
    replica.start()
    try:
        _follow(replica, servers[0], master)
        yield replica
    finally:
        replica.kill()


def _follow(replica: RedisServer, met: RedisServer, master: RedisServer) -> None:
    with master.client() as client:
        master_id = client.execute_command("CLUSTER", "MYID").decode()

    def follows() -> bool:
        try:
            return bool(client.execute_command("CLUSTER", "REPLICATE", master_id))
        except redis.ResponseError:  # it does not know that node yet
            return False

    with replica.client() as client:
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", met.port, _bus(met))
        wait_until(follows, what="the replica knows its master")
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", what="the replica follows")
        # Its claim to be master counts only with an epoch above its master's, which it must have heard of.
        wait_until(lambda: _epochs(client), holds=lambda seen: 0 not in seen, what="the replica knows every epoch")


class SlotMove:
    """The move of one slot to another node of a cluster, step by step."""

    def __init__(self, servers: list[RedisServer], key: bytes) -> None:
        self._clients = [server.client() for server in servers]
        self._slot = key_slot(key)
        self._ports = [server.port for server in servers]
        self.owner = next(at for at, client in enumerate(self._clients) if self._holds(client))
        """Which of the servers has it before the move."""
        self._to = (self.owner + 1) % len(servers)

    def begin(self) -> None:
        self._set_slot(self._to, "IMPORTING", self.owner)
        self._set_slot(self.owner, "MIGRATING", self._to)

    def move(self, *keys: bytes) -> None:
        self._clients[self.owner].execute_command(
            "MIGRATE", "127.0.0.1", self._ports[self._to], "", 0, 5000, "KEYS", *keys
        )

    def end(self) -> None:
        for at in range(len(self._clients)):
            self._set_slot(at, "NODE", self._to)
        for client in self._clients:
            client.close()

    def _set_slot(self, at: int, what: str, other: int) -> None:
        name = self._clients[other].execute_command("CLUSTER", "MYID").decode()
        self._clients[at].execute_command("CLUSTER", "SETSLOT", self._slot, what, name)

    def _holds(self, client: "redis.Redis") -> bool:
        own = next(node for node in _nodes(client) if "myself" in node[2])
        first, _, last = own[8].partition("-")
        return int(first) <= self._slot <= int(last)


def _nodes(client: "redis.Redis") -> list[list[str]]:
    return [line.split() for line in client.execute_command("CLUSTER", "NODES").decode().splitlines()]


def _epochs(client: "redis.Redis") -> list[int]:
    """Of the masters, as that node has heard."""
    return [int(node[6]) for node in _nodes(client) if "master" in node[2]]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += [
        "-subj",
        "/CN=penstock-test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def tls_options(folder: Path) -> list[str]:
    """The same as options of a command line."""
    return [part for name, value in tls_settings(folder) for part in (f"--{name}", value)]


def tls_settings(folder: Path) -> list[tuple[str, str]]:
    """Of a server with the certificate in `folder`, that asks none of its clients."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    names = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file", "tls-auth-clients")
    return list(zip(names, (cert, key, cert, "no"), strict=True))


def _cluster_options() -> tuple[str, ...]:
    (bus_port,) = free_ports(1)
    return "--cluster-enabled", "yes", "--cluster-port", str(bus_port), "--cluster-node-timeout", "2000"


def _bus(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.config_get("cluster-port")["cluster-port"])


def _is_whole(server: RedisServer, nodes: int) -> bool:
    with server.client() as client:
        info = client.execute_command("CLUSTER", "INFO").decode().split()
    return {"cluster_state:ok", f"cluster_known_nodes:{nodes}"} <= set(info)
