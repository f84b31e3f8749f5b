"""A real Redis for a test. Its append-only file is synced at each write unless the test asks for less."""

import shutil
from pathlib import Path

import redis

from tests.support.ports import free_ports
from tests.support.server_process import ServerProcess
from tests.support.wait import wait_until


def why_not() -> str | None:
    """Why no server can be started here, with the way out; None where it can."""
    if shutil.which("redis-server"):
        return None
    return "redis-server is not installed: make services (as root), or apt-get install redis-server"


class RedisServer:
    """redis-server on a free port of loopback and on folder/redis.sock, its data in `folder`."""

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        """options: more of the server's own, after the defaults: "--appendfsync", "everysec"."""
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._password = password
        if password:
            options = (*options, "--requirepass", password)
        self.socket = folder / "redis.sock"
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", "redis.sock"]
        command += ["--dir", ".", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        # A replica's first copy begins at once, not after the 5 s in which others might join it.
        command += ["--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0", *options]
        self._process = ServerProcess("redis", command, folder)

    def start(self) -> None:
        """Returns once it answers."""
        self._process.start()
        wait_until(self._answers, what="redis-server answers")

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        """SIGKILL; `start` starts it again on the same data and port."""
        self._process.kill()

    def pause(self) -> None:
        self._process.pause()

    def resume(self) -> None:
        self._process.resume()

    @property
    def buffer_url(self) -> str:
        return f"{self.url}?stream=killed"

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, password=self._password or None)

    def _answers(self) -> bool:
        self._process.check_alive()
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
