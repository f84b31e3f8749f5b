"""Redis as it is deployed: a master with its replica under a sentinel, a cluster of three, and TLS."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from tests.support.ports import free_ports
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.wait import wait_until

SERVICE = "main"


class Watched:
    """A master and a replica that one sentinel watches. `url` names the sentinel."""

    def __init__(self, folder: Path) -> None:
        (folder / "one").mkdir()
        (folder / "two").mkdir()
        (folder / "sentinel").mkdir()
        self.master = RedisServer(folder / "one")
        self.replica = RedisServer(
            folder / "two", "--replicaof", f"127.0.0.1 {self.master.port}", "--repl-diskless-sync-delay", "0"
        )
        (port,) = free_ports(1)
        self.url = f"redis+sentinel://127.0.0.1:{port}/{SERVICE}"
        self._sentinel_client = redis.Redis(port=port)
        settings = [
            f"port {port}",
            "bind 127.0.0.1",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} 1",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        (folder / "sentinel" / "sentinel.conf").write_text("\n".join(settings) + "\n")
        command = ["redis-server", "sentinel.conf", "--sentinel"]
        self._sentinel = ServerProcess("sentinel", command, folder / "sentinel")

    def start(self) -> None:
        """Returns once the sentinel knows a replica that follows."""
        self.master.start()
        self.replica.start()
        with self.replica.client() as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", what="the replica follows")
        self._sentinel.start()
        wait_until(self._replicas_known, holds=lambda count: count == 1, what="the sentinel knows the replica")

    def stop(self) -> None:
        self._sentinel_client.close()
        self._sentinel.kill()
        self.replica.kill()
        self.master.kill()

    def _replicas_known(self) -> int:
        self._sentinel.check_alive()
        try:
            found = self._sentinel_client.execute_command("SENTINEL", "REPLICAS", SERVICE)
        except redis.RedisError:
            return 0
        return len(found)


@contextmanager
def cluster(folder: Path, nodes: int = 3) -> Iterator[list[RedisServer]]:
    """Masters that share the slots evenly; ready for writes."""
    with ExitStack() as running:
        servers: list[RedisServer] = []
        for number in range(nodes):
            (folder / str(number)).mkdir()
            (bus_port,) = free_ports(1)
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus_port), "--cluster-node-timeout", "2000")
            server = RedisServer(folder / str(number), *options)
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


def _bus(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.config_get("cluster-port")["cluster-port"])


def _is_whole(server: RedisServer, nodes: int) -> bool:
    with server.client() as client:
        info = client.execute_command("CLUSTER", "INFO").decode().split()
    return {"cluster_state:ok", f"cluster_known_nodes:{nodes}"} <= set(info)
