"""The Redis backend: a key that says how many sequencers there are, and five keys for each (keys.py).

The number is set once, by put-if-absent, so of any number of creators one wins and the others find its number. Each
sequencer gets an identity of its own when its state is made; whoever creates again what exists changes nothing.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import structlog

from common.logs import Logger
from common.values.clock import Clock, SystemClock
from common.values.errors import DataCorrupt, Misconfigured
from common.values.ids import SequencerId
from writebuffer.checks import check_count, check_found_count, check_stored_count
from writebuffer.contract import Dense, Durable, Measurable, SeekableByTime, Trimmable, Writer
from writebuffer.errors import HOW_TO_MAKE, BufferNotFound
from writebuffer.proving import Breakable
from writebuffer.redis.appender import Appender
from writebuffer.redis.durability import (
    ServerSettings,
    check_durability,
    check_serving,
    promise,
    read_settings,
)
from writebuffer.redis.keys import Keys, buffer_key
from writebuffer.redis.link import Link
from writebuffer.redis.reader import RedisReader
from writebuffer.redis.servers import Servers
from writebuffer.redis.stream import make_stream, open_stream
from writebuffer.redis.url import RedisUrl, parse
from writebuffer.redis.writer import RedisWriter

_FORMAT = 1


class RedisBackend:
    """Implements Provable and Breakable. Any number of writers and readers at once."""

    powers: frozenset[type] = frozenset({Dense, Durable, Trimmable, Measurable, SeekableByTime, Breakable})

    def __init__(self, url: RedisUrl, *, clock: Clock | None = None, logger: Logger | None = None) -> None:
        self.url = url.shown
        self._url = url
        self._servers = Servers(url)
        self._clock = clock or SystemClock()
        self._logger: Logger = logger or structlog.get_logger()

    @classmethod
    def from_url(cls, url: str) -> "RedisBackend":
        """Nothing is asked yet. Raises Misconfigured, naming the right form."""
        return cls(parse(url))

    def create(self, sequencers: int) -> None:
        check_count(self.url, sequencers)
        key = buffer_key(self._url.stream)
        with self._links(self._connect_to_write) as link_for:
            link = link_for(key)
            link.call(b"SET", key, json.dumps({"format": _FORMAT, "sequencers": sequencers}).encode(), b"NX")
            found = self._parse(link.call(b"GET", key))
            check_found_count(self.url, found, sequencers, "a stream=")
            for number, keys in enumerate(self._keys(sequencers)):
                make_stream(link_for(keys.state), SequencerId(number), keys, self.url, uuid.uuid4().hex.encode())

    def beside(self, name: str) -> "RedisBackend":
        """On the same servers, in streams whose names end in `name`."""
        return RedisBackend(self._url.beside(name), clock=self._clock, logger=self._logger)

    def delete(self) -> None:
        """The records first: what is left by an interrupted deletion says that there was a buffer."""
        key = buffer_key(self._url.stream)
        with self._links(self._connect) as link_for:
            stored = link_for(key).call(b"GET", key)
            if stored is None:
                return
            for keys in self._keys(self._parse(stored)):
                link_for(keys.state).call(b"UNLINK", *keys.all())
            link_for(key).call(b"DEL", key)

    def open_writer(self) -> RedisWriter:
        appenders: list[Appender] = []
        found_settings: list[ServerSettings] = []
        with ExitStack() as opened:
            for number, keys in enumerate(self._keys(self._sequencers())):
                link, settings = self._connect_checked(keys.records)
                opened.callback(link.close)
                found_settings.append(settings)
                stream, found = open_stream(link, SequencerId(number), keys, self.url)
                appender = Appender(
                    stream,
                    found.offsets.next_offset,
                    link,
                    lambda key=keys.records: self._connect_to_write(key),  # type: ignore[misc]
                    self._clock,
                    self._logger,
                    timeout_s=self._url.timeout_s,
                    replicas=self._url.replicas,
                )
                opened.callback(appender.close)
                appenders.append(appender)
            opened.pop_all()
        return RedisWriter(appenders, self.url, promise(found_settings, self._url))

    def open_reader(self) -> RedisReader:
        with self._links(self._connect) as link_for:
            streams = [
                open_stream(link_for(keys.state), SequencerId(number), keys, self.url)[0]
                for number, keys in enumerate(self._keys(self._sequencers(link_for)))
            ]
        return RedisReader(streams, self._connect, self._clock, self.url, self._url.replicas)

    def break_writer(self, writer: Writer, cause: Exception) -> None:
        assert isinstance(writer, RedisWriter)
        writer.break_with(cause)

    def _sequencers(self, link_for: Callable[[bytes], Link] | None = None) -> int:
        """Raises BufferNotFound."""
        key = buffer_key(self._url.stream)
        if link_for is None:
            with self._links(self._connect) as links:
                return self._sequencers(links)
        stored = link_for(key).call(b"GET", key)
        if stored is None:
            raise BufferNotFound(
                f"{self.url}: there is no write buffer (no key {key.decode()}); {HOW_TO_MAKE}",
                url=self.url,
            )
        return self._parse(stored)

    def _keys(self, sequencers: int) -> list[Keys]:
        return [Keys.of(self._url.stream, SequencerId(number)) for number in range(sequencers)]

    def _connect(self, key: bytes) -> Link:
        """To read. The server's durability is not checked: the writers have done that."""
        return self._checked(key, check_serving)[0]

    def _connect_to_write(self, key: bytes) -> Link:
        return self._connect_checked(key)[0]

    def _connect_checked(self, key: bytes) -> tuple[Link, ServerSettings]:
        return self._checked(key, check_serving, check_durability)

    def _checked(self, key: bytes, *checks: Callable[[ServerSettings, RedisUrl], None]) -> tuple[Link, ServerSettings]:
        """Raises Lost, NotServing, Misconfigured."""
        link = self._servers.connect(key)
        try:
            settings = read_settings(link)
            for check in checks:
                check(settings, self._url)
        except BaseException:
            link.close()
            raise
        return link, settings

    @contextmanager
    def _links(self, connect: Callable[[bytes], Link]) -> Iterator[Callable[[bytes], Link]]:
        """For a few questions: one connection, in a cluster one for each key."""
        links: dict[bytes, Link] = {}

        def link_for(key: bytes) -> Link:
            place = key if self._url.scheme == "redis+cluster" else b""
            if place not in links:
                links[place] = connect(key)
            return links[place]

        try:
            yield link_for
        finally:
            for link in links.values():
                link.close()

    def _parse(self, stored: bytes) -> int:
        where = f"{self.url}: key {self._url.stream}"
        try:
            values = json.loads(stored)
            format_found, sequencers = values["format"], check_stored_count(values["sequencers"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataCorrupt(
                f"{where} holds no write buffer of penstock ({error!r}); choose another stream="
            ) from None
        if format_found != _FORMAT:
            raise Misconfigured(
                f"{where}: format {format_found}, this build reads {_FORMAT}; use the release that made it"
            )
        return sequencers
