"""Which server holds a key: the one named, the master that the sentinels name, or the node with the key's slot.

Asked anew for each connection, so that one made after a failover leads to the new master.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis.exceptions as errors
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from common.errors import Misconfigured
from writebuffer.redis.link import ANSWER_S, Link, NotServing
from writebuffer.redis.url import Address, RedisUrl

CONNECT_S = 3.0


class Servers:
    """Connects to whom a URL means. Keeps no connection itself, and may be used by any thread."""

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._credentials: dict[str, Any] = {"username": url.username, "password": url.password}

    def connect(self, key: bytes) -> Link:
        """A connection to the server that holds `key`. Raises Lost, NotServing, Misconfigured."""
        self._check_files()
        if self._url.scheme == "redis+unix":
            path = self._url.socket_path
            return self._link(UnixDomainSocketConnection, path, path=path)
        address = self._address(key)
        place = {"host": address.host, "port": address.port}
        if self._url.ssl is None:
            return self._link(Connection, str(address), **place)
        return self._link(SSLConnection, str(address), **place, **self._url.ssl)

    def _link(self, kind: Any, server: str, **place: Any) -> Link:
        return Link(kind(**place, **self._options()), f"redis {server}")

    def _address(self, key: bytes) -> Address:
        if self._url.scheme == "redis+sentinel":
            return self._master()
        if self._url.scheme == "redis+cluster":
            return self._node(key)
        return self._url.addresses[0]

    def _master(self) -> Address:
        url = self._url
        sentinels = [(address.host, address.port) for address in url.addresses]
        asked = {
            "username": url.sentinel_username,
            "password": url.sentinel_password,
            **self._patience(),
            **self._tls(),
        }
        named = ", ".join(map(str, url.addresses))
        try:
            watching: Any = Sentinel
            return Address(*watching(sentinels, sentinel_kwargs=asked).discover_master(url.service))
        except MasterNotFoundError as error:
            raise NotServing(f"sentinels {named} know no master of service {url.service!r} now: {error}") from error
        except errors.AuthenticationError as error:
            raise Misconfigured(f"sentinels {named} ask for sentinel_password in the URL ({error})") from error
        except (errors.RedisError, OSError) as error:
            raise NotServing(f"sentinels {named} do not answer: {error}") from error

    def _node(self, key: bytes) -> Address:
        kind: Any = ClusterNode
        nodes = [kind(address.host, address.port) for address in self._url.addresses]
        options = {**self._credentials, **self._patience(), **self._tls()}
        named = ", ".join(map(str, self._url.addresses))
        try:
            cluster: Any = RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
            try:
                node = cluster.get_node_from_key(key)
            finally:
                cluster.close()
        except errors.AuthenticationError as error:
            raise Misconfigured(f"cluster {named} asks for another user or password: {error}") from error
        except (errors.RedisError, errors.RedisClusterException, OSError) as error:
            if "Cluster mode is not enabled" in f"{error} {error.__cause__}":
                raise Misconfigured(f"{named} is no cluster; write redis:// without +cluster") from error
            raise NotServing(f"cluster {named} does not answer: {error}") from error
        if node is None:
            raise NotServing(f"cluster {named}: no node holds the slot of {key.decode()} now")
        return Address(node.host, node.port)

    def _options(self) -> dict[str, Any]:
        return self._credentials | self._patience() | {"db": self._url.db, "protocol": 2}

    def _patience(self) -> dict[str, Any]:
        """No retries of the library's own: ours know what may be sent twice."""
        retry = Retry(NoBackoff(), 0)
        return {"socket_timeout": ANSWER_S, "socket_connect_timeout": CONNECT_S, "retry": retry}

    def _tls(self) -> Mapping[str, Any]:
        return {} if self._url.ssl is None else {"ssl": True, **self._url.ssl}

    def _check_files(self) -> None:
        for name in ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"):
            path = (self._url.ssl or {}).get(name)
            if path and not Path(path).exists():
                raise Misconfigured(f"write buffer {self._url.shown}: {name} {path!r} does not exist")
