"""Which server holds a key: the one named, the master that the sentinels name, or the node with the key's slot.

Asked again for each connection, so that one made after a failover leads to the new master. Whom the URL names is asked
in its order, each for a second or two, until one answers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis.exceptions as errors
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.retry import Retry

from common.values.addresses import Address
from common.values.errors import DataCorrupt, Misconfigured, PenstockError, Unavailable
from writebuffer.redis.link import ANSWER_S, Link, Lost, NotServing
from writebuffer.redis.url import RedisUrl

CONNECT_S = 3.0
ASK_S = 1.0
"""To connect to a sentinel or a node of a cluster, and then for its answer: there are others to ask."""

Question = Callable[[Link, Address], Address]


class Servers:
    """Connects to whom a URL means. Keeps no connection itself, and may be used by any thread."""

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._credentials: dict[str, Any] = {"username": url.username, "password": url.password}
        self._options = {"db": url.db, "socket_connect_timeout": CONNECT_S, "socket_timeout": ANSWER_S}
        self._asking = {"socket_connect_timeout": ASK_S, "socket_timeout": ASK_S}

    def connect(self, key: bytes) -> Link:
        """A connection to the server that holds `key`. Raises Lost, NotServing, Misconfigured."""
        self._check_files()
        options = self._credentials | self._options
        if self._url.scheme == "redis+unix":
            path = self._url.socket_path
            return _link(UnixDomainSocketConnection, path, path=path, **options)
        return self._link(self._address(key), options)

    def _address(self, key: bytes) -> Address:
        if self._url.scheme == "redis+sentinel":
            return self._answered(self._master, self._sentinel_credentials())
        if self._url.scheme == "redis+cluster":
            return self._answered(lambda link, asked: self._node(link, asked, key), self._credentials)
        return self._url.addresses[0]

    def _answered(self, question: Question, credentials: dict[str, Any]) -> Address:
        """The first answer. Without one it raises Misconfigured if that is what one of them is, else NotServing."""
        met: list[PenstockError] = []
        for address in self._url.addresses:
            try:
                link = self._link(address, credentials | self._asking)
                try:
                    return question(link, address)
                finally:
                    link.close()
            except (Unavailable, Misconfigured) as error:
                met.append(self._of_sentinel(error, address))
        met.sort(key=lambda error: (not isinstance(error, Misconfigured), isinstance(error, Lost)))
        if isinstance(met[0], Lost):
            named = ", ".join(map(str, self._url.addresses))
            whose = f"sentinels of service {self._url.service!r}" if self._url.service else "cluster"
            raise NotServing(f"{whose}: nobody answers at {named}") from met[0]
        raise met[0]

    def _master(self, link: Link, asked: Address) -> Address:
        service = self._url.service
        question = (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service.encode())
        try:
            found = link.call(*question, timeout_s=ASK_S)
        except DataCorrupt as error:
            raise Misconfigured(f"{asked} is no sentinel; write redis:// without +sentinel") from error
        if found is None:
            raise NotServing(f"sentinel {asked} knows no master of service {service!r} now")
        return Address(found[0].decode(), int(found[1]))

    def _of_sentinel(self, error: PenstockError, asked: Address) -> PenstockError:
        """The password that it asks for is not the one of the servers."""
        if self._url.scheme != "redis+sentinel" or not isinstance(error.__cause__, errors.AuthenticationError):
            return error
        wrong = Misconfigured(f"sentinel {asked} asks for sentinel_password in the URL, or another one")
        wrong.__cause__ = error
        return wrong

    def _node(self, link: Link, asked: Address, key: bytes) -> Address:
        try:
            ranges = link.call(b"CLUSTER", b"SLOTS", timeout_s=ASK_S)
        except DataCorrupt as error:
            raise Misconfigured(f"{asked} is no cluster; write redis:// without +cluster") from error
        slot = key_slot(key)
        for first, last, (host, port, *_), *_ in ranges:
            if first <= slot <= last:
                return Address(host.decode() if host else asked.host, port)
        raise NotServing(f"cluster node {asked} knows no node with the slot of {key.decode()} now")

    def _sentinel_credentials(self) -> dict[str, Any]:
        return {"username": self._url.sentinel_username, "password": self._url.sentinel_password}

    def _link(self, address: Address, options: dict[str, Any]) -> Link:
        place = {"host": address.host, "port": address.port}
        if self._url.ssl is None:
            return _link(Connection, str(address), **place, **options)
        return _link(SSLConnection, str(address), **place, **self._url.ssl, **options)

    def _check_files(self) -> None:
        for name in ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"):
            path = (self._url.ssl or {}).get(name)
            if path and not Path(path).exists():
                raise Misconfigured(f"write buffer {self._url.shown}: {name} {path!r} does not exist")


def _link(kind: Any, server: str, **options: Any) -> Link:
    """Without retries of the library's own: ours know what may be sent twice."""
    return Link(kind(**options, protocol=2, retry=Retry(NoBackoff(), 0)), f"redis {server}")
